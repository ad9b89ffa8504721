"""Rule: every frame of a conversation survives the wire; a wrong one is refused with its field and its request."""

from typing import Any

import pytest
from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import execution_pb2
from google.protobuf import json_format

from gatewayd.core import controls, frames
from gatewayd.core.chunk import Chunk
from gatewayd.core.errors import (
    Draining,
    HistoryLost,
    InvalidArgument,
    LimitExceeded,
    ProtocolViolation,
    Violation,
)
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.message import ChatContext
from gatewayd.core.topic import TopicPattern
from gatewayd.core.work import ExecutionState
from gatewayd.wire import decode_client_frame, encode_server_frame


def client(text: dict[str, Any]) -> bytes:
    """The encoding of a ConnectRequest that is given in its JSON form."""
    return json_format.ParseDict(text, pb.ConnectRequest()).SerializeToString()


def server(frame: frames.ServerFrame) -> dict[str, Any]:
    """The JSON form of a frame of the server."""
    message = pb.ConnectResponse.FromString(encode_server_frame(frame))
    found: dict[str, Any] = json_format.MessageToDict(message, preserving_proto_field_name=True)
    return found


ALL = {"all_types": True}


@pytest.mark.parametrize(
    ("text", "frame"),
    [
        ({"hello": {"client_id": "c"}}, frames.Hello("c", 1, 1)),
        (
            {
                "hello": {
                    "client_id": "c",
                    "protocol_min": 1,
                    "protocol_max": 3,
                    "resume_token": "t",
                    "client_version": "node 1.2",
                }
            },
            frames.Hello("c", 1, 3, "t", "node 1.2"),
        ),
        (
            {"request_id": "r", "subscribe": {"subscription_id": "s", "filter": ALL}},
            frames.Subscribe("r", "s", EventFilter()),
        ),
        (
            {
                "request_id": "r",
                "subscribe": {
                    "subscription_id": "s",
                    "filter": {
                        "types": ["EVENT_TYPE_MESSAGE", "EVENT_TYPE_CUSTOM"],
                        "stream_id": "a",
                        "node_id": "b",
                        "execution_id": "c",
                        "session_id": "d",
                        "correlation_id": "e",
                        "topic": "orders.>",
                    },
                    "since": "L1:42",
                    "overflow": "OVERFLOW_DROP_OLDEST",
                    "buffer_bytes": 4096,
                },
            },
            frames.Subscribe(
                "r",
                "s",
                EventFilter(
                    frozenset({EventType.MESSAGE, EventType.CUSTOM}),
                    "a",
                    "b",
                    "c",
                    "d",
                    "e",
                    TopicPattern(("orders", ">")),
                ),
                Cursor("L1", 42),
                frames.Overflow.DROP_OLDEST,
                4096,
            ),
        ),
        ({"request_id": "r", "unsubscribe": {"subscription_id": "s"}}, frames.Unsubscribe("r", "s")),
        (
            {"request_id": "r", "publish": {"events": [{"id": "1"}, {"topic": "a"}]}},
            frames.Publish("r", (b"\x0a\x011", b"\x4a\x01a")),
        ),
        ({"request_id": "r", "send": {"agent": "a", "text": "hi"}}, frames.Send("r", "hi", agent="a")),
        (
            {
                "request_id": "r",
                "send": {
                    "channel": "tg",
                    "context": "CHAT_CONTEXT_GROUP",
                    "text": "hi",
                    "session_id": "s",
                    "correlation_id": "c",
                    "idempotency_key": "k",
                    "timeout": "2.5s",
                    "partial_replies": True,
                    "no_reply": True,
                },
            },
            frames.Send("r", "hi", "", "tg", ChatContext.GROUP, "s", "c", "k", 2.5, True, False),
        ),
        ({"request_id": "r", "cancel": {"execution_id": "x"}}, controls.Cancel("r", "x")),
        ({"request_id": "r", "pause": {"execution_id": "x", "reason": "y"}}, controls.Pause("r", "x", "y")),
        ({"request_id": "r", "resume": {"execution_id": "x"}}, controls.Resume("r", "x")),
        (
            {"request_id": "r", "inject_input": {"execution_id": "x", "node_id": "n", "content": "hi"}},
            controls.InjectInput("r", "x", "n", "hi"),
        ),
        ({"request_id": "r", "ping": {}}, frames.Ping("r")),
    ],
)
def test_frames_of_the_client_are_read(text: dict[str, Any], frame: frames.ClientFrame) -> None:
    assert decode_client_frame(client(text)) == frame


def subscribe(**fields: Any) -> dict[str, Any]:
    return {"request_id": "r", "subscribe": {"subscription_id": "s", "filter": ALL, **fields}}


def send(**fields: Any) -> dict[str, Any]:
    return {"request_id": "r", "send": {"agent": "a", "text": "hi", **fields}}


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ({"hello": {}}, "hello.client_id"),
        ({"hello": {"client_id": "c" * 129}}, "hello.client_id"),
        ({"hello": {"client_id": "c\n"}}, "hello.client_id"),
        ({"hello": {"client_id": "c", "protocol_min": 3, "protocol_max": 2}}, "hello.protocol_max"),
        ({"hello": {"client_id": "c", "protocol_min": -1}}, "hello.protocol_max"),
        ({"ping": {}}, "request_id"),
        ({"request_id": "r" * 129, "ping": {}}, "request_id"),
        (subscribe(subscription_id=""), "subscribe.subscription_id"),
        ({"request_id": "r", "subscribe": {"subscription_id": "s"}}, "subscribe.filter"),
        (subscribe(filter={}), "subscribe.filter.types"),
        (subscribe(filter={"types": [1], "all_types": True}), "subscribe.filter.types"),
        (subscribe(filter={"types": [1] * 1000}), "subscribe.filter.types"),
        (subscribe(filter={"types": [999]}), "subscribe.filter.types"),
        (subscribe(filter={"types": [0]}), "subscribe.filter.types"),
        (subscribe(filter={**ALL, "topic": "a.>.b"}), "subscribe.filter.topic"),
        (subscribe(filter={**ALL, "stream_id": "x" * 257}), "subscribe.filter.stream_id"),
        (subscribe(since="yesterday"), "subscribe.since"),
        (subscribe(since="L:-1"), "subscribe.since"),
        (subscribe(overflow=9), "subscribe.overflow"),
        (subscribe(buffer_bytes=-1), "subscribe.buffer_bytes"),
        ({"request_id": "r", "unsubscribe": {}}, "unsubscribe.subscription_id"),
        ({"request_id": "r", "publish": {}}, "publish.events"),
        ({"request_id": "r", "publish": {"events": [{}] * 1001}}, "publish.events"),
        (send(agent=""), "send.agent"),
        (send(channel="tg"), "send.agent"),
        (send(text=""), "send.text"),
        (send(context=9), "send.context"),
        (send(timeout="-1s"), "send.timeout"),
        (send(idempotency_key="k" * 257), "send.idempotency_key"),
        (send(session_id="\x00"), "send.session_id"),
        ({"request_id": "r", "cancel": {}}, "cancel.execution_id"),
    ],
)
def test_a_wrong_request_is_refused_with_its_field_and_its_id(text: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        decode_client_frame(client(text))

    assert not isinstance(caught.value, ProtocolViolation)
    assert [violation.field for violation in caught.value.violations] == [field]
    assert caught.value.metadata["request_id"] == text.get("request_id", "")[:128]


@pytest.mark.parametrize("data", [b"", b"\xff\xff", client({"request_id": "r"}), b"\xfa\x01\x00", b"\x12\x05\x0a"])
def test_what_is_no_frame_ends_the_stream(data: bytes) -> None:
    with pytest.raises(ProtocolViolation):
        decode_client_frame(data)


ERROR = LimitExceeded("full", metadata={"limit": "x"}, violations=[Violation("a", "b")], retry_after=1.5)
ERROR_TEXT = {
    "code": 8,
    "reason": "ERROR_REASON_LIMIT_EXCEEDED",
    "message": "full",
    "metadata": {"limit": "x"},
    "violations": [{"field": "a", "description": "b"}],
    "retry_after": "1.500s",
}
CURSOR = Cursor("L1", 7)


@pytest.mark.parametrize(
    ("frame", "text"),
    [
        (
            frames.Welcome(
                protocol=1,
                server_version="0.1.0",
                features=("a", "b"),
                policy=frames.Policy(1024, 4096, 30.0, 60.0),
                resume_token="t",
                resumed=True,
                lost=[frames.LostSubscription("s", frames.EndReason.SLOW_CONSUMER, CURSOR)],
                cursor=Cursor("L1", 9),
                scopes=["agents.send:*", "sessions:own"],
            ),
            {
                "welcome": {
                    "protocol": 1,
                    "server_version": "0.1.0",
                    "features": ["a", "b"],
                    "policy": {
                        "max_message_bytes": "1024",
                        "max_queue_bytes": "4096",
                        "heartbeat_interval": "30s",
                        "reconnect_timeout": "60s",
                    },
                    "resume_token": "t",
                    "resumed": True,
                    "lost": [{"subscription_id": "s", "reason": "END_REASON_SLOW_CONSUMER", "cursor": "L1:7"}],
                    "cursor": "L1:9",
                    "scopes": ["agents.send:*", "sessions:own"],
                }
            },
        ),
        (
            frames.Refused(ERROR, frames.RecoveryStep.WAIT_THEN_RETRY),
            {"refused": {"error": ERROR_TEXT, "step": "RECOVERY_STEP_WAIT_THEN_RETRY"}},
        ),
        (
            frames.Accepted("r", CURSOR, "x", "m"),
            {
                "request_id": "r",
                "accepted": {"cursor": "L1:7", "execution_id": "x", "message_id": "m", "existed": True},
            },
        ),
        (frames.Accepted("r", existed=False), {"request_id": "r", "accepted": {}}),
        (frames.Rejected("r", ERROR), {"request_id": "r", "rejected": {"error": ERROR_TEXT}}),
        (
            frames.Delivery(("s",), Chunk((Event("1", EventType.CUSTOM, "", "", 0.0, wire=b"\x0a\x011"),))),
            {"delivery": {"subscription_ids": ["s"], "events": [{"id": "1"}]}},
        ),
        (
            frames.Reply("r", "x", "m", "par", final=False, offset=4),
            {"request_id": "r", "reply": {"execution_id": "x", "message_id": "m", "content": "par", "offset": "4"}},
        ),
        (
            frames.Reply("r", "x", "m", "", final=True, state=ExecutionState.FAILED, error=ERROR),
            {
                "request_id": "r",
                "reply": {
                    "execution_id": "x",
                    "message_id": "m",
                    "final": True,
                    "state": "EXECUTION_STATE_FAILED",
                    "error": ERROR_TEXT,
                },
            },
        ),
        (frames.Progress(["s"], CURSOR), {"progress": {"subscription_ids": ["s"], "cursor": "L1:7"}}),
        (frames.Gap("s", 3, CURSOR), {"gap": {"subscription_id": "s", "dropped": "3", "cursor": "L1:7"}}),
        (
            frames.Ended("s", frames.EndReason.HISTORY_LOST, None, HistoryLost("gone")),
            {
                "ended": {
                    "subscription_id": "s",
                    "reason": "END_REASON_HISTORY_LOST",
                    "error": {"code": 11, "reason": "ERROR_REASON_HISTORY_LOST", "message": "gone"},
                }
            },
        ),
        (frames.Pong("r"), {"request_id": "r", "pong": {}}),
        (
            frames.Goodbye("drain", 0.25, CURSOR),
            {"goodbye": {"reason": "drain", "reconnect_after": "0.250s", "cursor": "L1:7"}},
        ),
    ],
)
def test_frames_of_the_server_are_written(frame: frames.ServerFrame, text: dict[str, Any]) -> None:
    assert server(frame) == text


@pytest.mark.parametrize("state", ExecutionState)
def test_every_state_has_its_value(state: ExecutionState) -> None:
    frame = pb.ConnectResponse.FromString(encode_server_frame(frames.Reply("r", "x", "m", "", True, state=state)))

    assert execution_pb2.ExecutionState.Name(frame.reply.state) == f"EXECUTION_STATE_{state.name}"


def test_text_that_utf8_cannot_hold_does_not_break_the_stream() -> None:
    assert server(frames.Reply("r", "x", "m", "a\udcff", True))["reply"]["content"] == "a\ufffd"
    assert server(frames.Rejected("r", Draining("\ud800")))["rejected"]["error"]["message"] == "\ufffd"

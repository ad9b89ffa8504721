"""Frames in batches, and what workers say from within their calls, on the wire."""

import json
from types import SimpleNamespace
from typing import Any

import pytest
from gateway.v1 import agent_service_pb2 as agents
from gateway.v1 import event_service_pb2 as pb
from json_frames import read

from gatewayd.core import frames, workers
from gatewayd.core.errors import InvalidArgument, ProtocolViolation
from gatewayd.wire import decode_client_frame, encode_server_frame
from gatewayd.wire.members import LARGE, MAX_BATCH
from gatewayd.wire.speaking import content_of, send_within
from gatewayd.wire.values import MAX_DEPTH

PASSED_OVER = b"\xfb\x01\xfc\x01"
"""A group, which proto3 does not have: decoders read on behind it."""


def batch(*requests: pb.ConnectRequest) -> bytes:
    return pb.ConnectRequest(batch=pb.RequestBatch(requests=requests)).SerializeToString()


def ping(request_id: str) -> pb.ConnectRequest:
    return pb.ConnectRequest(request_id=request_id, ping=pb.Ping())


def counted(data: bytes) -> bytes:
    """Behind its length, as protobuf writes it."""
    number, found = len(data), b""
    while number > 127:
        found += bytes([number & 127 | 128])
        number >>= 7
    return found + bytes([number]) + data


def test_a_batch_keeps_the_order_and_refuses_what_is_wrong_by_itself() -> None:
    wrong = pb.ConnectRequest(request_id="2", send=pb.Send(agent="a"))
    nameless = pb.ConnectRequest(ping=pb.Ping())
    found = decode_client_frame(batch(ping("1"), wrong, ping("3"), nameless))

    assert isinstance(found, frames.RequestBatch)
    first, second, third, fourth = found.requests
    assert (first, third) == (frames.Ping("1"), frames.Ping("3"))
    assert isinstance(second, frames.Rejected)
    assert isinstance(fourth, frames.Rejected)
    assert (second.request_id, fourth.request_id) == ("2", "")
    assert isinstance(second.error, InvalidArgument)
    assert [one.field for one in second.error.violations] == ["send.text"]
    assert "request_id" not in second.error.metadata


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (batch(), "from 1 to 1000"),
        (batch(*(ping("1") for _ in range(MAX_BATCH + 1))), "not 1001"),
        (batch(*(ping("1") for _ in range(10_000))), "not 10000"),
        (batch(*(ping("1") for _ in range(100_000))), "these are more"),
        (batch(ping("1"), pb.ConnectRequest(batch=pb.RequestBatch(requests=[ping("2")]))), r"requests\[1\]: .* batch"),
        (batch(pb.ConnectRequest(hello=pb.Hello(client_id="c"))), r"requests\[0\]: .* hello"),
        (batch(ping("1"), pb.ConnectRequest(request_id="2")), "no kind of frame"),
        (b"\xf2\x01\x08\x0a\x06\x0a\x012\xfa\x3e\x00", "no kind of frame"),
        (b"\xf2\x01\x02\x0a\x09", "not the encoding|is not"),
    ],
)
def test_a_batch_that_is_none_ends_the_stream(data: bytes, what: str) -> None:
    with pytest.raises(ProtocolViolation, match=what):
        decode_client_frame(data)


def test_a_batch_nested_deeper_than_anything_ends_the_stream() -> None:
    data = ping("1").SerializeToString()
    for _ in range(200):
        data = b"\xf2\x01" + counted(b"\x0a" + counted(data))
    with pytest.raises(ProtocolViolation):
        decode_client_frame(data)


def test_the_largest_batch_is_read() -> None:
    found = decode_client_frame(batch(*(ping(str(number)) for number in range(MAX_BATCH))))

    assert isinstance(found, frames.RequestBatch)
    assert found.requests[-1] == frames.Ping("999")


def test_json_as_deep_as_is_allowed_is_read_in_a_batch() -> None:
    value: dict[str, Any] = {"x": 1}
    for _ in range(MAX_DEPTH - 1):
        value = {"x": value}
    trigger, publish = pb.ConnectRequest(request_id="1"), pb.ConnectRequest(request_id="2")
    trigger.trigger.entry_point = "ask"
    trigger.trigger.json.update(value)
    trigger.trigger.session_state.memory.update(value)
    publish.publish_message.topic, publish.publish_message.call_id = "news", "c"
    publish.publish_message.json.update(value)

    found = decode_client_frame(batch(trigger, publish))
    assert isinstance(found, frames.RequestBatch)
    assert [type(one) for one in found.requests] == [frames.Trigger, workers.PublishMessage]


def test_answers_are_joined_as_they_are() -> None:
    each = [encode_server_frame(frames.Pong(name)) for name in "ab"]
    joined = pb.ConnectResponse.FromString(encode_server_frame(frames.ResponseBatch(each)))

    assert [one.SerializeToString() for one in joined.batch.responses] == each


def test_a_large_frame_of_nothing_is_refused_before_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever stands before its members, in however many pieces they come, and however deep they are."""
    whole = b"\xf2\x01" + counted(b"\x0a\x00" * LARGE)
    pieces = b"\xf2\x01\x02\x0a\x00" * LARGE
    named = pb.ConnectRequest(request_id="r").SerializeToString()
    unknown = b"\xf8\x3f\x00" * LARGE
    within = b"\xf2\x01" + counted(b"\x0a" + counted(named + whole))
    behind = b"\xf2\x01" + counted(b"\x0a" + counted(PASSED_OVER) + b"\x0a\x00" * LARGE)
    assert isinstance(decode_client_frame(PASSED_OVER + ping("1").SerializeToString()), frames.Ping)

    def decoded(*_: object) -> None:
        raise AssertionError("it was decoded")

    monkeypatch.setattr("gatewayd.wire.client.frames_pb2", SimpleNamespace(ConnectRequest=decoded))
    monkeypatch.setattr("gatewayd.wire.json.json_format", SimpleNamespace(ParseDict=decoded))
    many = {"batch": {"requests": [{}] * (MAX_BATCH + 1)}}
    for found, what in ((many, "more"), ({"batch": {"requests": [{}, many]}}, r"requests\[1\]: holds a batch")):
        with pytest.raises(ProtocolViolation, match=what):
            read(json.dumps(found))
    for data, what in (
        (whole, "more"),
        (pieces, "more"),
        (named + whole, "more"),
        (unknown + whole, "fields"),
        (within, r"requests\[0\]: holds a batch"),
        (PASSED_OVER + whole, "not the encoding"),
        (behind, "more|not the encoding"),
    ):
        with pytest.raises(ProtocolViolation, match=what):
            decode_client_frame(data)


def test_of_too_many_events_in_json_no_more_are_read_than_say_so() -> None:
    """Each costs ten microseconds there. The others of a batch go on, as ever."""
    publish = {"requestId": "p", "publish": {"events": [{}] * 2000}}
    for text in (json.dumps(publish), json.dumps({"batch": {"requests": [publish, {"requestId": "q", "ping": {}}]}})):
        data = read(text)
        sent = pb.ConnectRequest.FromString(data)
        assert len((sent.batch.requests[0] if sent.HasField("batch") else sent).publish.events) == 1001
        if not sent.HasField("batch"):
            with pytest.raises(InvalidArgument, match="from 1 to 1000") as refused:
                decode_client_frame(data)
            assert refused.value.metadata == {"request_id": "p"}
            continue
        found = decode_client_frame(data)
        assert isinstance(found, frames.RequestBatch)
        assert [type(one) for one in found.requests] == [frames.Rejected, frames.Ping]


def test_a_large_frame_of_something_is_read() -> None:
    """As many requests as may be together, and a single one; nonsense is the decoder's."""
    large = pb.ConnectRequest(request_id="x", send=pb.Send(agent="a", text="t" * 300))
    found = decode_client_frame(batch(*[large] * MAX_BATCH))
    assert isinstance(found, frames.RequestBatch)
    assert len(found.requests) == MAX_BATCH
    alone = pb.ConnectRequest(request_id="x", send=pb.Send(agent="a", text="t" * LARGE))
    assert isinstance(decode_client_frame(alone.SerializeToString()), frames.Send)
    with pytest.raises(ProtocolViolation, match="is not the encoding"):
        decode_client_frame(b"\xff" * LARGE)


def test_a_message_from_within_a_call() -> None:
    send = pb.Send(call_id="c", agent="a", key="k", text="hi")
    send.timeout.FromMilliseconds(1500)
    data = pb.ConnectRequest(request_id="r", send=send).SerializeToString()

    assert decode_client_frame(data) == frames.Send("r", "hi", agent="a", key="k", call_id="c", timeout=1.5)
    same = agents.SendMessageRequest(call_id="c", agent="a", text="hi")
    assert send_within(same) == frames.Send("", "hi", agent="a", key="default", call_id="c")


@pytest.mark.parametrize(
    ("send", "field"),
    [
        (pb.Send(agent="a", text="t", key="k"), "send.key"),
        (pb.Send(call_id="c", agent="a", text=" "), "send.text"),
        (pb.Send(call_id="c", agent="not an agent", text="t"), "send.agent"),
        (pb.Send(call_id="c" * 129, agent="a", text="t"), "send.call_id"),
        (pb.Send(call_id="c", agent="a", text="t", channel="x"), "send.channel"),
        (pb.Send(call_id="c", agent="a", text="t", session_id="x"), "send.session_id"),
        (pb.Send(call_id="c", agent="a", text="t", correlation_id="x"), "send.correlation_id"),
        (pb.Send(call_id="c", agent="a", text="t", idempotency_key="x"), "send.idempotency_key"),
        (pb.Send(call_id="c", agent="a", text="t", partial_replies=True), "send.partial_replies"),
        (pb.Send(call_id="c", agent="a", text="t", no_reply=True), "send.no_reply"),
        (pb.Send(call_id="c", agent="a", text="t", traceparent="x"), "send.traceparent"),
    ],
)
def test_a_wrong_message_from_within_a_call_is_refused(send: pb.Send, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        decode_client_frame(pb.ConnectRequest(request_id="r", send=send).SerializeToString())
    assert [one.field for one in refused.value.violations] == [field]
    assert refused.value.metadata == {"request_id": "r"}


def test_what_is_published_from_within_a_call() -> None:
    said = pb.PublishMessage(call_id="c", topic="done", data_type="Order")
    said.json.update({"b": 1, "a": "é"})
    data = pb.ConnectRequest(request_id="r", publish_message=said).SerializeToString()

    expected = workers.PublishMessage("r", "c", "done/default", '{"a": "é", "b": 1}', "Order")
    assert decode_client_frame(data) == expected
    assert content_of(agents.PublishMessageRequest(topic="done", text="hi")) == ("", "hi")


@pytest.mark.parametrize(
    ("said", "field"),
    [
        (pb.PublishMessage(topic="t", text="hi"), "publish_message.call_id"),
        (pb.PublishMessage(call_id="c", topic="no topic", text="hi"), "publish_message.topic"),
        (pb.PublishMessage(call_id="c", topic="t", text=" "), "publish_message.text"),
        (pb.PublishMessage(call_id="c", topic="t", text="hi", data_type="x"), "publish_message.data_type"),
    ],
)
def test_what_is_wrongly_published_from_within_a_call_is_refused(said: pb.PublishMessage, field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        decode_client_frame(pb.ConnectRequest(request_id="r", publish_message=said).SerializeToString())
    assert [one.field for one in refused.value.violations] == [field]


def test_a_batch_in_json() -> None:
    text = '{"batch": {"requests": [{"requestId": "1", "ping": {}}, {"requestId": "2", "send": {"agent": "a"}}]}}'
    found = decode_client_frame(read(text))

    assert isinstance(found, frames.RequestBatch)
    assert [type(one) for one in found.requests] == [frames.Ping, frames.Rejected]
    with pytest.raises(ProtocolViolation, match="pong"):
        read('{"batch": {"requests": [{"requestId": "1", "pong": {}}]}}')

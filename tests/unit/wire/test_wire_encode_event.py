"""Rule: an event made inside the daemon has the public encoding, and reads back as it was."""

from typing import Any

import pytest
from gateway.internal.v1 import frames_pb2
from gateway.v1 import event_pb2, event_service_pb2

from gatewayd.core.catalogue import CATALOGUE, Kind
from gatewayd.core.chunk import Chunk
from gatewayd.core.errors import InvalidArgument, StoreCorrupt
from gatewayd.core.event import Event, EventType
from gatewayd.core.frames import Delivery
from gatewayd.wire import (
    data_of,
    decode_event,
    encode_event,
    encode_server_frame,
    event_bytes,
    list_events_bytes,
    publish_events,
    with_wire,
)

SAMPLES: dict[Kind, Any] = {
    Kind.STRING: "text",
    Kind.INTEGER: 2**40,
    Kind.NUMBER: 0.25,
    Kind.BOOLEAN: True,
    Kind.STRUCT: {"a": [1, 2.5, None, "x", {"b": False}]},
    Kind.VALUE: ["any", 3],
    Kind.STRINGS: ["one", "two"],
    Kind.TIME: 1_790_000_000.123456,
}
TYPED = [kind for kind in EventType if kind is not EventType.CUSTOM]


def event(kind: EventType, data: dict[str, Any] | None = None, **fields: Any) -> Event:
    return Event(id="e1", type=kind, source="gateway", stream_id="s", time=12.5, data=data or {}, **fields)


@pytest.mark.parametrize("kind", TYPED)
def test_data_of_every_type_comes_back(kind: EventType) -> None:
    data = {key: SAMPLES[what] for key, what in CATALOGUE[kind].data.items()}
    made = event(kind, data, execution_id="x", node_id="n", durable=CATALOGUE[kind].durable)

    read = decode_event(encode_event(made))

    assert data_of(read) == data == data_of(made)
    assert (read.id, read.source, read.time, read.durable) == ("e1", "gateway", 12.5, made.durable)


def test_what_is_told_without_being_kept_says_so() -> None:
    """Of a type that is durable: the delivery of a message, such as."""
    made = event(EventType.MESSAGE, {"content": "x"}, durable=False)

    assert event_pb2.Event.FromString(encode_event(made)).ephemeral
    assert not decode_event(encode_event(made)).durable
    assert not event_pb2.Event.FromString(encode_event(event(EventType.HEARTBEAT, durable=False))).ephemeral


@pytest.mark.parametrize("kind", TYPED)
def test_data_that_is_left_out_has_the_default_of_its_kind(kind: EventType) -> None:
    made = event(kind)

    assert data_of(decode_event(encode_event(made))) == data_of(made)
    assert set(data_of(made)) == set(CATALOGUE[kind].data)


@pytest.mark.parametrize(
    "data", [{}, {"a": {"b": [1, "x", None]}}, {"content_type": "image/png", "content": b"\x89PNG"}]
)
def test_custom_data_comes_back(data: dict[str, Any]) -> None:
    made = event(EventType.CUSTOM, data, custom_type="t", durable=False)

    read = decode_event(encode_event(made))

    assert data_of(read) == data
    assert (read.custom_type, read.durable) == ("t", False)


@pytest.mark.parametrize(
    ("kind", "data", "field"),
    [
        (EventType.MESSAGE, {"contents": "x"}, "message.contents"),
        (EventType.MESSAGE, {"content": 3}, "message.content"),
        (EventType.MESSAGE, {"parts": "x"}, "message.parts"),
        (EventType.EXECUTION_STARTED, {"input": {1: "x"}}, "execution_started.input"),
        (EventType.EXECUTION_STARTED, {"input": {"x": object()}}, "execution_started.input"),
        (EventType.EXECUTION_STARTED, {"input": {"x": 10**400}}, "execution_started.input"),
        (EventType.HEARTBEAT, {"interval": "soon"}, "heartbeat.interval"),
        (EventType.LLM_TEXT_DELTA, {"offset": 2**70}, "llm_text_delta.offset"),
        (EventType.CONFIG_RELOADED, {"changed": [1]}, "config_reloaded.changed"),
        (EventType.SCHEDULE_FIRED, {"instant": 1e18}, "schedule_fired.instant"),
        (EventType.SCHEDULE_FIRED, {"instant": float("nan")}, "schedule_fired.instant"),
        (EventType.SCHEDULE_FIRED, {"instant": "now"}, "schedule_fired.instant"),
        (EventType.CUSTOM, {"content_type": 3, "content": b"x"}, "custom.json"),
    ],
)
def test_data_that_does_not_fit_is_refused_with_its_key(kind: EventType, data: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        encode_event(event(kind, data))

    assert caught.value.violations[0].field == field


def test_json_of_the_daemon_is_bounded_like_that_of_clients() -> None:
    deep: dict[str, Any] = {}
    for _ in range(40):
        deep = {"a": deep}

    with pytest.raises(InvalidArgument):
        encode_event(event(EventType.EXECUTION_STARTED, {"input": deep}))


def test_halves_of_surrogate_pairs_do_not_stop_an_event() -> None:
    """Models write `\\ud83d\\ude00` in two tokens, and file names hold bytes that are not text."""
    made = event(EventType.MESSAGE, {"content": "\ud83d\ude00 \udcff", "parts": {"\udcff": "\udcff"}})

    assert data_of(decode_event(encode_event(made))) == {
        "content": "\U0001f600 \ufffd",
        "parts": {"\ufffd": "\ufffd"},
        "sender": "",
        "reply_to": "",
    }


def test_the_encoding_is_made_once_and_kept() -> None:
    made = with_wire(event(EventType.MESSAGE, {"content": "x"}))

    assert with_wire(made) is made
    assert event_bytes(made) is made.wire
    assert event_bytes(made.stamped("L", 2)).startswith(made.wire)


def test_what_is_no_event_in_the_store_is_said_to_be_damaged() -> None:
    for raw in (b"\xff", event_pb2.Event(type=999).SerializeToString()):  # type: ignore[arg-type]
        with pytest.raises(StoreCorrupt):
            decode_event(raw)


def test_joined_bytes_are_the_public_encoding() -> None:
    """The twin of a frame, with bytes for events, is what the public messages would have been."""
    made = [event(EventType.MESSAGE, {"content": str(n)}).stamped("L", n) for n in range(1, 4)]
    events = [event_bytes(each) for each in made]
    public = event_service_pb2.Delivery(
        subscription_ids=["a", "b"], cursor="L:3", events=[event_pb2.Event.FromString(raw) for raw in events]
    )

    chunk = Chunk(made)
    frame = encode_server_frame(Delivery(("a", "b"), chunk))

    assert encode_server_frame(Delivery(("a", "b"), chunk)) is frame
    other = event_service_pb2.ConnectResponse.FromString(encode_server_frame(Delivery(("c",), chunk)))
    assert (other.delivery.subscription_ids, other.delivery.events) == (["c"], public.events)
    assert event_service_pb2.ConnectResponse.FromString(frame).delivery == public
    assert len(frame) == event_service_pb2.ConnectResponse(delivery=public).ByteSize()
    listed = event_service_pb2.ListEventsResponse.FromString(list_events_bytes(events, "next"))
    assert (list(listed.events), listed.next_page_token) == (list(public.events), "next")


def test_a_published_batch_is_split_without_being_read() -> None:
    good = event_pb2.Event(id="1").SerializeToString()
    raw = frames_pb2.Publish(events=[good, b"\xff\xff"]).SerializeToString()

    assert publish_events(raw) == (good, b"\xff\xff")
    with pytest.raises(InvalidArgument):
        publish_events(b"\xff")

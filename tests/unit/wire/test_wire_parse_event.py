"""Rule: an event of a client is read in full and checked, or refused with the field that is wrong."""

from collections.abc import Callable

import pytest
from gateway.v1 import event_pb2, event_service_pb2
from google.protobuf import json_format

from gatewayd.core.errors import InvalidArgument, ServerOnlyField
from gatewayd.core.event import Event, EventType
from gatewayd.wire import MAX_EVENT_BYTES, Stamp, content_digest, data_of, decode_event, event_bytes, parse_event
from gatewayd.wire.values import MAX_VALUES

STAMP = Stamp.make("alice", 1.5)


def message(**fields: object) -> event_pb2.Event:
    """A good event of type MESSAGE with other fields on top."""
    event = event_pb2.Event(type=1, id="e1", topic="orders.eu")  # type: ignore[arg-type]
    event.message.content = "hello"
    for name, value in fields.items():
        setattr(event, name, value)
    return event


def custom(**fields: object) -> event_pb2.Event:
    event = event_pb2.Event(type=100, custom_type="build.done")  # type: ignore[arg-type]
    event.custom.json["ok"] = True
    for name, value in fields.items():
        setattr(event, name, value)
    return event


def parse(raw: bytes) -> Event:
    return parse_event(raw, STAMP, stream_id="client-1", new_id=lambda: "made", path="events[3]")


def test_a_good_event_is_taken_and_stamped() -> None:
    event = parse(message(session_id="s1").SerializeToString())

    assert event.id == "e1"
    assert event.type is EventType.MESSAGE
    assert (event.source, event.time, event.stream_id) == ("alice", 1.5, "client-1")
    assert (event.session_id, event.topic, event.durable) == ("s1", "orders.eu", True)
    assert data_of(event) == {"content": "hello", "parts": {}, "sender": "", "reply_to": ""}
    public = event_pb2.Event.FromString(event_bytes(event))
    assert (public.source, public.time, public.id) == ("alice", 1.5, "e1")
    assert not public.HasField("seq")


def test_an_id_is_made_only_where_the_client_gave_none() -> None:
    assert parse(message(id="").SerializeToString()).id == "made"
    assert parse(message(id="mine").SerializeToString()).id == "mine"


def test_a_stamped_event_carries_its_place_in_the_log() -> None:
    event = parse(message().SerializeToString()).stamped("L1", 7)

    public = event_pb2.Event.FromString(event_bytes(event))

    assert (public.epoch, public.seq) == ("L1", 7)
    assert decode_event(event_bytes(event)) == event
    assert decode_event(event.wire, epoch="L1", seq=7) == event


@pytest.mark.parametrize(
    ("field", "value"), [("source", "root"), ("source", ""), ("time", 0.0), ("epoch", ""), ("seq", 0), ("seq", 9)]
)
def test_a_server_only_field_is_refused_even_when_it_is_zero(field: str, value: object) -> None:
    raw = message(**{field: value}).SerializeToString()

    with pytest.raises(ServerOnlyField) as caught:
        parse(raw)

    assert caught.value.violations[0].field == f"events[3].{field}"


@pytest.mark.parametrize("copies", [1, 2, 3])
@pytest.mark.parametrize("place", ["before", "after"])
def test_a_server_only_field_cannot_hide_behind_a_copy_of_itself(copies: int, place: str) -> None:
    """The last copy of a scalar wins, so a client might hope to be read with one and passed on with another."""
    forged = event_pb2.Event(source="root").SerializeToString() + event_pb2.Event(source="").SerializeToString()
    raw = message().SerializeToString()

    with pytest.raises(ServerOnlyField):
        parse(forged * copies + raw if place == "before" else raw + forged * copies)


def test_a_server_only_field_of_another_wire_type_is_not_passed_on() -> None:
    """A varint in the place of `source` is an unknown field here; some other decoder might take it."""
    event = parse(message().SerializeToString() + bytes([12 << 3 | 0, 1]))

    assert event.wire == parse(message().SerializeToString()).wire


def test_fields_of_a_later_version_are_not_passed_on() -> None:
    unknown = bytes([0xF2, 0x7F, 3]) + b"abc"
    event = parse(message().SerializeToString() + unknown)

    assert b"abc" not in event.wire


def test_what_is_passed_on_is_what_was_checked_also_when_data_comes_twice() -> None:
    """Decoders differ on a message field that comes twice: most merge, some take the last."""
    twice = message()
    twice.message.sender = "bob"
    event = parse(twice.SerializeToString() + message().SerializeToString())

    assert event.wire.count(b"hello") == 1
    assert data_of(event)["sender"] == "bob"


def test_the_data_that_wins_must_be_the_one_of_the_type() -> None:
    other = event_pb2.Event()
    other.broadcast.content = "x"

    with pytest.raises(InvalidArgument):
        parse(message().SerializeToString() + other.SerializeToString())


def nested(depth: int) -> event_pb2.Event:
    event = custom()
    struct = event.custom.json
    struct.Clear()
    for _ in range(depth - 1):
        struct = struct.fields["a"].struct_value
    struct.fields["end"].number_value = 1
    return event


def listed(depth: int) -> event_pb2.Event:
    event = custom()
    event.custom.json.Clear()
    value = event.custom.json.fields["a"]
    for _ in range(depth - 1):
        value = value.list_value.values.add()
    value.bool_value = True
    return event


def without(event: event_pb2.Event, name: str) -> event_pb2.Event:
    event.ClearField(name)  # type: ignore[arg-type]
    return event


def with_number(number: float) -> event_pb2.Event:
    event = custom()
    event.custom.json.fields["n"].number_value = number
    return event


def with_kindless() -> event_pb2.Event:
    event = custom()
    event.custom.json.fields["n"].Clear()
    return event


def with_instant(seconds: int, nanos: int = 0) -> event_pb2.Event:
    event = event_pb2.Event(type=64)  # type: ignore[arg-type]
    event.schedule_fired.instant.seconds = seconds
    event.schedule_fired.instant.nanos = nanos
    return event


def with_bytes(content_type: str) -> event_pb2.Event:
    event = custom()
    event.custom.content = b"\x00\x01"
    event.custom.content_type = content_type
    return event


def with_long_key() -> event_pb2.Event:
    event = custom()
    event.custom.json.fields["k" * 70_000].bool_value = True
    return event


def with_content(text: str) -> event_pb2.Event:
    event = message()
    event.message.content = text
    return event


def delta() -> event_pb2.Event:
    event = event_pb2.Event(type=45)  # type: ignore[arg-type]
    event.llm_text_delta.content = "x"
    return event


def loop() -> event_pb2.Event:
    event = event_pb2.Event(type=36, execution_id="x")  # type: ignore[arg-type]
    event.node_loop_iteration.iteration = 1
    return event


def with_many_values() -> event_pb2.Event:
    event = custom()
    event.custom.json.update({"many": [None] * MAX_VALUES})
    return event


REFUSED: dict[str, tuple[Callable[[], event_pb2.Event], str]] = {
    "no type": (lambda: without(message(), "type"), "events[3].type"),
    "unknown type": (lambda: message(type=999), "events[3].type"),
    "negative type": (lambda: message(type=-1), "events[3].type"),
    "no data": (lambda: without(message(), "message"), "events[3].data"),
    "data of another type": (lambda: message(type=6), "events[3].data"),
    "custom without name": (lambda: custom(custom_type=""), "events[3].custom_type"),
    "name without custom": (lambda: message(custom_type="x"), "events[3].custom_type"),
    "ephemeral without custom": (lambda: message(ephemeral=True), "events[3].ephemeral"),
    "topic with a wildcard": (lambda: message(topic="orders.*"), "events[3].topic"),
    "topic with an empty word": (lambda: message(topic="orders..eu"), "events[3].topic"),
    "topic with a space": (lambda: message(topic="a b"), "events[3].topic"),
    "topic too long": (lambda: message(topic="a" * 257), "events[3].topic"),
    "id too long": (lambda: message(id="x" * 257), "events[3].id"),
    "id too long in bytes": (lambda: message(id="é" * 129), "events[3].id"),
    "id with a control character": (lambda: message(id="\x1b[2J"), "events[3].id"),
    "target with a newline": (lambda: message(target="a\nb"), "events[3].target"),
    "string too long": (lambda: with_content("x" * 65_537), "events[3].data.content"),
    "string too long in bytes": (lambda: with_content("é" * 32_769), "events[3].data.content"),
    "event too large": (lambda: with_content("x" * MAX_EVENT_BYTES), "events[3]"),
    "JSON key too long": (with_long_key, "events[3].data.json"),
    "JSON too deep": (lambda: nested(33), "events[3].data.json"),
    "JSON far too deep": (lambda: nested(60), "events[3]"),
    "JSON lists too deep": (lambda: listed(34), "events[3].data.json"),
    "JSON with too many values": (with_many_values, "events[3].data.json"),
    "JSON with NaN": (lambda: with_number(float("nan")), "events[3].data.json"),
    "JSON with infinity": (lambda: with_number(float("inf")), "events[3].data.json"),
    "JSON with a value of no kind": (with_kindless, "events[3].data.json"),
    "bytes without a content type": (lambda: with_bytes(""), "events[3].data.content_type"),
    "bytes with a strange content type": (lambda: with_bytes("a\nb"), "events[3].data.content_type"),
    "instant after the year 9999": (lambda: with_instant(10**12), "events[3].data.instant"),
    "instant with negative nanos": (lambda: with_instant(1, -1), "events[3].data.instant"),
    "worker's type without execution": (delta, "events[3].execution_id"),
    "node's type without node": (loop, "events[3].node_id"),
}


@pytest.mark.parametrize("case", sorted(REFUSED))
def test_a_wrong_event_is_refused_with_its_field(case: str) -> None:
    make, field = REFUSED[case]

    with pytest.raises(InvalidArgument) as caught:
        parse(make().SerializeToString())

    assert [violation.field for violation in caught.value.violations] == [field]
    assert caught.value.message.startswith(field)


@pytest.mark.parametrize(
    "raw",
    [
        b"\xff",
        message().SerializeToString()[:-3],
        b"\x0a\x02\xff\xfe" + message().SerializeToString(),  # an id that is not UTF-8
        message().SerializeToString() + b"\xaa\x06\x04\x0a\x02\xc3\x28",  # a content that is not UTF-8
        message().SerializeToString() + b"\x0b",  # a group that does not end
    ],
)
def test_bytes_that_would_spoil_a_readers_frame_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidArgument):
        parse(raw)


def test_explicit_defaults_of_other_encoders_are_no_fault() -> None:
    """protobuf.js writes a field that was set to its default; that is no different from leaving it out."""
    explicit = b"\x1a\x00" + b"\x58\x00"  # target = "", ephemeral = false

    assert parse(message().SerializeToString() + explicit).wire == parse(message().SerializeToString()).wire


@pytest.mark.parametrize("make", [nested, listed])
def test_the_deepest_allowed_json_reaches_a_reader_in_a_full_frame(make: Callable[[int], event_pb2.Event]) -> None:
    """Readers stop at 100 nested messages: the bound has to leave room for the frames around an event."""
    event = parse(make(32).SerializeToString())

    frame = event_service_pb2.ConnectResponse()
    frame.delivery.events.add().ParseFromString(event_bytes(event))
    read = event_service_pb2.ConnectResponse.FromString(frame.SerializeToString())

    assert read.delivery.events[0].custom == make(32).custom


def test_a_custom_event_is_durable_unless_it_says_not() -> None:
    assert parse(custom().SerializeToString()).durable
    assert not parse(custom(ephemeral=True).SerializeToString()).durable


def test_custom_data_is_a_json_object_or_bytes() -> None:
    assert data_of(parse(custom().SerializeToString())) == {"ok": True}
    bare = custom()
    bare.custom.Clear()
    bare.custom.SetInParent()
    assert data_of(parse(bare.SerializeToString())) == {}
    raw = parse(with_bytes("application/cbor").SerializeToString())
    assert data_of(raw) == {"content_type": "application/cbor", "content": b"\x00\x01"}


def test_content_is_the_same_whenever_it_came_and_other_when_it_is_other() -> None:
    raw = message().SerializeToString()
    first = parse(raw)
    other_stamp = Stamp.make("alice", 99.0)
    later = parse_event(raw, other_stamp, stream_id="client-1", new_id=lambda: "made").stamped("L", 3)

    assert first.wire != later.wire
    assert content_digest(first, STAMP) == content_digest(later, other_stamp)
    assert content_digest(first, STAMP) != content_digest(parse(with_content("other").SerializeToString()), STAMP)


def test_every_taken_event_can_be_printed_as_json() -> None:
    for raw in (message(), custom(), nested(32), with_instant(5)):
        json_format.MessageToJson(event_pb2.Event.FromString(event_bytes(parse(raw.SerializeToString()))))

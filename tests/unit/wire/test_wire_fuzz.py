"""Rule: whatever bytes come in, only an error of the contract comes out; and what is taken, every reader can read."""

import math

from gateway.v1 import event_pb2, event_service_pb2
from google.protobuf import json_format
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewayd.core.errors import GatewayError
from gatewayd.core.event import Event, EventType
from gatewayd.wire import Stamp, data_of, decode_client_frame, decode_event, event_bytes, parse_event

SOME_TYPES = st.one_of(
    st.sampled_from([int(kind) for kind in EventType]), st.just(int(EventType.CUSTOM)), st.integers(-5, 300)
)
NAMES = st.one_of(st.sampled_from(["a", "orders.eu", "x1"]), st.text(max_size=40))
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=10), inner, max_size=4),
    max_leaves=20,
)


@st.composite
def nearly_events(draw: st.DrawFn) -> bytes:
    """The encodings of events that are right in most respects, whole, cut, doubled or with a byte changed."""
    number = draw(SOME_TYPES)
    event = event_pb2.Event(type=number, execution_id="x", node_id="n")  # type: ignore[arg-type]
    if number == EventType.CUSTOM:
        event.custom_type = "t"
    for name in draw(st.lists(st.sampled_from(["id", "target", "node_id", "session_id", "topic"]), max_size=2)):
        setattr(event, name, draw(NAMES).encode("utf-8", "replace").decode())
    member = event.DESCRIPTOR.fields_by_number.get(draw(st.sampled_from([100 + number] * 6 + [101, 200])))
    if member is not None and member.containing_oneof is not None:
        getattr(event, member.name).SetInParent()
        if member.name == "custom":
            fill(event.custom.json, draw(st.dictionaries(st.text(max_size=10), JSON, max_size=4)))
    if draw(st.integers(0, 9)) == 0:
        event.source = "forged"
    raw = bytearray(event.SerializeToString())
    for _ in range(draw(st.integers(0, 2))):
        change = draw(st.sampled_from(["cut", "double", "flip", "append"]))
        if change == "cut" and raw:
            del raw[draw(st.integers(0, len(raw) - 1)) :]
        elif change == "double":
            raw += bytes(raw)
        elif change == "flip" and raw:
            raw[draw(st.integers(0, len(raw) - 1))] = draw(st.integers(0, 255))
        else:
            raw += draw(st.binary(max_size=8))
    return bytes(raw)


def fill(struct: object, fields: dict[str, object]) -> None:
    for key, value in fields.items():
        try:
            struct[key] = value  # type: ignore[index]
        except (ValueError, UnicodeEncodeError):
            continue


def parse(raw: bytes) -> Event | None:
    try:
        return parse_event(raw, Stamp.make("alice", 1.0), stream_id="c", new_id=lambda: "made")
    except GatewayError:
        return None


@given(st.one_of(nearly_events(), st.binary(max_size=60)))
@settings(max_examples=400)
def test_an_event_is_taken_whole_or_refused(raw: bytes) -> None:
    event = parse(raw)

    if event is not None:
        public = event_pb2.Event.FromString(event_bytes(event.stamped("L", 1)))
        assert (public.source, public.time, public.epoch, public.seq) == ("alice", 1.0, "L", 1)
        assert public.WhichOneof("data") == event.type.label
        json_format.MessageToJson(public)
        data_of(event)
        assert decode_event(event.wire) == event
        # Nothing of it is left that a later reader could see in another way.
        assert event_pb2.Event.FromString(event.wire).ByteSize() == len(event.wire)


@given(st.one_of(nearly_events(), st.binary(max_size=60)), st.integers(1, 9))
@settings(max_examples=400)
def test_a_frame_is_read_or_refused(raw: bytes, member: int) -> None:
    tag = bytes([member << 3 | 2])
    size = bytes([len(raw) & 127 | 128, len(raw) >> 7])
    for data in (raw, b"\x0a\x01r" + tag + size + raw):
        try:
            decode_client_frame(data)
        except GatewayError:
            continue


@given(st.lists(nearly_events(), min_size=1, max_size=4))
def test_one_bad_event_cannot_spoil_the_frame_of_the_others(events: list[bytes]) -> None:
    taken = [event for event in map(parse, events) if event is not None]

    joined = b"".join(b"\x1a" + varint(len(event_bytes(event))) + event_bytes(event) for event in taken)
    delivery = event_service_pb2.Delivery.FromString(joined)

    assert [each.id for each in delivery.events] == [event.id for event in taken]


def varint(number: int) -> bytes:
    out = bytearray()
    for _ in range(max(1, math.ceil(number.bit_length() / 7))):
        out.append(number & 127 | 128)
        number >>= 7
    out[-1] &= 127
    return bytes(out)

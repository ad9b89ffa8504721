"""Events of `gateway.v1` as the load makes them: CUSTOM, with the payload as their content."""

from functools import cache

from gateway.v1 import event_data_pb2, event_pb2, event_service_pb2, event_type_pb2
from google.protobuf.message import Message

from bench.events.payload import EVENT_BYTES, payload

CONTENT_TYPE = "application/octet-stream"


def event(data: bytes, number: int, publisher: int, place: str = "", *, durable: bool = False) -> event_pb2.Event:
    """A CUSTOM event. `place` is a stream and a topic with a bar between."""
    stream, _, topic = place.partition("|")
    return event_pb2.Event(
        id=f"{publisher:06}{number:020}",
        type=event_type_pb2.EVENT_TYPE_CUSTOM,
        stream_id=stream,
        topic=topic or "bench.events",
        custom_type="bench",
        ephemeral=not durable,
        custom=event_data_pb2.CustomData(content=data, content_type=CONTENT_TYPE),
    )


def event_filter(place: str) -> event_pb2.EventFilter:
    """What `place` selects: a stream and a topic pattern with a bar between, either or both empty."""
    stream, _, topic = place.partition("|")
    return event_pb2.EventFilter(types=[event_type_pb2.EVENT_TYPE_CUSTOM], stream_id=stream, topic=topic)


PAYLOAD_BYTES = EVENT_BYTES - len(event(b"", 0, 0).SerializeToString()) - 2
"""Two more bytes hold the length of a payload that is not empty: its own field's and one digit of those around it."""

_MARK = event(_SAMPLE := payload(PAYLOAD_BYTES, 1), 1, 0).custom.SerializeToString().partition(_SAMPLE)[0]


def payload_place(data: bytes) -> int:
    """Where in an event its payload begins. It is the same for all events that one server passes on."""
    return data.index(_MARK) + len(_MARK)


_SHORT = tuple(bytes((size,)) for size in range(128))


def entry(one: event_pb2.Event) -> bytes:
    """The event as a member of `publish.events`."""
    data = one.SerializeToString()
    return b"\x0a" + varint(len(data)) + data


def addressed_entry(data: bytes, number: int, publisher: int, target: str, correlation_id: str) -> bytes:
    """`entry` of an event for one client."""
    return _joined(_head(target), data, number, publisher, _field(_CORRELATION, correlation_id.encode()))


def durable_entry(data: bytes, number: int, publisher: int) -> bytes:
    """`entry` of a durable event."""
    return _joined(_head(durable=True), data, number, publisher)


def _joined(head: bytes, data: bytes, number: int, publisher: int, more: bytes = b"") -> bytes:
    """An entry joined of encoded fields: their order is free, and making a message costs."""
    named = _field(_ID, f"{publisher:06}{number:020}".encode())
    return _field(_ENTRY, head + named + more + _field(_CUSTOM, _field(_CONTENT, data)))


def _tag(message: type[Message], name: str) -> bytes:
    return varint(message.DESCRIPTOR.fields_by_name[name].number << 3 | 2)


def _field(tag: bytes, data: bytes) -> bytes:
    size = len(data)
    return tag + (_SHORT[size] if size < 128 else varint(size)) + data


@cache
def _head(target: str = "", *, durable: bool = False) -> bytes:
    head = event(b"", 0, 0, durable=durable)
    head.ClearField("id")
    head.target = target
    return head.SerializeToString()


def varint(number: int) -> bytes:
    """Protobuf's encoding of a number."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)


_ID, _CORRELATION, _CUSTOM = (_tag(event_pb2.Event, name) for name in ("id", "correlation_id", "custom"))
_CONTENT = _tag(event_data_pb2.CustomData, "content")
_ENTRY = _tag(event_service_pb2.Publish, "events")

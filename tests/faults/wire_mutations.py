"""Frames and requests that a protobuf library would never write: made from right ones, by chance or on purpose."""

import contextlib
import random
from collections.abc import Callable

from gateway.v1 import event_pb2
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import event_filter, new_event

VARINT, FIXED64, LENGTH, GROUP, FIXED32 = 0, 1, 2, 3, 5


def varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes((*out, number))


def field(number: int, data: bytes) -> bytes:
    """A field of any message, text or bytes."""
    return varint(number << 3 | LENGTH) + varint(len(data)) + data


def right_frames() -> list[bytes]:
    """One of each kind of frame, with everything in it that it may hold."""
    event = new_event("custom", {"a": [1, "b", {"c": None}]}, custom_type="note", topic="mutated.x", correlation_id="c")
    events = [event, new_event("message", {"content": "hi"}, topic="mutated.y"), new_event("custom", custom_type="n")]
    wanted = event_filter(["custom", "message"], topic="mutated.*", stream_id="s", session_id="x")
    send = pb.Send(agent="echo", text="hello", correlation_id="c", idempotency_key="k", partial_replies=True)
    send.timeout.FromSeconds(5)
    frames = [
        pb.ConnectRequest(hello=pb.Hello(client_id="mutant", protocol_min=1, protocol_max=1, resume_token="t")),
        pb.ConnectRequest(subscribe=pb.Subscribe(subscription_id="s", filter=wanted, buffer_bytes=5000, since="e:1")),
        pb.ConnectRequest(unsubscribe=pb.Unsubscribe(subscription_id="s")),
        pb.ConnectRequest(publish=pb.Publish(events=events)),
        pb.ConnectRequest(send=send),
        pb.ConnectRequest(cancel=pb.Cancel(execution_id="01ARZ3NDEKTSV4RRFFQ69G5FAV")),
        pb.ConnectRequest(pause=pb.Pause(execution_id="x1", reason="later")),
        pb.ConnectRequest(resume=pb.Resume(execution_id="x1", reason="now")),
        pb.ConnectRequest(inject_input=pb.InjectInput(execution_id="x1", node_id="n", content="hi")),
        pb.ConnectRequest(ping=pb.Ping()),
    ]
    for number, frame in enumerate(frames[1:]):
        frame.request_id = f"m{number}"
    return [frame.SerializeToString() for frame in frames]


def mutated(chance: random.Random, frames: list[bytes]) -> bytes:
    """One of them after a few mishaps."""
    data = bytearray(chance.choice(frames))
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        _mishap(chance, data, frames)
    return bytes(data)


def _mishap(chance: random.Random, data: bytearray, frames: list[bytes]) -> None:
    """One mishap, most often somewhere within, where all around it stays right."""
    at = 0
    places: list[tuple[int, int, int]] = []
    with contextlib.suppress(IndexError):
        while at < len(data):
            start = at
            tag, at = _read(data, at)
            if tag & 7 == LENGTH:
                size, at = _read(data, at)
                places.append((start, at, at + size))
                at += size
            elif tag & 7 == VARINT:
                _, at = _read(data, at)
            else:
                at += {FIXED64: 8, FIXED32: 4}.get(tag & 7, 1)
    places = [each for each in places if each[2] <= len(data)]
    if not places or chance.random() < 0.15:
        chance.choice(_MISHAPS)(chance, data, frames)
        return
    start, begin, end = chance.choice(places)
    inner = data[begin:end]
    _mishap(chance, inner, frames)
    tag, _ = _read(data, start)
    data[start:end] = field(tag >> 3, bytes(inner)) * chance.choice((1, 1, 1, 1, 2))


def _read(data: bytearray, at: int) -> tuple[int, int]:
    """A varint and the place behind it; IndexError at the end of the data."""
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        shift += 7
        at += 1
        if data[at - 1] < 0x80:
            return number, at


def _flip(chance: random.Random, data: bytearray, _frames: list[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _cut(chance: random.Random, data: bytearray, _frames: list[bytes]) -> None:
    del data[chance.randrange(len(data) + 1) :]


def _drop(chance: random.Random, data: bytearray, _frames: list[bytes]) -> None:
    start = chance.randrange(len(data) + 1)
    del data[start : start + chance.randrange(1, 6)]


def _insert(chance: random.Random, data: bytearray, _frames: list[bytes]) -> None:
    start = chance.randrange(len(data) + 1)
    data[start:start] = chance.randbytes(chance.randrange(1, 9))


def _huge(chance: random.Random, data: bytearray, _frames: list[bytes]) -> None:
    start = chance.randrange(len(data) + 1)
    data[start : start + 1] = b"\xff" * chance.choice((4, 9, 10, 40)) + b"\x01"


def _not_utf8(chance: random.Random, data: bytearray, _frames: list[bytes]) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.choice((0xC0, 0xED, 0xF8, 0xFF))


def _other_type(chance: random.Random, data: bytearray, _frames: list[bytes]) -> None:
    if data:
        place = chance.randrange(min(len(data), 4))
        data[place] = data[place] & 0xF8 | chance.choice((VARINT, FIXED64, LENGTH, GROUP, 4, FIXED32, 6, 7))


def _repeat(chance: random.Random, data: bytearray, _frames: list[bytes]) -> None:
    start = chance.randrange(len(data) + 1)
    data += data[start : start + chance.randrange(1, 200)]


def _splice(chance: random.Random, data: bytearray, frames: list[bytes]) -> None:
    other = chance.choice(frames)
    data[chance.randrange(len(data) + 1) :] = other[chance.randrange(len(other)) :]


def _unknown(chance: random.Random, data: bytearray, _frames: list[bytes]) -> None:
    data += field(chance.randrange(100, 500_000), chance.randbytes(chance.randrange(50)))


_MISHAPS: tuple[Callable[[random.Random, bytearray, list[bytes]], None], ...] = (
    _flip,
    _cut,
    _drop,
    _insert,
    _huge,
    _not_utf8,
    _other_type,
    _repeat,
    _splice,
    _unknown,
)


def nested(depth: int) -> bytes:
    """The encoding of an event whose JSON holds lists within lists."""
    value = b"\x20\x01"
    for _ in range(depth):
        value = field(6, field(1, value))
    json = field(1, field(1, b"deep") + field(2, value))
    custom = event_pb2.Event.DESCRIPTOR.fields_by_name["custom"].number
    form = event_pb2.Event.DESCRIPTOR.fields_by_name["custom"].message_type.fields_by_name["json"].number
    return raw_event() + field(custom, field(form, json))


def raw_event(**names: bytes) -> bytes:
    """The beginning of a note, with names of the envelope as any bytes."""
    fields = event_pb2.Event.DESCRIPTOR.fields_by_name
    note = event_pb2.Event(custom_type="note", topic="odd")
    note.type = new_event("custom", custom_type="note").type
    return note.SerializeToString() + b"".join(field(fields[name].number, data) for name, data in names.items())


def published(*events: bytes, request_id: str = "odd") -> bytes:
    """A frame that publishes these, whatever they are."""
    publish = b"".join(field(1, event) for event in events)
    number = pb.ConnectRequest.DESCRIPTOR.fields_by_name["publish"].number
    return pb.ConnectRequest(request_id=request_id).SerializeToString() + field(number, publish)

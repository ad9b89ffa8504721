"""What is too deep for the decoder, found out: it says no more than that it could not read the message.

Only asked about what was refused already. It walks the bytes along the message's descriptor, without recursion, each
byte once, and not for long: whoever sends nonsense does not get more of the gateway's time for it.
"""

from collections import Counter
from collections.abc import Iterator

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from gatewayd.core.errors import InvalidArgument
from gatewayd.wire.values import MAX_DEPTH, TOO_DEEP, refuse

_JSON = frozenset({"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"})
_LEVELS = frozenset({"google.protobuf.Struct", "google.protobuf.ListValue"})
_MOST_FIELDS = 20_000
_FIXED = {1: 8, 5: 4}
"""Bytes of a value, by wire type."""
_BYTES = 2
"""The wire type of what says its own length."""


def too_deep(data: bytes, message: Descriptor) -> InvalidArgument | None:
    """The error for the first JSON value in there that is too deep; None where something else is wrong."""
    left = _MOST_FIELDS
    waiting = [(0, len(data), message, "", 0)]
    try:
        while waiting:
            start, end, kind, path, levels = waiting.pop()
            if levels > MAX_DEPTH:
                return refuse(path, TOO_DEEP)
            seen: Counter[int] = Counter()
            for number, inner, inner_end in fields_of(data, start, end):
                left -= 1
                if left < 0:
                    return None
                field = kind.fields_by_number.get(number)
                if field is None or field.message_type is None:
                    continue
                place = path if kind.full_name in _JSON or _entry_of_json(kind) else _place(path, field, seen)
                within = levels + (field.message_type.full_name in _LEVELS)
                waiting.append((inner, inner_end, field.message_type, place, within))
    except (IndexError, ValueError):
        return None
    return None


def text_of(data: bytes, number: int) -> str:
    """The text of the last field of that number at the top; '' where there is none that can be read."""
    found = ""
    try:
        for one, start, end in fields_of(data, 0, len(data)):
            if one == number:
                found = data[start:end].decode()
    except (IndexError, ValueError):
        pass
    return found


def _entry_of_json(kind: Descriptor) -> bool:
    return kind.containing_type is not None and kind.containing_type.full_name in _JSON


def _place(path: str, field: FieldDescriptor, seen: "Counter[int]") -> str:
    name: str = f"{path}.{field.name}" if path else field.name
    if field.is_repeated:
        name = f"{name}[{seen[field.number]}]"
        seen[field.number] += 1
    return name


def fields_of(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Number, beginning and end of each field, empty where it says no length; IndexError or ValueError where the bytes
    stop."""
    while start < end:
        tag, start = _varint(data, start)
        number, wire_type = tag >> 3, tag & 7
        if number > FieldDescriptor.MAX_FIELD_NUMBER:
            raise ValueError("no such field")
        if wire_type == 0:
            _, start = _varint(data, start)
            yield number, start, start
        elif wire_type in _FIXED:
            start += _FIXED[wire_type]
            yield number, start, start
        elif wire_type == _BYTES:
            length, start = _varint(data, start)
            if start + length > end:
                raise ValueError("cut off")
            yield number, start, start + length
            start += length
        else:
            raise ValueError("no such wire type")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    found = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        found |= (byte & 0x7F) << shift
        if byte < 0x80:
            return found, at
    raise ValueError("a number without end")

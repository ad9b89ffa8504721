"""Generated messages as plain values, for JSON, YAML and tables.

Names are those of the contract in snake case; an enum is its lower-case name without the prefix, a point in time is
ISO 8601 in UTC, a span is seconds. What is absent is None, so that every answer of a kind has the same keys.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from google.protobuf.descriptor import EnumDescriptor
    from google.protobuf.message import Message
    from google.protobuf.timestamp_pb2 import Timestamp

_FREE = {"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"}


def plain(message: Message) -> dict[str, Any]:
    """The message as a dict. Members of a oneof that are not set are left out."""
    values: dict[str, Any] = {}
    for field in message.DESCRIPTOR.fields:
        oneof = field.containing_oneof
        if oneof is not None and len(oneof.fields) > 1 and not message.HasField(field.name):
            continue
        if field.has_presence and not message.HasField(field.name):
            values[field.name] = None
        else:
            values[field.name] = _value(field, getattr(message, field.name))
    return values


def _value(field: Any, value: Any) -> Any:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        inner = kind.fields_by_name["value"]
        return {key: _one(inner, value[key]) for key in sorted(value)}
    if field.is_repeated:
        return [_one(field, each) for each in value]
    return _one(field, value)


def _one(field: Any, value: Any) -> Any:
    if field.enum_type is not None:
        return enum_name(field.enum_type, value)
    if field.message_type is None:
        return value if not isinstance(value, bytes) else _text(value)
    name = field.message_type.full_name
    if name == "google.protobuf.Timestamp":
        return value.ToJsonString()
    if name == "google.protobuf.Duration":
        return value.ToTimedelta().total_seconds()
    if name in _FREE:
        return free_values(value)
    return plain(value)


def seconds(time: Timestamp) -> float:
    """Since the Unix epoch."""
    return float(time.seconds + time.nanos / 1e9)


def free_values(value: Message) -> Any:
    """What a Struct, Value or ListValue holds."""
    from google.protobuf import json_format  # noqa: PLC0415 - rare

    return _whole(json_format.MessageToDict(value))


def _whole(value: Any) -> Any:
    """The contract's free values know one kind of number, 1.0 was 1 when it was written; and no order of keys."""
    if isinstance(value, dict):
        return {key: _whole(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 1 << 53 else value


def _text(value: bytes) -> str:
    import base64  # noqa: PLC0415 - rare

    return base64.b64encode(value).decode()


def enum_name(enum: EnumDescriptor, number: int) -> str:
    """`CHANNEL_STATE_READY` is `ready`; a value of a newer daemon is its number; the zero value is empty."""
    found = enum.values_by_number.get(number)
    if found is None:
        return str(number)
    name = found.name.removeprefix(enum_prefix(enum))
    return "" if number == 0 and name == "UNSPECIFIED" else name.lower()


def enum_number(enum: EnumDescriptor, name: str) -> int | None:
    """The opposite; None if there is no such value."""
    found = enum.values_by_name.get(enum_prefix(enum) + name.upper().replace("-", "_"))
    return None if found is None or found.number == 0 else int(found.number)


def enum_names(enum: EnumDescriptor) -> list[str]:
    """All lower-case names but the zero value's."""
    return [enum_name(enum, value.number) for value in enum.values if value.number]


def enum_prefix(enum: EnumDescriptor) -> str:
    """`EventType` is `EVENT_TYPE_`."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", enum.name).upper() + "_"

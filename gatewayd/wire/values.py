"""JSON values, instants and spans of time ↔ the well-known messages that carry them, within our bounds."""

import math
from collections.abc import Mapping, Sequence
from itertools import count
from typing import Any

from google.protobuf.duration_pb2 import Duration
from google.protobuf.struct_pb2 import NULL_VALUE, ListValue, Struct, Value
from google.protobuf.timestamp_pb2 import Timestamp

from gatewayd.core.errors import InvalidArgument, Violation

MAX_DEPTH = 32
"""Deepest nesting of JSON, the outermost object counted as one. Decoders in several languages stop at 100 nested
messages, and an object in an object takes three."""

TOO_DEEP = f"nested deeper than {MAX_DEPTH} objects and lists; make it flatter, or send the inner part as a text"

MAX_STRING = 64 * 1024
"""Longest string in the data of an event, in bytes of UTF-8."""

MAX_VALUES = 10_000
"""Most values in one piece of JSON: each is looked at, and an event could hold a hundred thousand tiny ones."""

_NANOS = 1_000_000_000
_FIRST_SECOND, _LAST_SECOND = -62_135_596_800, 253_402_300_799
"""The years 1 and 9999: the range that google.protobuf.Timestamp promises to every language."""

_EXACT = 2**53
"""Up to here every whole number is a double of its own."""


def refuse(field: str, description: str) -> InvalidArgument:
    """The error for one wrong field."""
    return InvalidArgument(f"{field}: {description}", violations=(Violation(field, description),))


def valid_text(text: str) -> str:
    """The text, with halves of surrogate pairs joined, or replaced by U+FFFD where the other half is missing.

    Models and file names bring such halves into Python strings; UTF-8, and so a protobuf string, cannot hold them.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def check_struct(struct: Struct, path: str) -> None:
    """Raise `InvalidArgument` for what a reader in another language could not read or print."""
    _check_fields(struct, path, 1, count())


def check_value(value: Value, path: str) -> None:
    """As `check_struct`, for any JSON value."""
    _check(value, path, 1, count())


def _check_fields(struct: Struct, path: str, depth: int, seen: "count[int]") -> None:
    if depth > MAX_DEPTH:
        raise refuse(path, TOO_DEEP)
    for key, value in struct.fields.items():
        if len(key) * 4 > MAX_STRING:
            check_length(key, path)
        _check(value, path, depth + 1, seen)


def _check(value: Value, path: str, depth: int, seen: "count[int]") -> None:
    if next(seen) >= MAX_VALUES:
        raise refuse(path, f"holds more than {MAX_VALUES} values")
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        check_length(value.string_value, path)
    elif kind == "struct_value":
        _check_fields(value.struct_value, path, depth, seen)
    elif kind == "list_value":
        if depth > MAX_DEPTH:
            raise refuse(path, TOO_DEEP)
        for item in value.list_value.values:
            _check(item, path, depth + 1, seen)
    elif kind == "number_value":
        if not math.isfinite(value.number_value):
            raise refuse(path, "JSON has no infinite numbers and no NaN")
    elif kind is None:
        raise refuse(path, "holds a value of no kind; null must be said")


def check_length(text: str, path: str) -> None:
    """Raise `InvalidArgument` for a string that is longer than `MAX_STRING`."""
    if len(text) * 4 > MAX_STRING and len(text.encode()) > MAX_STRING:
        raise refuse(path, f"longer than {MAX_STRING} bytes")


def check_time(timestamp: Timestamp, path: str) -> None:
    """Raise `InvalidArgument` for an instant outside the years 1 to 9999."""
    if not (_FIRST_SECOND <= timestamp.seconds <= _LAST_SECOND and 0 <= timestamp.nanos < _NANOS):
        raise refuse(path, "not an instant between the years 1 and 9999")


def object_from(struct: Struct) -> dict[str, Any]:
    """The JSON object as Python values; whole numbers become `int`."""
    return {key: value_from(value) for key, value in struct.fields.items()}


def value_from(value: Value) -> Any:
    """The JSON value as a Python value."""
    kind = value.WhichOneof("kind")
    if kind == "string_value":
        return value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() and abs(number) <= _EXACT else number
    if kind == "bool_value":
        return value.bool_value
    if kind == "struct_value":
        return object_from(value.struct_value)
    if kind == "list_value":
        return [value_from(item) for item in value.list_value.values]
    return None


def fill_struct(struct: Struct, value: Any, path: str, depth: int = 1) -> None:
    """Write a mapping into the message, or raise `InvalidArgument` for what JSON cannot say."""
    if not isinstance(value, Mapping):
        raise refuse(path, f"{type(value).__name__} is not a JSON object")
    if depth > MAX_DEPTH:
        raise refuse(path, TOO_DEEP)
    for key, item in value.items():
        if not isinstance(key, str):
            raise refuse(path, f"a key is {type(key).__name__}, not a string")
        fill_value(struct.fields[valid_text(key)], item, path, depth + 1)


def fill_value(target: Value, value: Any, path: str, depth: int = 1) -> None:
    """Write any JSON value into the message, or raise `InvalidArgument` for what JSON cannot say."""
    if value is None:
        target.null_value = NULL_VALUE
    elif isinstance(value, str):
        try:
            target.string_value = value
        except UnicodeEncodeError:
            target.string_value = valid_text(value)
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, int | float):
        target.number_value = _double(value, path)
    elif isinstance(value, Mapping):
        target.struct_value.SetInParent()
        fill_struct(target.struct_value, value, path, depth)
    elif isinstance(value, Sequence) and not isinstance(value, bytes | bytearray | memoryview):
        if depth > MAX_DEPTH:
            raise refuse(path, TOO_DEEP)
        target.list_value.SetInParent()
        _fill_list(target.list_value, value, path, depth)
    else:
        raise refuse(path, f"{type(value).__name__} is not a JSON value")


def _fill_list(target: ListValue, value: Sequence[Any], path: str, depth: int) -> None:
    for item in value:
        fill_value(target.values.add(), item, path, depth + 1)


def _double(value: float, path: str) -> float:
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise refuse(path, "JSON has no infinite numbers and no NaN")
    return number


def seconds_from(timestamp: Timestamp) -> float:
    """Seconds since the Unix epoch."""
    return timestamp.seconds + timestamp.nanos / _NANOS


def fill_time(target: Timestamp, seconds: float, path: str) -> None:
    """Write seconds since the Unix epoch, or raise `InvalidArgument` outside the years 1 to 9999."""
    if not _FIRST_SECOND <= seconds < _LAST_SECOND:
        raise refuse(path, "not an instant between the years 1 and 9999")
    target.seconds, target.nanos = divmod(round(seconds * _NANOS), _NANOS)


def span_from(duration: Duration, path: str) -> float:
    """Seconds, never negative; `InvalidArgument` for a duration that is."""
    seconds = duration.seconds + duration.nanos / _NANOS
    if not 0 <= seconds <= _LAST_SECOND:
        raise refuse(path, "not a duration from zero up")
    return seconds


def span(seconds: float) -> Duration:
    """The message for that many seconds."""
    duration = Duration()
    fill_span(duration, seconds)
    return duration


def fill_span(target: Duration, seconds: float) -> None:
    """Write that many seconds."""
    target.seconds, target.nanos = divmod(round(seconds * _NANOS), _NANOS)

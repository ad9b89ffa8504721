"""What the events of each type carry: dictionaries with the catalogue's keys ↔ the members of `oneof data`."""

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any

from gateway.v1 import event_data_pb2, event_pb2
from google.protobuf.message import DecodeError, Message
from google.protobuf.struct_pb2 import Struct, Value

from gatewayd.core.catalogue import CATALOGUE, Kind
from gatewayd.core.errors import Internal
from gatewayd.core.event import Event, EventType
from gatewayd.wire import values

_DEFAULTS: Mapping[Kind, Callable[[], Any]] = MappingProxyType(
    {
        Kind.STRING: str,
        Kind.INTEGER: int,
        Kind.NUMBER: float,
        Kind.BOOLEAN: bool,
        Kind.STRUCT: dict,
        Kind.VALUE: lambda: None,
        Kind.STRINGS: list,
        Kind.TIME: lambda: None,
    }
)
_MAX_MEDIA_TYPE = 256
_SCALARS = (Kind.STRING, Kind.INTEGER, Kind.NUMBER, Kind.BOOLEAN)


def data_of(event: Event) -> dict[str, Any]:
    """The data of an event as plain values, each key of the catalogue present.

    What is absent has the default of its kind: "", 0, False, {}, []; None for a JSON value and for an instant.
    A `custom` event has the JSON object itself, or `content_type` (str) and `content` (bytes).
    """
    if event.data or not event.wire:
        if event.type is EventType.CUSTOM:
            return dict(event.data)
        defaults = {key: _DEFAULTS[kind]() for key, kind in CATALOGUE[event.type].data.items()}
        return {**defaults, **event.data}
    try:
        message = event_pb2.Event.FromString(event.wire)
    except DecodeError as error:
        raise Internal(f"the encoding of event {event.id} is damaged") from error
    return read_data(event.type, getattr(message, event.type.label))


def read_data(kind: EventType, data: Message) -> dict[str, Any]:
    """The plain values of a member of `oneof data`."""
    if isinstance(data, event_data_pb2.CustomData):
        if data.WhichOneof("form") == "content":
            return {"content_type": data.content_type, "content": data.content}
        return values.object_from(data.json)
    return {key: _read(data, key, what) for key, what in CATALOGUE[kind].data.items()}


def _read(data: Message, key: str, kind: Kind) -> Any:
    value = getattr(data, key)
    if kind in _SCALARS:
        return value
    if kind is Kind.STRUCT:
        return values.object_from(value)
    if kind is Kind.VALUE:
        return values.value_from(value)
    if kind is Kind.STRINGS:
        return list(value)
    return values.seconds_from(value) if data.HasField(key) else None


def fill_data(event: event_pb2.Event, kind: EventType, label: str, data: Mapping[str, Any]) -> None:
    """Write `data` into the message's member of that type, whose name is `label`.

    Raises `InvalidArgument` for a key that the catalogue does not know and for a value of another kind.
    """
    target = getattr(event, label)
    target.SetInParent()
    if kind is EventType.CUSTOM:
        _fill_custom(target, data)
        return
    kinds = CATALOGUE[kind].data
    for key, value in data.items():
        if key not in kinds:
            raise values.refuse(f"{label}.{key}", "is no key of this type")
        if value is not None:
            _fill(target, key, kinds[key], value, label)


def _fill(target: Message, key: str, kind: Kind, value: Any, label: str) -> None:
    if kind in _SCALARS:
        try:
            setattr(target, key, value)
            return
        except (TypeError, ValueError, AttributeError):  # a text that is no UTF-8 is mended below
            pass
    path = f"{label}.{key}"
    try:
        if kind is Kind.STRUCT:
            struct = getattr(target, key)
            struct.SetInParent()
            values.fill_struct(struct, value, path)
        elif kind is Kind.VALUE:
            values.fill_value(getattr(target, key), value, path)
        elif kind is Kind.TIME:
            values.fill_time(getattr(target, key), value, path)
        elif kind is Kind.STRINGS:
            getattr(target, key).extend(values.valid_text(text) for text in value)
        else:
            setattr(target, key, values.valid_text(value) if isinstance(value, str) else value)
    except (TypeError, ValueError, AttributeError):
        raise values.refuse(path, f"{type(value).__name__} does not fit; it takes a {kind.value}") from None


def _fill_custom(target: event_data_pb2.CustomData, data: Mapping[str, Any]) -> None:
    content = data.get("content")
    media_type = data.get("content_type")
    if isinstance(content, bytes) and isinstance(media_type, str) and len(data) == 2:
        # No JSON value is bytes, so an object with these two keys cannot be mistaken for this form.
        target.content = content
        target.content_type = media_type
        return
    target.json.SetInParent()
    values.fill_struct(target.json, data, "custom.json")


def checker(kind: EventType) -> Callable[[Any, str], None] | None:
    """What raises `InvalidArgument` for JSON, instants and media types in the data of this type, under a path, that
    some reader could not read; None where there is nothing of the kind."""
    if kind is EventType.CUSTOM:
        return _check_custom
    keys = tuple(key for key, what in CATALOGUE[kind].data.items() if what in (Kind.STRUCT, Kind.VALUE, Kind.TIME))
    return partial(_check_nested, keys) if keys else None


def _check_nested(keys: tuple[str, ...], data: Message, path: str) -> None:
    for key in keys:
        if not data.HasField(key):
            continue
        value = getattr(data, key)
        if isinstance(value, Struct):
            values.check_struct(value, f"{path}.data.{key}")
        elif isinstance(value, Value):
            values.check_value(value, f"{path}.data.{key}")
        else:
            values.check_time(value, f"{path}.data.{key}")


def check_strings(kind: EventType, data: Message, path: str) -> None:
    """Raise `InvalidArgument` for a string in the data that is longer than `MAX_STRING`."""
    for key, what in CATALOGUE[kind].data.items():
        if what is Kind.STRING:
            values.check_length(getattr(data, key), f"{path}.data.{key}")
        elif what is Kind.STRINGS:
            for text in getattr(data, key):
                values.check_length(text, f"{path}.data.{key}")


def _check_custom(data: event_data_pb2.CustomData, path: str) -> None:
    media_type = data.content_type
    bytes_form = data.HasField("content")
    if bytes_form != bool(media_type):
        raise values.refuse(f"{path}.data.content_type", "is required with `content`, and only with it")
    if len(media_type) > _MAX_MEDIA_TYPE or not media_type.isprintable():
        raise values.refuse(f"{path}.data.content_type", "is not the name of a media type")
    if not bytes_form:
        values.check_struct(data.json, f"{path}.data.json")

"""Events for people and programs: types by their lower-case names, data as plain values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import Any

from gateway.v1.event_pb2 import Event, EventFilter
from gateway.v1.event_type_pb2 import EventType
from google.protobuf import json_format

from gatewayctl.plain import enum_name, enum_names, enum_number, plain
from gatewayctl.sdk.objects import TOO_DEEP, is_too_deep

__all__ = [
    "Event",
    "EventFilter",
    "event_filter",
    "event_type",
    "event_types",
    "event_values",
    "new_event",
    "type_name",
]


@lru_cache(maxsize=256)
def event_type(name: str | int) -> EventType.ValueType:
    """`execution_completed` → EVENT_TYPE_EXECUTION_COMPLETED. ValueError, with the nearest, for no such name."""
    number = name if isinstance(name, int) else enum_number(EventType.DESCRIPTOR, name)
    if number is None:
        near = get_close_matches(str(name).lower().replace("-", "_"), event_types(), 1)
        raise ValueError(f"there is no event type {name!r}{f': did you mean {near[0]}?' if near else ''}")
    return EventType.ValueType(number)


def event_types() -> list[str]:
    """The names of all types that this version knows."""
    return enum_names(EventType.DESCRIPTOR)


def type_name(event: Event) -> str:
    """The lower-case name; for a custom event its own name."""
    return event.custom_type or enum_name(EventType.DESCRIPTOR, event.type)


def event_filter(types: Iterable[str | int] = (), **conditions: str) -> EventFilter:
    """A filter: types by name (none: all), and `topic`, `stream_id`, `node_id`, `execution_id`, `session_id`,
    `correlation_id`."""
    wanted = [event_type(each) for each in types]
    return EventFilter(types=wanted, all_types=not wanted, **conditions)


def new_event(
    kind: str | int,
    data: Mapping[str, Any] | None = None,
    *,
    custom_type: str = "",
    ephemeral: bool = False,
    **envelope: str,
) -> Event:
    """An event to publish: its type, the data that belongs to it, and `topic`, `session_id`, `target` and so on.

    For a custom event `data` is free and `custom_type` names it. ValueError names what does not fit.
    """
    number = event_type(kind)
    event = Event(type=number, custom_type=custom_type, ephemeral=ephemeral)
    for name, text in envelope.items():
        setattr(event, name, text)
    member = Event.DESCRIPTOR.fields_by_number.get(number + 100)
    if member is None:
        raise ValueError(f"this version does not know the data of the event type {kind!r}")
    if any(map(is_too_deep, [data] if member.name == "custom" else (data or {}).values())):
        raise ValueError(f"the data of the event type {kind}: {TOO_DEEP}")
    value = getattr(event, member.name)
    value.SetInParent()
    try:
        if member.name == "custom":
            value.json.SetInParent()
            value.json.update(dict(data or {}))
        else:
            json_format.ParseDict(dict(data or {}), value)
    except (json_format.ParseError, ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"the data does not fit the event type {kind}: {error}") from None
    return event


def event_values(event: Event) -> dict[str, Any]:
    """The event as plain values: the envelope's fields that are set, and `data`.

    The data of a custom event is its JSON object, or its bytes in base64 with their content type.
    """
    values = plain(event)
    member = event.WhichOneof("data")
    data = values.pop(member) if member else {}
    if member == "custom":
        data = data["json"] if "json" in data else {key: each for key, each in data.items() if each}
    return {name: value for name, value in values.items() if value not in ("", None, False)} | {"data": data}

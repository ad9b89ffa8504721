"""`gateway.v1.EventFilter` → `core.filter.EventFilter`."""

from functools import lru_cache

from gateway.v1 import event_pb2

from gatewayd.core.errors import InvalidArgument
from gatewayd.core.event import Cursor, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.topic import TopicPattern
from gatewayd.wire.values import refuse

_TYPES = {int(kind): kind for kind in EventType}
_NAMES = ("stream_id", "node_id", "execution_id", "session_id", "correlation_id")
_MAX_NAME = 256


def filter_from_proto(message: event_pb2.EventFilter, path: str = "filter") -> EventFilter:
    """Read a filter; `InvalidArgument` names the wrong field under `path`."""
    if message.all_types == bool(message.types):
        raise refuse(f"{path}.types", "name the types, or set `all_types` for all of them")
    if len(message.types) > len(_TYPES):
        raise refuse(f"{path}.types", f"has {len(message.types)} entries; there are {len(_TYPES)} types")
    types = set()
    for number in message.types:
        kind = _TYPES.get(number)
        if kind is None:
            raise refuse(f"{path}.types", f"{number} is no event type that this gateway knows")
        types.add(kind)
    for name in _NAMES:
        if len(getattr(message, name)) > _MAX_NAME:
            raise refuse(f"{path}.{name}", f"is longer than {_MAX_NAME} characters")
    return EventFilter(
        types=None if message.all_types else _the_same(frozenset(types)),
        stream_id=message.stream_id,
        node_id=message.node_id,
        execution_id=message.execution_id,
        session_id=message.session_id,
        correlation_id=message.correlation_id,
        topic=_pattern(message.topic, path),
    )


@lru_cache(maxsize=1024)
def _the_same(types: frozenset[EventType]) -> frozenset[EventType]:
    """Most filters have one of few sets of types: each of these is kept but once."""
    return types


def _pattern(text: str, path: str) -> TopicPattern | None:
    if not text:
        return None
    try:
        return TopicPattern.parse(text)
    except InvalidArgument as error:
        raise refuse(f"{path}.topic", error.message) from None


def cursor_from(text: str, path: str) -> Cursor | None:
    """Read a cursor; None for an empty one."""
    if not text:
        return None
    try:
        return Cursor.parse(text)
    except InvalidArgument as error:
        raise refuse(path, error.message) from None

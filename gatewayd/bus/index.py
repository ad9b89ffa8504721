"""Which subscriptions want an event, found in the time that the matching ones take.

Filters of one *shape* (the same fields set) are kept in one table by the values of these fields, their topic patterns
in a tree. An event is looked up once for each shape in use, of which there are few, however many filters there are. A
route that was found is remembered by the fields that some filter looks at, until the set of filters changes.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any, Generic, TypeVar

from gatewayd.bus.topics import TopicTree
from gatewayd.core.event import Event, EventType
from gatewayd.core.filter import EventFilter

T = TypeVar("T")

ROUTES = 8192
"""Routes that are remembered; one more forgets all."""
_EQUAL = ("stream_id", "node_id", "execution_id", "session_id", "correlation_id")


class _Bucket(Generic[T]):
    """The items of filters that are equal but for their topics."""

    __slots__ = ("any_topic", "topics")

    def __init__(self) -> None:
        self.any_topic: tuple[T, ...] = ()
        self.topics: TopicTree[T] | None = None

    def __bool__(self) -> bool:
        return bool(self.any_topic or self.topics)


class _Shape(Generic[T]):
    """The filters that set the same fields."""

    def __init__(self, fields: tuple[str, ...]) -> None:
        self.fields = fields
        self.buckets: dict[Any, _Bucket[T]] = {}
        self.values: Callable[[Event], Any] = attrgetter(*fields) if fields else _nothing


class Index(Generic[T]):
    """Filters and what stands behind each of them; an item has one filter."""

    def __init__(self) -> None:
        self._shapes: dict[tuple[str, ...], _Shape[T]] = {}
        self._routes: dict[Any, tuple[T, ...]] = {}
        self._key: Callable[[Event], Any] = _nothing
        self._with_topic = 0
        self._types: Counter[EventType | None] = Counter()
        """How many filters name each type; None: how many take every type."""

    def add(self, selection: EventFilter, item: T) -> None:
        """From now on events that the filter selects are for the item, too."""
        fields = _fields(selection)
        shape = self._shapes.get(fields)
        if shape is None:
            shape = self._shapes[fields] = _Shape(fields)
        for key in _keys(selection, fields):
            bucket = shape.buckets.setdefault(key, _Bucket())
            if selection.topic is None:
                bucket.any_topic += (item,)
            else:
                bucket.topics = bucket.topics or TopicTree()
                bucket.topics.add(selection.topic, item)
        self._with_topic += selection.topic is not None
        self._types.update(selection.types if selection.types is not None else (None,))
        self._changed()

    def remove(self, selection: EventFilter, item: T) -> None:
        """Take away what was added with that filter."""
        fields = _fields(selection)
        shape = self._shapes[fields]
        for key in _keys(selection, fields):
            bucket = shape.buckets[key]
            if selection.topic is None:
                bucket.any_topic = tuple([other for other in bucket.any_topic if other is not item])
            elif bucket.topics is not None:
                bucket.topics.remove(selection.topic, item)
            if not bucket:
                del shape.buckets[key]
        if not shape.buckets:
            del self._shapes[fields]
        self._with_topic -= selection.topic is not None
        self._types.subtract(selection.types if selection.types is not None else (None,))
        self._changed()

    def may_select(self, kind: EventType) -> bool:
        """Whether there is a filter that selects events of the type, as far as their type says."""
        return self._types[None] > 0 or self._types[kind] > 0

    def match(self, event: Event) -> tuple[T, ...]:
        """The items whose filter selects the event, each once."""
        key = self._key(event)
        route = self._routes.get(key)
        if route is None:
            route = tuple(dict.fromkeys(self._find(event)))
            if len(self._routes) >= ROUTES:
                self._routes.clear()
            self._routes[key] = route
        return route

    def _find(self, event: Event) -> Iterator[T]:
        for shape in self._shapes.values():
            bucket = shape.buckets.get(shape.values(event))
            if bucket is not None:
                yield from bucket.any_topic
                if event.topic and bucket.topics:
                    yield from bucket.topics.find(event.topic)

    def _changed(self) -> None:
        self._routes.clear()
        used = {field for shape in self._shapes.values() for field in shape.fields}
        if self._with_topic:
            used.add("topic")
        self._key = attrgetter(*sorted(used)) if used else _nothing


def _fields(selection: EventFilter) -> tuple[str, ...]:
    fields = tuple(name for name in _EQUAL if getattr(selection, name))
    return ("type", *fields) if selection.types is not None else fields


def _keys(selection: EventFilter, fields: tuple[str, ...]) -> Iterator[Any]:
    """The values under which an event that the filter selects is looked up; one for each of its types."""
    if selection.types is None:
        yield attrgetter(*fields)(selection) if fields else ()
        return
    rest = tuple(getattr(selection, name) for name in fields[1:])
    for kind in selection.types:
        yield (kind, *rest) if rest else kind


def _nothing(_event: Event) -> Any:
    return ()

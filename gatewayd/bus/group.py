"""Subscriptions of one filter: what they get alike is gathered, joined and counted once.

Events that only some of them may see (a target, an owner) keep their place among the others and go to those alone.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from gatewayd.core.chunk import EVENT_OVERHEAD, Chunk
from gatewayd.core.event import Event
from gatewayd.core.filter import EventFilter

CHUNK_BYTES = 256 * 1024
"""What has gathered to this size is handed out without being asked for: the size of a chunk, but for its last event."""
AUDIENCES = 1024
"""Audiences that a group remembers; one more forgets all."""


class Member(Protocol):
    """A subscription that has caught up with the log."""

    def visible(self, event: Event) -> bool:
        """Whether it may see an event that is addressed to somebody or belongs to somebody."""
        ...

    def put(self, chunk: Chunk) -> bool:
        """Give it what it asked for; False when it could not keep up and has ended."""
        ...

    def close(self) -> None:
        """It gets nothing more."""
        ...


Audience = tuple[Member, ...]


class Group:
    """Filled event by event; `flush` hands out what has gathered, in order."""

    __slots__ = (
        "_audiences",
        "_bytes",
        "_dirty",
        "_events",
        "_handing_out",
        "_members",
        "_personal",
        "before",
        "delivered",
        "selection",
    )

    def __init__(self, selection: EventFilter, dirty: Callable[["Group"], None]) -> None:
        self.selection = selection
        self.before = 0
        """While something is gathered: the `seq` before its first durable event."""
        self.delivered = 0
        """Events handed out to members, over all."""
        self._handing_out = False
        self._dirty = dirty
        self._members: dict[Member, None] = {}
        self._events: list[Event] = []
        self._bytes = 0
        self._personal: dict[int, Audience] | None = None
        """Who gets the events at these places; all others are for everybody."""
        self._audiences: dict[tuple[str, str], Audience] | None = None

    def __len__(self) -> int:
        return len(self._members)

    def join(self, member: Member) -> None:
        """What has gathered so far is not for the new one."""
        self.flush()
        self._members[member] = None
        self._audiences = None

    def leave(self, member: Member) -> None:
        """Safe for one that is not in it."""
        self._members.pop(member, None)
        self._audiences = None

    @property
    def gathered(self) -> bool:
        """Whether something waits to be handed out, or is on its way to the members."""
        return self._handing_out or bool(self._events)

    def add(self, event: Event, delivered_seq: int) -> None:
        """Gather one event that the filter selects. `delivered_seq`: the last durable one that came before it."""
        if event.target or event.owner:
            key = (event.target, event.owner)
            audience = self._audiences.get(key) if self._audiences is not None else None
            if audience is None:
                audience = self._find_audience(key, event)
            if not audience:
                return
            if len(audience) < len(self._members):
                if self._personal is None:
                    self._personal = {}
                self._personal[len(self._events)] = audience
        if not self._events:
            self.before = delivered_seq
            self._dirty(self)
        self._events.append(event)
        self._bytes += len(event.wire) + EVENT_OVERHEAD
        if self._bytes >= CHUNK_BYTES:
            self.flush()

    def _find_audience(self, key: tuple[str, str], event: Event) -> Audience:
        known = self._audiences
        if known is None or len(known) >= AUDIENCES:
            known = self._audiences = {}
        audience = known[key] = tuple([member for member in self._members if member.visible(event)])
        return audience

    def gathered_for(self, member: Member) -> Iterator[Event]:
        """What waits to be handed out to this member, in order."""
        personal = self._personal or {}
        for place, event in enumerate(self._events):
            if (audience := personal.get(place)) is None or member in audience:
                yield event

    def flush(self) -> None:
        """Hand out what has gathered. A member that cannot keep up leaves, and may have been the last one."""
        if not self._events:
            return
        events, personal, size = self._events, self._personal, self._bytes
        self._events, self._personal, self._bytes = [], None, 0
        everybody = tuple(self._members)
        self._handing_out = True  # until all have everything, nobody's place is behind `before` for having nothing
        try:
            if personal is None:
                self._hand_out(Chunk(events, size), everybody)
                return
            for run, audience in _runs(events, personal, everybody):
                self._hand_out(Chunk(run), audience)
        finally:
            self._handing_out = False

    def _hand_out(self, chunk: Chunk, audience: Iterable[Member]) -> None:
        for member in audience:
            if member.put(chunk):
                self.delivered += len(chunk)
            else:
                member.close()


def _runs(
    events: Sequence[Event], personal: dict[int, Audience], everybody: Audience
) -> Iterator[tuple[Sequence[Event], Audience]]:
    """Consecutive events for the same audience."""
    start, audience = 0, personal.get(0, everybody)
    for place in range(1, len(events)):
        following = personal.get(place, everybody)
        if following is not audience:
            yield events[start:place], audience
            start, audience = place, following
    yield events[start:], audience

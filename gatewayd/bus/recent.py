"""The newest events of the log in memory, so that readers who come back soon need not be served from the disk."""

from collections import deque
from collections.abc import Sequence
from itertools import islice

from gatewayd.core.chunk import EVENT_OVERHEAD
from gatewayd.core.event import Event

RECENT_BYTES = 8 * 1024 * 1024
"""Bytes of events that are kept; the oldest go first."""


class RecentEvents:
    """Consecutive places of the log, up to its end."""

    def __init__(self, limit_bytes: int = RECENT_BYTES) -> None:
        self._limit = limit_bytes
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._next = 0

    def add(self, added: Sequence[Event]) -> None:
        """The next events of the log, without a gap among them, with their `wire` filled."""
        events = self._events
        if added[0].seq != self._next:
            self.forget()
        self._next = added[-1].seq + 1
        events.extend(added)
        self._bytes += sum([len(event.wire) for event in added]) + len(added) * EVENT_OVERHEAD
        while self._bytes > self._limit and len(events) > 1:
            self._bytes -= len(events.popleft().wire) + EVENT_OVERHEAD

    def forget(self) -> None:
        """Keep nothing of what was: some of it was erased."""
        self._events.clear()
        self._bytes = 0

    def after(self, seq: int, limit: int) -> Sequence[Event] | None:
        """Up to `limit` events behind that place, oldest first; None when they are not all here."""
        if not self._events or seq + 1 < self._events[0].seq:
            return None
        skipped = seq + 1 - self._events[0].seq
        return list(islice(self._events, skipped, skipped + limit))

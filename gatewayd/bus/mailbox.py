"""A bounded queue of events for one subscriber, and what happens at its bound."""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from gatewayd.core.event import Cursor, Event
from gatewayd.core.frames import EndReason, Overflow

EVENT_OVERHEAD = 128
"""Bytes that one waiting event costs beside its content; counted so that many tiny events are bounded too."""


class Mailbox:
    """Filled by the bus, emptied by one reader. Once `ended` is set nothing more arrives."""

    def __init__(self, *, limit_bytes: int, overflow: Overflow, wake: Callable[[], None], start: Cursor) -> None:
        self._limit = limit_bytes
        self._overflow = overflow
        self._wake = wake
        self._events: deque[Event] = deque()
        self._bytes = 0
        self._dropped = 0
        self._dropped_to: Cursor | None = None
        self.total_dropped = 0
        self.position = start
        """The place up to which the reader has taken (or lost) everything that is durable."""
        self._reached = start
        self.ended: EndReason | None = None
        self._emptier = asyncio.Event()

    @property
    def reached(self) -> int:
        """The `seq` up to which everything was put in or skipped; a durable event at or before it is a repeat."""
        return self._reached.seq

    def fits(self, event: Event) -> bool:
        """Whether it can be put in without the policy acting."""
        return self._bytes + len(event.wire) + EVENT_OVERHEAD <= self._limit

    async def emptied(self) -> None:
        """Wait until the reader took something, or the subscription ended."""
        self._emptier.clear()
        if self._events and self.ended is None:
            await self._emptier.wait()

    def put(self, event: Event) -> bool:
        """Queue one event by the policy; False when this ended the subscription."""
        if self.ended is not None:
            return False
        size = len(event.wire) + EVENT_OVERHEAD
        # An empty mailbox takes an event of any size: cutting its reader off would not make the event smaller.
        while self._events and self._bytes + size > self._limit:
            if self._overflow is Overflow.DISCONNECT:
                self.end(EndReason.SLOW_CONSUMER)
                return False
            self._drop_oldest()
        self._events.append(event)
        self._bytes += size
        if event.seq:
            self._reached = replace(self._reached, seq=event.seq)
        if len(self._events) == 1:
            self._wake()
        return True

    def take(self, max_bytes: int) -> list[Event]:
        """The oldest events, at least one if there is any, up to that many bytes of content."""
        events: list[Event] = []
        taken = 0
        while self._events:
            size = len(self._events[0].wire)
            if events and taken + size > max_bytes:
                break
            event = self._events.popleft()
            taken += size
            self._bytes -= size + EVENT_OVERHEAD
            events.append(event)
            if event.seq:
                self.position = replace(self.position, seq=event.seq)
        # What an end let go of was put in, but not taken: then the place does not move.
        if not self._events and self.ended is None:
            self.position = self._reached
        self._emptier.set()
        return events

    @property
    def dropped(self) -> int:
        """Events that were dropped before the next one to take."""
        return self._dropped

    def take_gap(self) -> tuple[int, Cursor | None]:
        """How many were dropped, and the place of the last durable one; the count begins anew."""
        gap = (self._dropped, self._dropped_to)
        self._dropped, self._dropped_to = 0, None
        return gap

    def skip_to(self, seq: int) -> None:
        """Everything up to `seq` was looked at and does not concern this reader."""
        if seq > self._reached.seq and self.ended is None:
            self._reached = replace(self._reached, seq=seq)
            if not self._events:
                self.position = self._reached

    def end(self, reason: EndReason) -> None:
        """Let go of what waits; the reader is told the reason and goes on from `position`."""
        if self.ended is None:
            self.ended = reason
            self._events.clear()
            self._bytes = 0
            self._emptier.set()
            self._wake()

    @property
    def waiting_bytes(self) -> int:
        return self._bytes

    @property
    def has_news(self) -> bool:
        """Whether the reader has something to take or to be told."""
        return bool(self._events) or self._dropped > 0 or self.ended is not None

    def _drop_oldest(self) -> None:
        event = self._events.popleft()
        self._bytes -= len(event.wire) + EVENT_OVERHEAD
        self._dropped += 1
        self.total_dropped += 1
        if event.seq:
            self._dropped_to = event.cursor
            self.position = replace(self.position, seq=event.seq)

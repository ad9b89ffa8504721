"""A bounded queue of events for one subscriber, and what happens at its bound."""

from collections import deque
from collections.abc import Callable, Iterator

from gatewayd.bus.budget import Budget
from gatewayd.core.chunk import EVENT_OVERHEAD, Chunk, alone, joined
from gatewayd.core.event import Cursor, Event
from gatewayd.core.frames import EndReason, Overflow
from gatewayd.core.idle import IDLE
from gatewayd.wire.nesting import is_deep

__all__ = ["EVENT_OVERHEAD", "Mailbox"]


class Mailbox:
    """Filled by the bus, emptied by one reader. Once `ended` is set nothing more arrives."""

    __slots__ = (
        "_budget",
        "_bytes",
        "_chunks",
        "_dropped_to",
        "_reached",
        "_taken",
        "_wake",
        "dropped",
        "ended",
        "limit_bytes",
        "overflow",
        "total_dropped",
    )

    def __init__(
        self,
        *,
        limit_bytes: int,
        overflow: Overflow,
        wake: Callable[[], None],
        start: Cursor,
        reached: Callable[[], int],
        budget: Budget | None = None,
    ) -> None:
        """`wake` is called when the reader has something to do; `reached` says up to which `seq` the bus has looked.

        `budget` is shared by the mailboxes of one connection.
        """
        self.limit_bytes = limit_bytes
        self.overflow = overflow
        self._wake = wake
        self._chunks: deque[Chunk] = IDLE
        self._bytes = 0
        self.dropped = 0
        """Events that were dropped before the next one to take."""
        self._dropped_to: Cursor | None = None
        self.total_dropped = 0
        self._taken = start
        self._reached = reached
        self.ended: EndReason | None = None
        self._budget = budget or Budget()

    @property
    def position(self) -> Cursor:
        """The place up to which the reader has taken (or lost) everything that is durable and concerns it."""
        if not self._chunks and self.ended is None:
            reached = self._reached()
            if reached > self._taken.seq:
                self._taken = Cursor(self._taken.epoch, reached)
        return self._taken

    def fits(self, chunk: Chunk) -> bool:
        """Whether it can be put in without the policy acting; an empty mailbox takes what the budget allows."""
        budget, size = self._budget, chunk.size
        if budget.used and budget.used + size > budget.limit:
            return False
        return not self._chunks or self._bytes + size <= self.limit_bytes

    async def emptied(self) -> None:
        """Wait until the reader took something, here or from its other mailboxes, or the subscription ended."""
        if self._budget.used and self.ended is None:
            await self._budget.released()

    def put(self, chunk: Chunk) -> bool:
        """Queue a chunk by the policy; False when this ended the subscription.

        An empty mailbox takes a chunk of any size: its reader has kept up, and what came in one handing-out is bounded.
        """
        if self.ended is not None:
            return False
        if self.fits(chunk):
            self._append(chunk)
            return True
        return all(self._squeeze(alone(event)) for event in chunk.events)

    def _append(self, chunk: Chunk) -> None:
        size = chunk.size
        self._bytes += size
        self._budget.used += size
        if self._chunks:
            self._chunks.append(chunk)
        else:
            self._chunks = deque((chunk,))
            self._wake()

    def _squeeze(self, chunk: Chunk) -> bool:
        """Queue one event where there may be no room."""
        while not self.fits(chunk):
            if self.overflow is Overflow.DISCONNECT:
                self.end(EndReason.SLOW_CONSUMER)
                return False
            if not self._chunks:  # other mailboxes of the connection have used up its budget
                self._count_dropped(chunk)
                self._wake()
                return True
            self._drop_oldest()
        self._append(chunk)
        return True

    def take_chunk(self, max_bytes: int) -> Chunk | None:
        """The oldest events as one chunk, at least one, up to that many bytes of content; None if there is none."""
        waiting = self._chunks
        if len(waiting) == 1 and (only := waiting[0]).content_bytes <= max_bytes:
            self._chunks = IDLE
            self._bytes = 0
            if only.cursor is not None:
                self._taken = only.cursor
            self._budget.release(only.size)
            return only
        chunks: list[Chunk] = []
        left = max_bytes
        while self._chunks:
            chunk = self._chunks[0]
            if chunks and is_deep(chunk):
                break
            if chunk.content_bytes > left:
                parts = chunk.split(left) if not chunks else None
                if chunks:
                    break
                if parts is not None:
                    chunk, self._chunks[0] = parts
                else:
                    self._chunks.popleft()
                left = 0
            else:
                self._chunks.popleft()
                left -= chunk.content_bytes
            self._bytes -= chunk.size
            chunks.append(chunk)
            if chunk.cursor is not None:
                self._taken = chunk.cursor
            if left <= 0:
                break
        if not chunks:
            return None
        whole = joined(chunks)
        self._budget.release(whole.size)
        return whole

    def take(self, max_bytes: int) -> list[Event]:
        """The events of `take_chunk`."""
        chunk = self.take_chunk(max_bytes)
        return list(chunk.events) if chunk is not None else []

    def take_gap(self) -> tuple[int, Cursor | None]:
        """How many were dropped, and the place of the last durable one; the count begins anew."""
        gap = (self.dropped, self._dropped_to)
        self.dropped, self._dropped_to = 0, None
        return gap

    def end(self, reason: EndReason) -> None:
        """Let go of what waits; the reader is told the reason and goes on from `position`."""
        if self.ended is None:
            self._taken = self.position
            self.ended = reason
            self._chunks = IDLE
            self._budget.release(self._bytes)
            self._bytes = 0
            self._wake()

    @property
    def waiting_bytes(self) -> int:
        """Bytes of events that wait, each with its overhead."""
        return self._bytes

    @property
    def waiting_events(self) -> int:
        """Events that wait."""
        return sum(map(len, self._chunks))

    def events(self) -> Iterator[Event]:
        """Those that wait, in order; they stay."""
        for chunk in self._chunks:
            yield from chunk.events

    @property
    def head(self) -> Chunk | None:
        """What `take_chunk` begins with."""
        return self._chunks[0] if self._chunks else None

    @property
    def oldest(self) -> float:
        """When the oldest event that waits was published, Unix seconds; 0 if none waits."""
        return self._chunks[0].events[0].time if self._chunks else 0.0

    @property
    def has_news(self) -> bool:
        """Whether the reader has something to take or to be told."""
        return bool(self._chunks) or self.dropped > 0 or self.ended is not None

    def _drop_oldest(self) -> None:
        parts = self._chunks[0].split(0)
        if parts is None:
            first = self._chunks.popleft()
        else:
            first, self._chunks[0] = parts
        self._bytes -= first.size
        self._budget.release(first.size)
        self._count_dropped(first)

    def _count_dropped(self, event: Chunk) -> None:
        self.dropped += 1
        self.total_dropped += 1
        if event.cursor is not None:
            self._dropped_to = self._taken = event.cursor

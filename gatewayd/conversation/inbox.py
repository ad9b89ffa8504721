"""What is addressed to one client itself, and to none of its subscriptions: bounded in bytes, the oldest go first.

It outlives a connection that breaks: what waits, what was not sent as a whole, and what comes while the client is away,
is there for the next one.
"""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from heapq import merge

from gatewayd.core.chunk import Chunk, alone, joined
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.frames import Overflow
from gatewayd.core.idle import IDLE, queued
from gatewayd.core.queues import QueueReport, QueueState, state_of
from gatewayd.wire.nesting import is_deep


class Inbox:
    """One per client; `wake` is told when there is something to take, and was not before."""

    __slots__ = ("_chunks", "_dropped", "_dropped_to", "_sending", "_told", "bytes", "total_dropped", "wake")

    def __init__(self) -> None:
        self.wake: Callable[[], None] = _nobody
        self.bytes = 0
        """Of events that wait, each with its overhead."""
        self.total_dropped = 0
        self._chunks: deque[Chunk] = IDLE
        self._dropped = 0
        self._dropped_to: Cursor | None = None
        self._sending: tuple[Chunk, ...] = ()
        """What was taken and is not known to be sent."""
        self._told: tuple[int, Cursor | None] = (0, None)
        """The gap that is not known to be told."""

    def put(self, chunk: Chunk, limit: int) -> None:
        """Queue one event as a chunk that others may share; what finds no room within `limit` bytes is dropped.

        Into an empty one any event fits, unless the limit is 0.
        """
        was_empty = not self._chunks and not self._dropped
        while self._chunks and self.bytes + chunk.size > limit:
            self._drop(self._chunks.popleft())
        if limit:
            self._chunks = queued(self._chunks, chunk)
            self.bytes += chunk.size
        else:
            self.bytes += chunk.size
            self._drop(chunk)
        if was_empty:
            self.wake()

    def _drop(self, chunk: Chunk) -> None:
        self.bytes -= chunk.size
        self._dropped += len(chunk)
        self.total_dropped += len(chunk)
        self._dropped_to = chunk.cursor or self._dropped_to

    def take(self, max_bytes: int) -> Chunk | None:
        """The oldest events as one chunk, at least one, up to that many bytes of content; None if there is none."""
        taken: list[Chunk] = []
        while (chunk := self.head) is not None:
            if taken and (chunk.content_bytes > max_bytes or is_deep(chunk)):
                break
            self._chunks.popleft()
            self.bytes -= chunk.size
            max_bytes -= chunk.content_bytes
            taken.append(chunk)
        if not taken:
            return None
        whole = joined(taken)
        self._sending += (whole,)
        return whole

    def take_gap(self) -> tuple[int, Cursor | None]:
        """How many were dropped before the next one to take, and the place of the last durable one."""
        gap = (self._dropped, self._dropped_to)
        self._dropped, self._dropped_to = 0, None
        self._told = (self._told[0] + gap[0], gap[1] or self._told[1])
        return gap

    def sent(self) -> None:
        """What was taken has been handed to the transport."""
        if self._sending or self._told[0]:
            self._sending, self._told = (), (0, None)

    def recall(self, brought: Sequence[Iterable[Event]]) -> None:
        """The connection is over: what was not sent waits again, and with it what subscriptions have not `brought`.

        Each way keeps its order. Heartbeats told of that connection alone.
        """
        own = self.pending()
        self._dropped += self._told[0]
        self._dropped_to = self._dropped_to or self._told[1]
        waiting = {
            event.seq or -id(event): event
            for event in merge(own, *brought, key=_published)
            if event.type is not EventType.HEARTBEAT
        }
        self.sent()
        self._chunks = deque(alone(event) for event in waiting.values()) if waiting else IDLE
        self.bytes = sum(chunk.size for chunk in self._chunks)

    def miss(self, dropped: int) -> None:
        """Have so many events counted as dropped that were so before they came here."""
        self._dropped += dropped
        self.total_dropped += dropped
        self.wake()

    def pending(self) -> list[Event]:
        """All that is not known to be sent."""
        return [event for chunk in (*self._sending, *self._chunks) for event in chunk.events]

    def shrink(self, limit: int) -> None:
        """Drop the oldest until no more than so many bytes wait; a single event may be larger, unless that is 0."""
        while self.bytes > limit and (len(self._chunks) > 1 or (self._chunks and not limit)):
            self._drop(self._chunks.popleft())

    def forget(self, known: Callable[[Event], bool]) -> None:
        """Let go of the events that come to the client in another way."""
        if self._chunks:
            self._chunks = deque(chunk for chunk in self._chunks if not known(chunk.events[0]))
            self.bytes = sum(chunk.size for chunk in self._chunks)

    @property
    def dropped(self) -> int:
        """Events that were dropped before the next one to take."""
        return self._dropped

    @property
    def events(self) -> int:
        """Events that wait."""
        return len(self._chunks)

    @property
    def head(self) -> Chunk | None:
        """What `take` begins with."""
        return self._chunks[0] if self._chunks else None

    @property
    def oldest(self) -> float:
        """When the oldest that waits was published, Unix seconds; 0 if none waits."""
        return self._chunks[0].events[0].time if self._chunks else 0.0

    def report(self, limit: int, *, away: bool = False) -> QueueReport:
        """What an operator sees of it."""
        state = (
            QueueState.AWAY if away else state_of(ended=False, live=True, queued_bytes=self.bytes, limit_bytes=limit)
        )
        return QueueReport(
            "", state, Overflow.DROP_OLDEST, limit, self.bytes, self.events, self.oldest, 0, self.total_dropped
        )

    def __bool__(self) -> bool:
        """Whether there is something to take or to be told."""
        return bool(self._chunks) or self._dropped > 0


def _published(event: Event) -> float:
    return event.time


def _nobody() -> None:
    """The client is away."""

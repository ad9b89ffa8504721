"""What is addressed to one client itself, and to none of its subscriptions: bounded in bytes, the oldest go first.

It outlives a connection that breaks: what waits, and what comes while the client is away, is there for the next one.
"""

from collections import deque
from collections.abc import Callable

from gatewayd.core.chunk import Chunk, joined
from gatewayd.core.event import Cursor, Event
from gatewayd.core.frames import Overflow
from gatewayd.core.idle import IDLE, queued
from gatewayd.core.queues import QueueReport, QueueState, state_of
from gatewayd.wire.nesting import is_deep


class Inbox:
    """One per client; `wake` is told when there is something to take."""

    __slots__ = ("_chunks", "_dropped", "_dropped_to", "bytes", "total_dropped", "wake")

    def __init__(self) -> None:
        self.wake: Callable[[], None] = _nobody
        self.bytes = 0
        """Of events that wait, each with its overhead."""
        self.total_dropped = 0
        self._chunks: deque[Chunk] = IDLE
        self._dropped = 0
        self._dropped_to: Cursor | None = None

    def put(self, chunk: Chunk, limit: int) -> None:
        """Queue one event as a chunk that others may share; what finds no room within `limit` bytes is dropped.

        Into an empty one any event fits, unless the limit is 0.
        """
        while self._chunks and self.bytes + chunk.size > limit:
            self._drop(self._chunks.popleft())
        if limit:
            self._chunks = queued(self._chunks, chunk)
            self.bytes += chunk.size
        else:
            self.bytes += chunk.size
            self._drop(chunk)
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
        return joined(taken) if taken else None

    def take_gap(self) -> tuple[int, Cursor | None]:
        """How many were dropped before the next one to take, and the place of the last durable one."""
        gap = (self._dropped, self._dropped_to)
        self._dropped, self._dropped_to = 0, None
        return gap

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


def _nobody() -> None:
    """The client is away."""

"""What waits in memory for one client to take it, bounded in number and in bytes.

Messages that nobody has to acknowledge are dropped when there is no room, the oldest first, and counted. Those that are
to be acknowledged are never dropped here: without room they stay on disk, and the caller is told.
"""

import heapq
import itertools
from collections import deque
from collections.abc import Callable

from gatewayd.core.push import PresenceChange
from gatewayd.core.value import value

OVERHEAD = 128
"""Bytes that one waiting message costs beside its content."""


class Owed:
    """A delivery that is to be acknowledged, from its coming into memory to its end."""

    __slots__ = ("attempts", "deadline", "message_id", "recorded", "retries", "topic", "wire")

    def __init__(self, message_id: str, topic: str, wire: bytes, *, attempts: int, recorded: int, retries: int) -> None:
        self.message_id = message_id
        self.topic = topic
        self.wire = wire
        self.attempts = attempts
        """Deliveries that may have happened."""
        self.recorded = recorded
        """As many of them as are on disk."""
        self.retries = retries
        """Deliveries that were not acknowledged in time, or were refused."""
        self.deadline: float | None = None
        """Until when it is to be acknowledged, by the monotonic clock; None while it waits to be taken."""

    @property
    def size(self) -> int:
        return len(self.wire) + OVERHEAD


@value(frozen=True, slots=True)
class Bounds:
    """How much may wait."""

    count: int
    size: int
    """Bytes."""


@value(frozen=True, slots=True)
class Taken:
    """What a client is given."""

    messages: tuple["bytes | Owed", ...] = ()
    """As they came; bytes for those that nobody has to acknowledge."""
    changes: tuple[PresenceChange, ...] = ()
    dropped: int = 0

    def __bool__(self) -> bool:
        return bool(self.messages or self.changes or self.dropped)


class PushQueue:
    """Of one client. `bounds` is asked each time, so that a reload holds at once."""

    def __init__(self, bounds: Callable[[], Bounds]) -> None:
        self._bounds = bounds
        self._numbers = itertools.count()
        self._plain: deque[tuple[int, bytes]] = deque()
        self._owed: deque[tuple[int, Owed]] = deque()
        self._again: list[tuple[str, Owed]] = []
        self._plain_bytes = 0
        self._changes: dict[tuple[str, str, str], PresenceChange] = {}
        self._dropped = 0
        self.out: dict[str, Owed] = {}
        """All deliveries in memory that are not acknowledged, taken or not, by message."""
        self._out_bytes = 0

    # In

    @property
    def plain_bytes(self) -> int:
        """Bytes of messages that nobody has to acknowledge."""
        return self._plain_bytes

    def drop(self) -> None:
        """A message found no room elsewhere: it is counted here."""
        self._dropped += 1

    def put(self, wire: bytes) -> None:
        """A message that nobody has to acknowledge."""
        bounds = self._bounds()
        size = len(wire) + OVERHEAD
        while self._plain and not self._fits(size, bounds):
            self._drop()
        if self._fits(size, bounds) or not (self._plain or self.out):
            self._plain.append((next(self._numbers), wire))
            self._plain_bytes += size
        else:
            self._dropped += 1

    def has_room(self, size: int) -> bool:
        """Whether a delivery of so many bytes may come into memory; one alone always may."""
        bounds = self._bounds()
        return not self.out or (len(self.out) < bounds.count and self._out_bytes + size + OVERHEAD <= bounds.size)

    @property
    def room(self) -> int:
        """Deliveries that may come into memory, by number."""
        return max(0, self._bounds().count - len(self.out))

    def owe(self, owed: Owed) -> None:
        """A delivery to be acknowledged; `has_room` was asked."""
        self.out[owed.message_id] = owed
        self._out_bytes += owed.size
        self._owed.append((next(self._numbers), owed))
        bounds = self._bounds()
        while self._plain and not self._fits(0, bounds):
            self._drop()

    def again(self, owed: Owed) -> None:
        """One that was taken is to come again, before everything else, oldest first."""
        owed.deadline = None
        heapq.heappush(self._again, (owed.message_id, owed))

    def change(self, change: PresenceChange) -> None:
        """Who came or went; of one client on one topic only the last is kept."""
        key = (change.topic, change.principal, change.client_id)
        self._changes.pop(key, None)
        self._changes[key] = change
        if len(self._changes) > self._bounds().count:
            del self._changes[next(iter(self._changes))]

    # Out

    def take(self, count: int, max_bytes: int, *, alone: bool = True) -> Taken:
        """The oldest messages up to these bounds, and everything else that waits. `alone`: at least one of any size."""
        order: list[bytes | Owed] = []
        taken = 0
        while len(order) < count:
            item = self._next(None if alone and not order else max_bytes - taken)
            if item is None:
                break
            taken += len(item) if isinstance(item, bytes) else len(item.wire)
            order.append(item)
        changes, self._changes = tuple(self._changes.values()), {}
        dropped, self._dropped = self._dropped, 0
        return Taken(tuple(order), changes, dropped)

    def _next(self, room: int | None) -> "bytes | Owed | None":
        """The oldest, if it fits into so many bytes; None stands for any size, and for nothing there."""
        while self._again and self._gone(self._again[0][1]):
            heapq.heappop(self._again)
        while self._owed and self._gone(self._owed[0][1]):
            self._owed.popleft()
        if self._again:
            owed = self._again[0][1]
            return heapq.heappop(self._again)[1] if room is None or len(owed.wire) <= room else None
        if self._owed and (not self._plain or self._owed[0][0] < self._plain[0][0]):
            owed = self._owed[0][1]
            return self._owed.popleft()[1] if room is None or len(owed.wire) <= room else None
        if self._plain and (room is None or len(self._plain[0][1]) <= room):
            wire = self._plain.popleft()[1]
            self._plain_bytes -= len(wire) + OVERHEAD
            return wire
        return None

    def settle(self, message_id: str) -> Owed | None:
        """It is owed no more; the delivery if it was in memory."""
        owed = self.out.pop(message_id, None)
        if owed is not None:
            self._out_bytes -= owed.size
        return owed

    def forget_owed(self) -> None:
        """All of it is on disk and will be read from there."""
        self.out.clear()
        self._owed.clear()
        self._again.clear()
        self._out_bytes = 0

    def forget_plain(self) -> None:
        """Nobody comes back for it."""
        self._plain.clear()
        self._changes.clear()
        self._plain_bytes = 0
        self._dropped = 0

    @property
    def has_news(self) -> bool:
        """Whether there is something to take."""
        return bool(self._plain or self._owed or self._again or self._changes or self._dropped)

    def __len__(self) -> int:
        return len(self._plain) + len(self.out)

    def _gone(self, owed: Owed) -> bool:
        return self.out.get(owed.message_id) is not owed or owed.deadline is not None

    def _fits(self, size: int, bounds: Bounds) -> bool:
        held = len(self) + (1 if size else 0)
        return held <= bounds.count and self._plain_bytes + self._out_bytes + size <= bounds.size

    def _drop(self) -> None:
        self._plain_bytes -= len(self._plain.popleft()[1]) + OVERHEAD
        self._dropped += 1

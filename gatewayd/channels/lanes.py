"""What waits to be sent through one channel, in memory: one lane per chat, each in order, the others not held up.

Owned by the outbox; synchronous; knows nothing of adapters or the store.
"""

import heapq
from collections import deque

from gatewayd.core.value import record
from gatewayd.storage.records import OutboxRow


@record(slots=True)
class Piece:
    """One row with what this process knows of it."""

    row: OutboxRow
    """As it was when it was loaded or offered; how far it has come since is in the store."""
    tries: int = 0
    """Failed ones, since it was loaded or retried by an operator."""
    failing_since: float | None = None
    """Monotonic time of the first failed try."""


class Lanes:
    """Pieces by chat. A chat without pieces takes no memory; one whose head is out is in none of the queues."""

    def __init__(self) -> None:
        self._lanes: dict[str, deque[Piece]] = {}
        self._ready: deque[str] = deque()
        self._delayed: list[tuple[float, str]] = []
        self._ids: set[str] = set()

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, row_id: str) -> bool:
        return row_id in self._ids

    def add(self, piece: Piece) -> None:
        """At the end of its chat's lane."""
        chat = piece.row.chat
        lane = self._lanes.setdefault(chat, deque())
        lane.append(piece)
        self._ids.add(piece.row.id)
        if len(lane) == 1:
            self._ready.append(chat)

    def take(self, now: float, limit: int) -> list[Piece]:
        """The heads of up to `limit` chats that may go; nothing else of a chat goes until `free` or `put_back`."""
        while self._delayed and self._delayed[0][0] <= now:
            self._ready.append(heapq.heappop(self._delayed)[1])
        count = min(limit, len(self._ready))
        return [self._lanes[self._ready.popleft()][0] for _ in range(count)]

    def free(self, piece: Piece) -> None:
        """The head is dealt with: it leaves, and its chat goes on."""
        chat = piece.row.chat
        lane = self._lanes[chat]
        lane.popleft()
        self._ids.discard(piece.row.id)
        if lane:
            self._ready.append(chat)
        else:
            del self._lanes[chat]

    def put_back(self, piece: Piece, due: float) -> None:
        """The head stays the head and is tried again at `due` (monotonic; 0: at once)."""
        if due:
            heapq.heappush(self._delayed, (due, piece.row.chat))
        else:
            self._ready.append(piece.row.chat)

    def drop_later(self, piece: Piece) -> None:
        """Forget the later pieces of the same text: the store has given them up with this one."""
        lane = self._lanes[piece.row.chat]
        doomed = {each.row.id for each in lane if each is not piece and each.row.whole == piece.row.whole}
        if doomed:
            self._lanes[piece.row.chat] = deque(each for each in lane if each.row.id not in doomed)
            self._ids -= doomed

    @property
    def next_due(self) -> float | None:
        """Monotonic time at which a delayed chat may go; None when none is delayed."""
        return self._delayed[0][0] if self._delayed else None

    @property
    def has_ready(self) -> bool:
        """Whether `take` may find something without time passing."""
        return bool(self._ready)

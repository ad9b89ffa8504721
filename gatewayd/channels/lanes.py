"""What waits to be sent through one channel, in memory: one lane per chat, each in order, the others not held up.

Owned by the outbox; synchronous; knows nothing of adapters or the store.
"""

import heapq
from collections import deque
from dataclasses import dataclass, field

from gatewayd.storage.records import OutboxRow


@dataclass(slots=True)
class Piece:
    """One row with what this process knows of it."""

    row: OutboxRow
    tries: int = 0
    """Failed ones, since it was loaded or retried by an operator."""
    failing_since: float | None = None
    """Monotonic time of the first failed try."""


@dataclass(slots=True)
class _Lane:
    pieces: deque[Piece] = field(default_factory=deque)
    busy: bool = False
    """Its head is out: nothing else of this chat goes until `free`."""
    due: float = 0.0
    """Monotonic time before which the head is not tried."""


class Lanes:
    """Pieces by chat. A chat without pieces takes no memory."""

    def __init__(self) -> None:
        self._lanes: dict[str, _Lane] = {}
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
        lane = self._lanes.setdefault(chat, _Lane())
        lane.pieces.append(piece)
        self._ids.add(piece.row.id)
        if len(lane.pieces) == 1 and not lane.busy:
            self._ready.append(chat)

    def take(self, now: float, limit: int) -> list[Piece]:
        """The heads of up to `limit` chats that may go; each chat is busy until `free` or `put_back`."""
        while self._delayed and self._delayed[0][0] <= now:
            self._ready.append(heapq.heappop(self._delayed)[1])
        taken: list[Piece] = []
        while self._ready and len(taken) < limit:
            chat = self._ready.popleft()
            lane = self._lanes.get(chat)
            if lane is None or lane.busy or not lane.pieces or lane.due > now:
                continue
            lane.busy = True
            taken.append(lane.pieces[0])
        return taken

    def free(self, piece: Piece) -> None:
        """The head is dealt with: it leaves, and its chat goes on."""
        lane = self._lanes[piece.row.chat]
        lane.pieces.popleft()
        self._ids.discard(piece.row.id)
        self._open(piece.row.chat, lane, 0.0)

    def put_back(self, piece: Piece, due: float) -> None:
        """The head stays the head and is tried again at `due` (monotonic; 0: at once)."""
        self._open(piece.row.chat, self._lanes[piece.row.chat], due)

    def drop_later(self, piece: Piece) -> None:
        """Forget the later pieces of the same message: the store has given them up with this one."""
        lane = self._lanes[piece.row.chat]
        doomed = {
            each.row.id for each in lane.pieces if each is not piece and each.row.message_id == piece.row.message_id
        }
        if doomed:
            lane.pieces = deque(each for each in lane.pieces if each.row.id not in doomed)
            self._ids -= doomed

    @property
    def next_due(self) -> float | None:
        """Monotonic time at which a delayed chat may go; None when none is delayed."""
        return self._delayed[0][0] if self._delayed else None

    @property
    def has_ready(self) -> bool:
        """Whether `take` may find something without time passing."""
        return bool(self._ready)

    def _open(self, chat: str, lane: _Lane, due: float) -> None:
        lane.busy, lane.due = False, due
        if not lane.pieces:
            del self._lanes[chat]
        elif due:
            heapq.heappush(self._delayed, (due, chat))
        else:
            self._ready.append(chat)

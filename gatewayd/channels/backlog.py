"""What waits for one channel: so much of it in memory, the rest in the store until there is room.

Rows are read page by page, in order of id, from a cursor. What is offered after its commit is taken into memory at
once while everything older is there already; else the pages bring it. Ids grow with time, but two units may be
committed in another order than their ids were made: what the pages have passed by is taken in when it is offered.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from gatewayd.channels.lanes import Lanes, Piece
from gatewayd.storage.base import Store
from gatewayd.storage.records import OutboxRow

MAX_ROWS: Final = 2000
"""Rows of one channel in memory."""
_GIVEN_UP_KEPT: Final = 1000


class Backlog:
    """Lanes, filled from offers and from the store. `admit` decides about each row that a page brings."""

    def __init__(
        self, channel: str, store: Store, admit: Callable[[OutboxRow], bool], *, max_rows: int = MAX_ROWS
    ) -> None:
        self.lanes = Lanes()
        self._channel = channel
        self._store = store
        self._admit = admit
        self._max_rows = max_rows
        self._cursor = ""
        self._more = True
        """Whether the store may hold rows behind the cursor."""
        self._loading: list[OutboxRow] | None = None
        """What is offered while a page is read: the page may or may not have it."""
        self._left = 0
        self._given_up: OrderedDict[tuple[str, str], None] = OrderedDict()

    @property
    def wants_page(self) -> bool:
        """Whether there is more to load, and room for it."""
        return self._more and len(self.lanes) <= self._max_rows // 2

    @property
    def exhausted(self) -> bool:
        """Whether neither memory nor store hold anything."""
        return not self._more and not self.lanes

    @property
    def size(self) -> int:
        """Rows that are known to wait; the store may hold more from before the start."""
        return len(self.lanes) + self._left

    def offer(self, rows: Sequence[OutboxRow]) -> None:
        """Rows that were just committed, in order."""
        if self._loading is not None:
            self._loading.extend(rows)
            return
        for row in rows:
            if self._more and row.id > self._cursor:
                self._left += 1
            elif len(self.lanes) >= self._max_rows and row.id > self._cursor:
                self._more = True
                self._left += 1
            else:
                self._take_in(row)

    async def load(self) -> None:
        """Read one page. Raises `GatewayError` when the store cannot be read now; nothing is lost by that."""
        room = max(1, self._max_rows - len(self.lanes))
        self._loading = []
        rows: list[OutboxRow] | None = None
        try:
            rows = await self._store.pending_outbox(self._channel, after=self._cursor, limit=room)
        finally:
            meanwhile, self._loading = self._loading, None
            if rows is None:
                self.offer(meanwhile)
        for row in rows:
            self._cursor = max(self._cursor, row.id)
            if row.whole not in self._given_up and row.id not in self.lanes and self._admit(row):
                self.lanes.add(Piece(row))
        self._more = len(rows) >= room
        self._left = max(0, self._left - len(rows)) if self._more else 0
        self.offer([row for row in meanwhile if row.id not in self.lanes])

    async def retry(self, row: OutboxRow) -> None:
        """An operator's retry of a row; the later pieces of its text, queued again with it, are found behind it."""
        self._given_up.pop(row.whole, None)
        behind = await self._store.pending_outbox(self._channel, after=row.id, limit=self._max_rows)
        self.offer([row, *(each for each in behind if each.whole == row.whole)])

    def give_up(self, piece: Piece) -> None:
        """The later pieces of its text go with it, also those that a page is bringing just now."""
        self.lanes.drop_later(piece)
        self.note_given_up(piece.row)

    def note_given_up(self, row: OutboxRow) -> None:
        """Take in no more pieces of its text."""
        self._given_up[row.whole] = None
        if len(self._given_up) > _GIVEN_UP_KEPT:
            self._given_up.popitem(last=False)

    def _take_in(self, row: OutboxRow) -> None:
        self._cursor = max(self._cursor, row.id)
        if row.id not in self.lanes:
            self.lanes.add(Piece(row))

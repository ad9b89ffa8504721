"""Answers that nobody will send, and stories that nothing will end: they are told of, and in the end they expire.

A channel that left the configuration may come back, so what waits for it is kept, for as long as retention keeps what
was sent. Then it becomes a dead letter, from where an operator may still have it sent.
"""

import logging
from collections.abc import Callable, Collection, Mapping

from gatewayd.core.clock import Clock
from gatewayd.core.ids import IdSource
from gatewayd.core.work import LedgerState
from gatewayd.storage.base import Store
from gatewayd.storage.records import DeadLetter, DeadLetterKind, LedgerChange, OutboxRow, OutboxState, Step

log = logging.getLogger("gatewayd.upkeep")

_LOOKED_AT = 10_000
"""Waiting pieces that one count goes over."""
_BITE = 500
"""Pieces, and stories, that expire at most in one go; the rest do in the next."""
_STORIES_EVERY = 3600.0
"""Seconds between two looks for stories that nothing will end: such a look goes through the whole ledger."""


class Expiry:
    """`senders` names the channels that have somebody who sends: theirs is live work, and never touched."""

    def __init__(self, store: Store, *, senders: Callable[[], Collection[str]], ids: IdSource, clock: Clock) -> None:
        self._store = store
        self._senders = senders
        self._ids = ids
        self._clock = clock
        self._stories_due = 0.0
        self.waiting: Mapping[str, int] = {}
        """Answers by channel that nobody sends now, as of the last `look`."""

    async def look(self) -> None:
        """Count what waits; one bounded read."""
        self.waiting = await self._store.waiting_answers(besides=self._senders(), limit=_LOOKED_AT)

    async def expire(self, max_age: float) -> int:
        """End what is older than so many seconds (0: never); how many stories."""
        if not max_age:
            return 0
        now = self._clock.now()
        before = now - max_age
        rows = await self._store.overdue_pieces(before, besides=self._senders(), limit=_BITE)
        first = {row.message_id: row for row in reversed(rows)}
        for row in first.values():
            await self._expire_piece(row, now)
        stories = 0
        if now >= self._stories_due:
            stories = await self._expire_stories(before, now)
        if first or stories:
            log.warning("expired", extra={"answers": len(first), "stories": stories})
        return len(first) + stories

    async def _expire_piece(self, row: OutboxRow, now: float) -> None:
        """One letter for a message: the pieces behind this one go with it."""
        why = f"its answer waited too long for channel {row.channel}"
        if row.state is OutboxState.SENDING:
            why += ", which may have sent it"
        letter = DeadLetter(
            self._ids.new(), DeadLetterKind.OUTBOUND, row.message_id, row.id, row.channel, "expired", now
        )
        await self._store.mark_dead(row.id, letter, _end(row.message_id, why, now))

    async def _expire_stories(self, before: float, now: float) -> int:
        """There is nothing that could be tried again, so these leave no letter."""
        stories = await self._store.overdue_stories(before, _BITE)
        for story in stories:
            await self._store.end_story(_end(story.message_id, "nothing was left that could have ended it", now))
        if len(stories) < _BITE:
            self._stories_due = now + _STORIES_EVERY
        return len(stories)


def _end(message_id: str, why: str, now: float) -> LedgerChange:
    return LedgerChange(message_id, LedgerState.EXPIRED, Step("expired", now, why))

"""What the doors read of the store: lists ordered and joined for people.

Part of the store's contract (`base.Store` derives from it); every read here is bounded and sees only what is committed.
"""

from collections.abc import Collection, Sequence
from typing import Protocol

from gatewayd.core.value import value
from gatewayd.storage.records import DeadLetter, HistoryEntry, LedgerRecord, OutboxRow, SessionRecord, Step


@value(frozen=True, slots=True)
class HistoryLine:
    """One line of a session's history and where it stands."""

    place: int
    """From 1, growing; never given twice within a session."""
    entry: HistoryEntry
    message_id: str
    """The message that the line is, or answers; '' when its execution is not kept."""


@value(frozen=True, slots=True)
class OpenLetter:
    """A dead letter together with what it is about."""

    letter: DeadLetter
    chat: str
    text: str
    """What was to be sent, or for an inbound letter what was asked; '' once it is no longer kept."""
    attempts: int


class Views(Protocol):
    """See the module's docstring."""

    async def recent_sessions(
        self, *, principal: str, agent: str, channel: str, before: tuple[float, str] | None, limit: int
    ) -> list[SessionRecord]:
        """Sessions that are not ended, the last active one first; empty arguments are no filter.

        `before` is (last_active, id) of the last one seen.
        """
        ...

    async def history_lines(self, session_id: str, *, after: int, newest: bool, limit: int) -> list[HistoryLine]:
        """Lines with place > `after`, oldest first: the first `limit` of them, or with `newest` the last."""
        ...

    async def pieces(self, message_id: str, limit: int) -> list[OutboxRow]:
        """The pieces of the answer to a message, in order."""
        ...

    async def open_letters(self, *, channel: str, after: str, limit: int) -> list[OpenLetter]:
        """Dead letters that nobody has retried, oldest first; '' is every channel; `after` is an id to go on from."""
        ...

    async def count_letters(self) -> dict[str, int]:
        """Dead letters that nobody has retried, by channel."""
        ...

    async def message_on(self, channel: str, platform_id: str) -> str:
        """The newest message that the channel's platform calls so, or that a piece called so answers; '' if none."""
        ...

    async def waiting_answers(self, *, besides: Collection[str], limit: int) -> dict[str, int]:
        """Messages whose answer waits to be sent, by channel, without those channels; `limit` pieces are looked at."""
        ...

    async def overdue_pieces(self, before: float, *, besides: Collection[str], limit: int) -> list[OutboxRow]:
        """Pieces made before that time that are not sent yet, oldest first, without those of the channels named."""
        ...

    async def overdue_stories(self, before: float, limit: int) -> list[LedgerRecord]:
        """Open stories untouched since before that time that nothing will end: no execution lives, no piece waits.

        Oldest first, without steps. It looks through the whole ledger: not for every minute.
        """
        ...

    async def last_steps(self, message_ids: Sequence[str]) -> dict[str, Step]:
        """The last step of each story that is kept."""
        ...

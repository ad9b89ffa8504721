"""The store's contract: intents that span tables, each a closed unit.

**Units.** A writing method submits its unit *when it is called* and returns an awaitable that resolves once the unit
is on disk (after fsync, together with others: group commit). Units take effect in the order of the calls. One that
raises is rolled back alone and does not sink its group. No transaction stays open across an `await`. A caller that
does not need to wait may drop the awaitable; the store then logs a failure itself.

**Events.** Durable events are written only here. A unit's events get consecutive `seq` numbers in commit order. The
store tells its `EventSink` on the event loop: `expected` when a unit with events is submitted, then for each of them
exactly one of `committed` (in commit order, before the caller's awaitable resolves) or `abandoned`.

**Failure.** A full queue or a file locked by another process is `StoreBusy`; no space is `StoreFull` (reads work, it
heals by itself); a failed fsync or a vanished directory is `StoreFailed`, from then on for every call, and `on_failed`
is called once; damage is `StoreCorrupt`. Nothing is ever reported as written that is not.

**Reading.** Reads run beside the writer on committed data and never wait for it. Every list is bounded by `limit`.
"""

from asyncio import Future
from collections.abc import Awaitable, Sequence
from typing import Protocol

from gatewayd.core.event import Event
from gatewayd.core.filter import EventFilter
from gatewayd.core.work import Execution, ExecutionState, LedgerState
from gatewayd.storage.agent_states import AgentStateTable
from gatewayd.storage.checkpoints import CheckpointTables
from gatewayd.storage.entry_points import EntryPointTables
from gatewayd.storage.push import PushTables
from gatewayd.storage.records import (
    Acceptance,
    Accepted,
    AuditRecord,
    DeadLetter,
    EventPage,
    Finish,
    HistoryEntry,
    LedgerChange,
    LedgerRecord,
    LogState,
    OutboxRow,
    Published,
    Ran,
    SessionRecord,
    StoreHealth,
)
from gatewayd.storage.retention import Retention
from gatewayd.storage.state import StateTables
from gatewayd.storage.views import Views

__all__ = [
    "EventSink",
    "Store",
]


class EventSink(Protocol):
    """Who hears of durable events; the bus. All calls come on the event loop."""

    def expected(self, stream_ids: Sequence[str]) -> None:
        """A unit with events of these streams (one entry per event) was submitted."""
        ...

    def committed(self, events: Sequence[Event]) -> None:
        """These events, stamped, are on disk. One call may bring those of several units, in commit order."""
        ...

    def abandoned(self, stream_ids: Sequence[str]) -> None:
        """Events (one entry each) that will not come: their unit failed, or they were in the log before."""
        ...

    def erased(self) -> None:
        """The content of events that were committed before is gone for good: keep nothing of it."""
        ...


class Store(Views, PushTables, StateTables, EntryPointTables, CheckpointTables, AgentStateTable, Protocol):
    """All that gatewayd keeps. See the module's docstring for what holds for every method."""

    async def open(self) -> None:
        """Lock, check integrity, migrate. Raises `StoreCorrupt`, `StoreFailed` or `OSError`."""
        ...

    async def close(self) -> None:
        """Write what was submitted, then release the file."""
        ...

    @property
    def health(self) -> StoreHealth: ...

    @property
    def log(self) -> LogState:
        """The committed ends of the event log, from memory."""
        ...

    # Events

    def append(self, published: Sequence[Published], *, scope: str) -> Future[list[Event]]:
        """Append a publisher's batch, all or nothing, and return the stamped events.

        An event whose id was seen in `scope` (the principal) with the same digest is not written again: the first
        one's place is returned. With another digest the batch fails with `IdConflict`. `LimitExceeded` where it tells
        of more tool calls of one execution than may be open.
        """
        ...

    def note(self, event: Event) -> None:
        """Append an event that nobody waits for: in its order, on disk with whatever is written next or soon after.

        A failure goes to the store's log.
        """
        ...

    async def read_forward(self, after: int, selection: EventFilter, limit: int) -> EventPage:
        """Events with seq > `after`, oldest first."""
        ...

    async def read_backward(self, before: int, selection: EventFilter, limit: int) -> EventPage:
        """Events with seq < `before` (0: from the end), newest first."""
        ...

    # Work

    def accept(self, acceptance: Acceptance) -> Future[Accepted]:
        """Take in one message: seen id, journal, ledger, session, execution, events.

        A future, so that whoever waits can be cut off and the work that depends on it still goes on.
        """
        ...

    def start(self, execution_id: str, started: float, events: Sequence[Event], trace: str = "") -> Awaitable[None]:
        """QUEUED → RUNNING and one more attempt; `started` is kept from the first start.

        `trace` is what its next run is a part of; '' leaves that as it is.
        """
        ...

    def requeue(self, execution_id: str, reason: str, events: Sequence[Event]) -> Awaitable[None]:
        """RUNNING → QUEUED, for an execution that a crash or a drain cut off; its calls of tools count as not begun."""
        ...

    def finish(self, finish: Finish) -> Awaitable[Ran]:
        """End an execution; `ExecutionFinished` if it has ended already, and then nothing is written."""
        ...

    async def unfinished(self) -> list[Execution]:
        """Executions that are not in a terminal state, oldest first; read once at start."""
        ...

    async def get_execution(self, execution_id: str) -> Execution | None: ...

    async def list_executions(
        self, *, states: Sequence[ExecutionState], session_id: str, agent: str, before: str, limit: int
    ) -> list[Execution]:
        """Newest first; empty arguments are no filter; `before` is an id to go on from."""
        ...

    # Sessions

    async def active_session(self, key: str) -> SessionRecord | None: ...

    async def get_session(self, session_id: str) -> SessionRecord | None: ...

    async def list_sessions(
        self, *, principal: str, agent: str, channel: str, include_ended: bool, before: str, limit: int
    ) -> list[SessionRecord]:
        """Newest first; empty arguments are no filter."""
        ...

    async def count_active_sessions(self) -> dict[str, int]:
        """Sessions that are not ended, by agent."""
        ...

    async def idle_sessions(self, idle_since: float, limit: int) -> list[SessionRecord]:
        """Not ended, last active before that time, and without an unfinished execution."""
        ...

    async def history(self, session_id: str, max_messages: int, max_bytes: int) -> list[HistoryEntry]:
        """The newest entries that fit both bounds (0 = none of that kind), oldest first."""
        ...

    def end_session(self, session_id: str, reason: str, time: float, events: Sequence[Event]) -> Awaitable[bool]:
        """Whether it was there and not ended. Its history stays until retention or erasure."""
        ...

    def erase_session(self, session_id: str) -> Awaitable[bool]:
        """Delete a session's history and the texts of its messages, answers and events; ids and states stay."""
        ...

    # Outbox

    async def pending_outbox(self, channel: str, *, after: str = "", limit: int = 1000) -> list[OutboxRow]:
        """Rows QUEUED or SENDING with id > `after`, in order of id, at most `limit`.

        Read when a channel's sender starts, and page by page while more is waiting than it holds in memory.
        """
        ...

    def mark_sending(self, row_ids: Sequence[str]) -> Awaitable[None]:
        """→ SENDING and one more attempt; must be on disk before the platform is called."""
        ...

    def mark_sent(self, row_id: str, platform_id: str, time: float) -> Awaitable[None]:
        """→ SENT; with a message's last piece its story gets the outcome that `finish` gave."""
        ...

    def mark_retry(self, row_id: str, next_time: float, reason: str) -> Awaitable[None]:
        """SENDING → QUEUED: the platform certainly did not take it."""
        ...

    def mark_dead(self, row_id: str, letter: DeadLetter, step: LedgerChange) -> Awaitable[None]:
        """→ DEAD, and all later pieces of the same text with it; a dead letter, and the end of the story."""
        ...

    # Ledger and dead letters

    def end_story(self, end: LedgerChange) -> Awaitable[None]:
        """The end of a story that nothing else will end; one that has its end keeps it."""
        ...

    async def story(self, reference: str) -> LedgerRecord | None:
        """By message id, execution id, outbox row id or platform id."""
        ...

    async def list_messages(
        self, *, states: Sequence[LedgerState], channel: str, session_id: str, before: str, limit: int
    ) -> list[LedgerRecord]:
        """Newest first, without steps."""
        ...

    async def list_dead_letters(self, *, channel: str, before: str, limit: int) -> list[DeadLetter]:
        """Newest first, those not yet retried."""
        ...

    def retry_dead_letter(self, letter_id: str, time: float, actor: str) -> Awaitable[OutboxRow | Execution]:
        """Queue it again (its message's later dead pieces with it) and reopen the story; `NotFound` if there is none.

        Returns the first row to send, or the execution to run.
        """
        ...

    # Access

    def record_audit(self, record: AuditRecord) -> Awaitable[None]: ...

    async def list_audit(self, *, limit: int) -> list[AuditRecord]: ...

    def revoke_token(self, token_sha256: str, time: float) -> Awaitable[None]: ...

    async def revoked_tokens(self) -> frozenset[str]: ...

    # Upkeep

    def sweep(self, retention: Retention, now: float) -> Awaitable[dict[str, int]]:
        """Delete what retention allows, in bounded bites; never unfinished work, unsent rows or open stories.

        Returns deleted rows by table. Called every minute.
        """
        ...

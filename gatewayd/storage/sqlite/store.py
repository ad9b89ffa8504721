"""SQLite as the store: everything in one file, one writer, no server. The contract is `storage.base.Store`."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from gatewayd.core.clock import Clock
from gatewayd.core.errors import GatewayError, StoreFailed
from gatewayd.core.event import Event
from gatewayd.core.failpoints import NO_FAILPOINTS, Failpoints
from gatewayd.core.filter import EventFilter
from gatewayd.core.ids import IdSource
from gatewayd.core.work import Execution, ExecutionState, LedgerState
from gatewayd.storage.base import EventSink
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
from gatewayd.storage.sqlite import access, erasure, events, executions, ledger, letters, outbox, sessions, upkeep, work
from gatewayd.storage.sqlite.agent_states import SQLiteAgentStates
from gatewayd.storage.sqlite.checkpoint_store import SQLiteCheckpoints
from gatewayd.storage.sqlite.entry_points import SQLiteEntryPoints
from gatewayd.storage.sqlite.file import DatabaseFile, check_structure
from gatewayd.storage.sqlite.push_store import SQLitePush
from gatewayd.storage.sqlite.reader import Reader
from gatewayd.storage.sqlite.schema import Connect
from gatewayd.storage.sqlite.state_store import SQLiteState
from gatewayd.storage.sqlite.tx import Tx
from gatewayd.storage.sqlite.unit import Receipt
from gatewayd.storage.sqlite.views import SQLiteViews
from gatewayd.storage.sqlite.writer import Writer


class SQLiteStore(SQLiteViews, SQLitePush, SQLiteState, SQLiteEntryPoints, SQLiteCheckpoints, SQLiteAgentStates):
    """See `gatewayd.storage.base.Store`; the file is mode 0600 and its directory is made with 0700."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Clock,
        ids: IdSource,
        sink: EventSink,
        encode: Callable[[Event], bytes],
        decode: Callable[[bytes], Event],
        on_failed: Callable[[StoreFailed], None],
        durability: Literal["full", "relaxed"] = "full",
        failpoints: Failpoints = NO_FAILPOINTS,
        queue_limit: int = 10_000,
        queue_bytes: int = 64 << 20,
        busy_timeout: float = 5.0,
        connect: Connect = sqlite3.connect,
    ) -> None:
        """`busy_timeout` in seconds; `connect` makes the writing connection (a test passes one that fails)."""
        self._clock = clock
        self._ids = ids
        self._events = events.EventReader(decode)
        self._encode = encode
        self._file = DatabaseFile(path, connect=connect, relaxed=durability == "relaxed", busy_timeout=busy_timeout)
        self._reader = Reader(self._file, lambda: self._writer.failure)
        self._writer = Writer(
            self._file,
            sink=sink,
            encode=encode,
            failpoints=failpoints,
            on_failed=on_failed,
            queue_limit=queue_limit,
            queue_bytes=queue_bytes,
        )
        self._connection: sqlite3.Connection | None = None
        self._epoch = ""
        self._check: asyncio.Task[None] | None = None

    async def open(self) -> None:
        connection, books, first_seq = await asyncio.to_thread(self._file.open, self._ids.new())
        self._connection, self._epoch = connection, books.epoch
        self._reader.start()
        await self._writer.start(connection, books, first_seq)
        if self._file.large:
            self._check = asyncio.create_task(self._check_in_background(), name="store-check")

    async def close(self) -> None:
        await self._writer.stop()
        await self._reader.stop()
        if self._check is not None:
            await self._check
        if self._connection is not None:
            connection, self._connection = self._connection, None
            clean = self._writer.failure is None
            await asyncio.to_thread(self._file.close, connection, clean=clean)

    async def _check_in_background(self) -> None:
        try:
            await self._reader.run(check_structure, self._file.path)
        except GatewayError as error:
            if self._writer.health is not StoreHealth.CLOSED:
                self._writer.fail(StoreFailed(error.message))

    @property
    def health(self) -> StoreHealth:
        return self._writer.health

    @property
    def log(self) -> LogState:
        return LogState(self._epoch, self._writer.first_seq, self._writer.last_seq)

    # Events

    def append(self, published: Sequence[Published], *, scope: str) -> Receipt[list[Event]]:
        key = events.scope_key(scope)
        return self._writer.submit(
            partial(events.append, published=published, scope=scope, now=self._clock.now()),
            streams=[item.event.stream_id for item in published],
            keys=[(key, item.event.id) for item in published if item.digest],
            size=sum(len(item.event.wire) for item in published),
        )

    def note(self, event: Event) -> None:
        self._writer.note(event)

    async def read_forward(self, after: int, selection: EventFilter, limit: int) -> EventPage:
        return await self._reader.run(self._events.forward, self.log, after, selection, limit)

    async def read_backward(self, before: int, selection: EventFilter, limit: int) -> EventPage:
        return await self._reader.run(self._events.backward, self.log, before, selection, limit)

    # Work

    def accept(self, acceptance: Acceptance) -> Receipt[Accepted]:
        return self._writer.submit(
            partial(work.accept, acceptance=acceptance),
            streams=_streams(acceptance.events),
            keys=(work.seen_key(acceptance),) if acceptance.dedupe_id else (),
            size=work.weight(acceptance),
        )

    def start(self, execution_id: str, started: float, events: Sequence[Event], trace: str = "") -> Receipt[None]:
        apply = partial(executions.start, execution_id=execution_id, started=started, trace=trace)
        return self._with_events(apply, events, patient=True)

    def finish(self, finish: Finish) -> Receipt[Ran]:
        return self._writer.submit(
            partial(work.finish, end=finish),
            streams=_streams(finish.events),
            size=3 * len(finish.output) + _size(finish.events),
        )

    async def unfinished(self) -> list[Execution]:
        return await self._reader.run(executions.unfinished)

    async def get_execution(self, execution_id: str) -> Execution | None:
        return await self._reader.run(executions.get, execution_id)

    async def list_executions(
        self, *, states: Sequence[ExecutionState], session_id: str, agent: str, before: str, limit: int
    ) -> list[Execution]:
        return await self._reader.run(
            executions.list_all, states=states, session_id=session_id, agent=agent, before=before, limit=limit
        )

    # Sessions

    async def active_session(self, key: str) -> SessionRecord | None:
        return await self._reader.run(sessions.get, "key = ? AND ended = 0", key)

    async def get_session(self, session_id: str) -> SessionRecord | None:
        return await self._reader.run(sessions.get, "id = ?", session_id)

    async def list_sessions(
        self, *, principal: str, agent: str, channel: str, include_ended: bool, before: str, limit: int
    ) -> list[SessionRecord]:
        owners = {"principal": principal, "agent": agent, "channel": channel}
        return await self._reader.run(
            sessions.list_all, owners, include_ended=include_ended, before=before, limit=limit
        )

    async def count_active_sessions(self) -> dict[str, int]:
        return await self._reader.run(sessions.count_active)

    async def idle_sessions(self, idle_since: float, limit: int) -> list[SessionRecord]:
        return await self._reader.run(sessions.idle, idle_since, limit)

    async def history(self, session_id: str, max_messages: int, max_bytes: int) -> list[HistoryEntry]:
        return await self._reader.run(sessions.history, session_id, max_messages, max_bytes)

    def end_session(self, session_id: str, reason: str, time: float, events: Sequence[Event]) -> Receipt[bool]:
        def apply(tx: Tx) -> bool:
            ended = sessions.end(tx, session_id, reason, time)
            if ended:
                tx.add_events(events)
            return ended

        return self._writer.submit(apply, streams=_streams(events), size=_size(events))

    def erase_session(self, session_id: str) -> Receipt[bool]:
        apply = partial(
            erasure.erase,
            session_id=session_id,
            events=self._events,
            encode=self._encode,
            now=self._clock.now(),
        )
        return self._writer.submit(apply)

    # Outbox

    async def pending_outbox(self, channel: str, *, after: str = "", limit: int = 1000) -> list[OutboxRow]:
        return await self._reader.run(outbox.pending, channel, after, limit)

    def mark_sending(self, row_ids: Sequence[str]) -> Receipt[None]:
        return self._writer.submit(partial(outbox.mark_sending, row_ids=tuple(row_ids)))

    def mark_sent(self, row_id: str, platform_id: str, time: float) -> Receipt[None]:
        apply = partial(outbox.mark_sent, row_id=row_id, platform_id=platform_id, time=time)
        return self._writer.submit(apply, patient=True)

    def mark_retry(self, row_id: str, next_time: float, reason: str) -> Receipt[None]:
        return self._writer.submit(partial(outbox.mark_retry, row_id=row_id, next_time=next_time, reason=reason))

    def mark_dead(self, row_id: str, letter: DeadLetter, step: LedgerChange) -> Receipt[None]:
        return self._writer.submit(partial(letters.mark_dead, row_id=row_id, letter=letter, step=step))

    # Ledger and dead letters

    def end_story(self, end: LedgerChange) -> Receipt[None]:
        return self._writer.submit(partial(ledger.change, wanted=end))

    async def story(self, reference: str) -> LedgerRecord | None:
        return await self._reader.run(ledger.story, reference)

    async def list_messages(
        self, *, states: Sequence[LedgerState], channel: str, session_id: str, before: str, limit: int
    ) -> list[LedgerRecord]:
        return await self._reader.run(
            ledger.list_all, states=states, channel=channel, session_id=session_id, before=before, limit=limit
        )

    async def list_dead_letters(self, *, channel: str, before: str, limit: int) -> list[DeadLetter]:
        return await self._reader.run(letters.list_open, channel, before, limit)

    def retry_dead_letter(self, letter_id: str, time: float, actor: str) -> Receipt[OutboxRow | Execution]:
        return self._writer.submit(partial(letters.retry, letter_id=letter_id, time=time, actor=actor))

    # Access

    def record_audit(self, record: AuditRecord) -> Receipt[None]:
        return self._writer.submit(partial(access.record, entry=record))

    async def list_audit(self, *, limit: int) -> list[AuditRecord]:
        return await self._reader.run(access.list_audit, limit)

    def revoke_token(self, token_sha256: str, time: float) -> Receipt[None]:
        return self._writer.submit(partial(access.revoke, token_sha256=token_sha256, time=time))

    async def revoked_tokens(self) -> frozenset[str]:
        return await self._reader.run(access.revoked)

    # Upkeep

    def sweep(self, retention: Retention, now: float) -> Awaitable[dict[str, int]]:
        return upkeep.sweep(self._writer.submit, retention, now)

    def _with_events(
        self, apply: Callable[[Tx], None], events: Sequence[Event], *, patient: bool = False
    ) -> Receipt[None]:
        def both(tx: Tx) -> None:
            apply(tx)
            tx.add_events(events)

        return self._writer.submit(both, streams=_streams(events), size=_size(events), patient=patient)


def _streams(events: Sequence[Event]) -> list[str]:
    return [event.stream_id for event in events]


def _size(events: Sequence[Event]) -> int:
    return sum(len(event.wire) for event in events)

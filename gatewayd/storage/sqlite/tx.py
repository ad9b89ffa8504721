"""The transaction of one group of units, as the SQL of the tables sees it.

Rows of insert-only tables are gathered here and written at the end, many by one statement, as are the changes of live
rows: every statement gives the interpreter's lock away and must win it back from the event loop.
"""

import sqlite3
from collections.abc import Callable, Mapping, Sequence
from dataclasses import field
from functools import partial
from typing import Any, NamedTuple

from gatewayd.core.event import Event
from gatewayd.core.value import record
from gatewayd.storage.sqlite.faults import bare
from gatewayd.storage.sqlite.layout import EXECUTIONS, LEDGER, OUTBOX, SESSIONS
from gatewayd.storage.sqlite.live import Journal, Rows, in_chunks, insert_sql, numbered_sql
from gatewayd.storage.sqlite.seal import seal, seal_event
from gatewayd.storage.sqlite.seen import SeenIds

ROW_BYTES = 128
"""What a row counts beside its content, in retention by bytes."""

_WIDTHS = {"events": 12, "seen_batches": 7, "seen": 3, "inbox": 11, "history": 7}
_INSERTS: Mapping[str, Callable[[int], str]] = {
    **{name: partial(insert_sql, name, width) for name, width in _WIDTHS.items()},
    "execution_log": numbered_sql,
}


@record(slots=True)
class Books:
    """What the writer knows without asking: rows and bytes by table, and the end of the log."""

    epoch: str
    last_seq: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)


class Unwritable(Exception):
    """Gathered rows could not be written; `__cause__` says why."""


class Live:
    """What the writer keeps in memory from group to group: the live rows of all tables, and what it knows of ids."""

    def __init__(self) -> None:
        self.executions = Rows(EXECUTIONS)
        self.ledger = Rows(LEDGER)
        self.outbox = Rows(OUTBOX)
        self.sessions = Rows(SESSIONS)
        self.seen = SeenIds()
        self.all: tuple[Rows[Any], ...] = (self.executions, self.ledger, self.outbox, self.sessions)

    def forget(self) -> None:
        for rows in self.all:
            rows.forget()


class Mark(NamedTuple):
    """Where a transaction was when a unit began."""

    last_seq: int
    journal: int
    committed: int
    counts: int
    gathered: tuple[int, ...]


class Tx:
    """One transaction over `books`, which are brought up to date only once it is on disk."""

    def __init__(
        self, connection: sqlite3.Connection, books: Books, live: Live, encode: Callable[[Event], bytes]
    ) -> None:
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.executions, self.ledger = live.executions, live.ledger
        self.outbox, self.sessions = live.outbox, live.sessions
        self.seen = live.seen
        self.epoch = books.epoch
        self.last_seq = books.last_seq
        self.committed: list[Event] = []
        """The units' events, stamped, in order."""
        self.swept = False
        """Whether a unit deleted from the log's beginning."""
        self.erased = False
        """Whether a unit erased content that must not stay in the write-ahead log either."""
        self._books = books
        self._live = live
        self._encode = encode
        self._events: list[tuple[Any, ...]] = []
        self._inbox: list[tuple[Any, ...]] = []
        self._history: list[tuple[Any, ...]] = []
        self._log: list[tuple[Any, ...]] = []
        self._gathered = {
            "events": self._events,
            "seen_batches": self.seen.batches,
            "seen": self.seen.ids,
            "inbox": self._inbox,
            "history": self._history,
            "execution_log": self._log,
        }
        self._counts: list[tuple[str, int, int]] = []
        self._counted: set[str] = set()
        self._journal: Journal = []
        for rows in live.all:
            rows.begin(connection.execute, self._journal)
        self.seen.begin(connection.execute, self.count)

    def mark(self) -> Mark:
        gathered = tuple(map(len, self._gathered.values()))
        return Mark(self.last_seq, len(self._journal), len(self.committed), len(self._counts), gathered)

    def undo(self, mark: Mark) -> None:
        """Forget what a unit gathered since, none of which was written."""
        self._rewind(mark)
        for (table, rows), kept in zip(self._gathered.items(), mark.gathered, strict=True):
            if table == "seen":
                self.seen.undo(kept)
            del rows[kept:]
        while len(self._journal) > mark.journal:
            restore, *arguments = self._journal.pop()
            restore(*arguments)

    def discard(self, mark: Mark) -> None:
        """Forget everything that is in memory: what was written since is the savepoint's to undo."""
        self._rewind(mark)
        for rows in self._gathered.values():
            rows.clear()
        self._journal.clear()
        self.forget()

    def forget(self) -> None:
        """Ask SQL again for every row: statements that went around memory have changed some. After `flush`."""
        self.seen.forget()
        self._live.forget()

    def _rewind(self, mark: Mark) -> None:
        self.last_seq = mark.last_seq
        del self.committed[mark.committed :], self._counts[mark.counts :]

    def count(self, table: str, rows: int, size: int) -> None:
        """Note that so many rows with so many bytes of content came (or went)."""
        self._counts.append((table, rows, size))
        self._counted.add(table)

    def may_have(self, table: str) -> bool:
        """False only if the table is empty; asked for each unit, where `totals` is dear."""
        return table in self._counted or self._books.rows.get(table, 0) > 0

    def totals(self, table: str) -> tuple[int, int]:
        """Rows and bytes of a table as of now, this transaction included."""
        rows, size = self._books.rows.get(table, 0), self._books.bytes.get(table, 0)
        for name, more, content in self._counts:
            if name == table:
                rows, size = rows + more, size + content + more * ROW_BYTES
        return rows, size

    def add_event(self, event: Event) -> Event:
        """Give the event its place in the log."""
        return self.add_events((event,))[0]

    def add_events(self, events: Sequence[Event]) -> list[Event]:
        """Give the events their places in the log, one behind the other."""
        seq, epoch, rows = self.last_seq, self.epoch, self._events
        stamped, size = [], 0
        time, time_text = 0.0, "0.0"
        for event in events:
            seq += 1
            wire = event.wire or self._encode(event)
            size += len(wire)
            owner = event.owner
            if event.time != time:  # most events of a batch have the same, and to write it out is dear
                time = float(event.time)
                time_text = str(time)
            # By hand: dataclasses.replace() takes three times as long, and this runs for every event.
            stamped.append(
                Event(
                    event.id,
                    event.type,
                    event.source,
                    event.stream_id,
                    time,
                    event.data,
                    event.target,
                    event.node_id,
                    event.execution_id,
                    event.session_id,
                    event.correlation_id,
                    event.topic,
                    event.custom_type,
                    event.durable,
                    owner,
                    epoch,
                    seq,
                    wire,
                )
            )
            rows.append(
                (
                    seq,
                    int(event.type),
                    event.stream_id,
                    event.node_id,
                    event.execution_id,
                    event.session_id,
                    event.correlation_id,
                    event.topic,
                    owner,
                    time,
                    wire,
                    seal_event(seq, owner, time_text, wire),
                )
            )
        self.last_seq = seq
        self.committed += stamped
        self.count("events", len(stamped), size)
        return stamped

    def add_inbox(self, row: Sequence[Any], size: int) -> None:
        self._inbox.append((*row, seal(*row)))
        self.count("inbox", 1, size)

    def add_history(self, row: Sequence[Any]) -> None:
        self._history.append((*row, seal(*row)))

    def add_log(self, row: Sequence[Any]) -> None:
        """An entry of an execution's log, without its number: it is found while the row is inserted."""
        if any(other[0] == row[0] for other in self._log):
            self.flush_rows("execution_log")  # one statement finds one number of each execution
        self._log.append(tuple(row))

    def flush_rows(self, table: str) -> None:
        """Write what was gathered for that table, for a unit that is about to cut or count it."""
        rows = self._gathered[table]
        if rows:
            in_chunks(self.execute, _INSERTS[table], rows)
            rows.clear()

    def flush(self) -> None:
        """Write what was gathered, for the commit or for a unit that is about to ask SQL about it."""
        try:
            if self.seen.batches:
                self.seen.pack()
            for table in self._gathered:
                self.flush_rows(table)
            for live in self._live.all:
                live.flush()
            # What is written now is the savepoint's to undo.
            self._journal.clear()
        except Exception as error:
            if bare(error):
                raise
            raise Unwritable from error

    def flush_totals(self) -> Books:
        """Write the totals, and return the books as they are once this transaction is committed."""
        books = self._books
        new = Books(books.epoch, self.last_seq, dict(books.rows), dict(books.bytes))
        touched = {name for name, _, _ in self._counts}
        for name in touched:
            new.rows[name], new.bytes[name] = self.totals(name)
        rows = []
        for name in touched:
            values = (name, new.rows[name], new.bytes[name], new.last_seq if name == "events" else 0)
            rows.append((*values, seal(*values)))
        if rows:
            self.executemany("REPLACE INTO totals VALUES (?, ?, ?, ?, ?)", rows)
        return new

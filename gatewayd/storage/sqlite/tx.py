"""The transaction of one group of units, as the SQL of the tables sees it.

Rows of insert-only tables are gathered here and written at the end, many by one statement, as are the changes of live
rows: every statement gives the interpreter's lock away and must win it back from the event loop.
"""

import sqlite3
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from gatewayd.core.event import Event
from gatewayd.storage.sqlite.faults import bare
from gatewayd.storage.sqlite.layout import EXECUTIONS, LEDGER, OUTBOX, SESSIONS
from gatewayd.storage.sqlite.live import CHUNKS, Journal, Rows, in_chunks, insert_sql, numbered_sql
from gatewayd.storage.sqlite.seal import damaged, seal, seal_event, seal_seen

Key = tuple[str, str]
ROW_BYTES = 128
"""What a row counts beside its content, in retention by bytes."""

_WIDTHS = {"events": 12, "seen": 6, "inbox": 11, "history": 7}
_INSERTS: Mapping[str, Callable[[int], str]] = {
    **{name: partial(insert_sql, name, width) for name, width in _WIDTHS.items()},
    "execution_log": numbered_sql,
}
_NOWHERE = ("", "")


class Seen(NamedTuple):
    """A row of `seen`, without its key."""

    digest: bytes
    ref: str


@dataclass(slots=True)
class Books:
    """What the writer knows without asking: rows and bytes by table, and the end of the log."""

    epoch: str
    last_seq: int = 0
    rows: dict[str, int] = field(default_factory=dict)
    bytes: dict[str, int] = field(default_factory=dict)


class Unwritable(Exception):
    """Gathered rows could not be written; `__cause__` says why."""


class Live:
    """The live rows of all tables; the writer keeps it from group to group."""

    def __init__(self) -> None:
        self.executions = Rows(EXECUTIONS)
        self.ledger = Rows(LEDGER)
        self.outbox = Rows(OUTBOX)
        self.sessions = Rows(SESSIONS)
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
        self._seen: list[tuple[Any, ...]] = []
        self._inbox: list[tuple[Any, ...]] = []
        self._history: list[tuple[Any, ...]] = []
        self._log: list[tuple[Any, ...]] = []
        self._gathered = {
            "events": self._events,
            "seen": self._seen,
            "inbox": self._inbox,
            "history": self._history,
            "execution_log": self._log,
        }
        self._known: dict[Key, Seen | None] = {}
        self._counts: list[tuple[str, int, int]] = []
        self._counted: set[str] = set()
        self._journal: Journal = []
        for rows in live.all:
            rows.begin(connection.execute, self._journal)

    def mark(self) -> Mark:
        gathered = tuple(map(len, self._gathered.values()))
        return Mark(self.last_seq, len(self._journal), len(self.committed), len(self._counts), gathered)

    def undo(self, mark: Mark) -> None:
        """Forget what a unit gathered since, none of which was written."""
        self._rewind(mark)
        for (table, rows), kept in zip(self._gathered.items(), mark.gathered, strict=True):
            if table == "seen":
                self._known.update(dict.fromkeys((scope, id_) for scope, id_, *_ in rows[kept:]))
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
        self._known.clear()
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
        self.last_seq = seq = self.last_seq + 1
        wire = event.wire or self._encode(event)
        owner, time = event.owner, float(event.time)
        # By hand: dataclasses.replace() takes three times as long, and this runs for every event.
        stamped = Event(
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
            self.epoch,
            seq,
            wire,
        )
        self._events.append(
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
                seal_event(seq, owner, time, wire),
            )
        )
        self.committed.append(stamped)
        self.count("events", 1, len(wire))
        return stamped

    def add_events(self, events: Iterable[Event]) -> None:
        for event in events:
            self.add_event(event)

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

    def load_seen(self, keys: Sequence[Key]) -> None:
        """Look these keys up at once, before the units ask for them one by one."""
        missing = [key for key in dict.fromkeys(keys) if key not in self._known]
        for chunk in _chunked(missing):
            known = self._known
            known.update(dict.fromkeys(chunk))
            size = next(size for size in reversed(CHUNKS) if size >= len(chunk))
            flat = [part for key in chunk for part in key] + [*_NOWHERE] * (size - len(chunk))
            for scope, id_, digest, ref, time, crc in self.execute(_SEEN_SQL[size], flat):
                if seal_seen(scope, id_, digest, ref, time) != crc:
                    raise damaged(f"the seen id {id_!r}")
                known[scope, id_] = Seen(digest, ref)

    def seen(self, key: Key) -> Seen | None:
        if key not in self._known:
            self.load_seen([key])
        return self._known[key]

    def add_seen(self, key: Key, digest: bytes, ref: str, time: float) -> None:
        self._known[key] = Seen(digest, ref)
        scope, id_ = key
        self._seen.append((scope, id_, digest, ref, time, seal_seen(scope, id_, digest, ref, time)))
        self.count("seen", 1, len(id_) + len(ref))

    def flush_rows(self, table: str) -> None:
        """Write what was gathered for that table, for a unit that is about to cut or count it."""
        rows = self._gathered[table]
        if rows:
            in_chunks(self.execute, _INSERTS[table], rows)
            rows.clear()

    def flush(self) -> None:
        """Write what was gathered, for the commit or for a unit that is about to ask SQL about it."""
        try:
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


_SEEN_SQL = {
    size: f"WITH k (s, i) AS (VALUES {', '.join(['(?, ?)'] * size)}) "
    "SELECT seen.scope, seen.id, digest, ref, time, crc FROM k CROSS JOIN seen ON seen.scope = k.s AND seen.id = k.i"
    for size in CHUNKS
}


def _chunked(keys: list[Key]) -> Iterable[list[Key]]:
    for start in range(0, len(keys), CHUNKS[0]):
        yield keys[start : start + CHUNKS[0]]

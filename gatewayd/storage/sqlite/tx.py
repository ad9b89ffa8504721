"""The transaction of one group of units, as the SQL of the tables sees it.

Rows of insert-only tables are gathered here and written at the end, many by one statement: every statement gives the
interpreter's lock away and must win it back from the event loop, which costs more than the insert.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from gatewayd.core.event import Event
from gatewayd.storage.sqlite.seal import damaged, seal, seal_event

Key = tuple[str, str]
ROW_BYTES = 128
"""What a row counts beside its content, in retention by bytes."""

_CHUNKS = (256, 64, 16, 4, 1)
_COLUMNS = {"events": 12, "seen": 6, "inbox": 11}
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


class Mark(NamedTuple):
    """How much was gathered when a unit began."""

    last_seq: int
    events: int
    seen: int
    inbox: int
    committed: int
    counts: int


class Tx:
    """One transaction over `books`, which are brought up to date only once it is on disk."""

    def __init__(self, connection: sqlite3.Connection, books: Books, encode: Callable[[Event], bytes]) -> None:
        self.execute = connection.execute
        self.executemany = connection.executemany
        self.epoch = books.epoch
        self.last_seq = books.last_seq
        self.committed: list[Event] = []
        """The units' events, stamped, in order."""
        self.swept = False
        """Whether a unit deleted from the log's beginning."""
        self._books = books
        self._encode = encode
        self._events: list[tuple[Any, ...]] = []
        self._seen: list[tuple[Any, ...]] = []
        self._inbox: list[tuple[Any, ...]] = []
        self._known: dict[Key, Seen | None] = {}
        self._counts: list[tuple[str, int, int]] = []

    def mark(self) -> Mark:
        return Mark(
            self.last_seq,
            len(self._events),
            len(self._seen),
            len(self._inbox),
            len(self.committed),
            len(self._counts),
        )

    def undo(self, mark: Mark) -> None:
        """Forget what was gathered since; what was written is the savepoint's to undo."""
        self.last_seq = mark.last_seq
        del self._events[mark.events :], self.committed[mark.committed :], self._inbox[mark.inbox :]
        for row in self._seen[mark.seen :]:
            self._known[row[0], row[1]] = None
        del self._seen[mark.seen :], self._counts[mark.counts :]

    def count(self, table: str, rows: int, size: int) -> None:
        """Note that so many rows with so many bytes of content came (or went)."""
        self._counts.append((table, rows, size))

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

    def load_seen(self, keys: Sequence[Key]) -> None:
        """Look these keys up at once, before the units ask for them one by one."""
        missing = [key for key in dict.fromkeys(keys) if key not in self._known]
        for chunk in _chunked(missing):
            known = self._known
            known.update(dict.fromkeys(chunk))
            size = next(size for size in reversed(_CHUNKS) if size >= len(chunk))
            flat = [part for key in chunk for part in key] + [*_NOWHERE] * (size - len(chunk))
            for scope, id_, digest, ref, time, crc in self.execute(_SEEN_SQL[size], flat):
                if seal(scope, id_, digest.hex(), ref, time) != crc:
                    raise damaged(f"the seen id {id_!r}")
                known[scope, id_] = Seen(digest, ref)

    def seen(self, key: Key) -> Seen | None:
        if key not in self._known:
            self.load_seen([key])
        return self._known[key]

    def add_seen(self, key: Key, digest: bytes, ref: str, time: float) -> None:
        self._known[key] = Seen(digest, ref)
        scope, id_ = key
        self._seen.append((scope, id_, digest, ref, time, seal(scope, id_, digest.hex(), ref, time)))
        self.count("seen", 1, len(id_) + len(ref))

    def insert(self, table: str, rows: Sequence[Sequence[Any]], width: int) -> None:
        """Insert the rows by as few statements as fit."""
        start = 0
        for size in _CHUNKS:
            while len(rows) - start >= size:
                flat = [value for row in rows[start : start + size] for value in row]
                self.execute(insert_sql(table, width, size), flat)
                start += size

    def flush(self) -> None:
        """Write what was gathered. Must not happen inside a unit: its savepoint would own the others' rows."""
        for table, rows in (("events", self._events), ("seen", self._seen), ("inbox", self._inbox)):
            if rows:
                self.insert(table, rows, _COLUMNS[table])
                rows.clear()

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
    for size in _CHUNKS
}


@cache
def insert_sql(table: str, width: int, size: int) -> str:
    """`INSERT INTO table VALUES` of so many rows; the same text every time, so that SQLite keeps it prepared."""
    row = f"({', '.join('?' * width)})"
    return f"INSERT INTO {table} VALUES {', '.join([row] * size)}"


def _chunked(keys: list[Key]) -> Iterable[list[Key]]:
    for start in range(0, len(keys), _CHUNKS[0]):
        yield keys[start : start + _CHUNKS[0]]

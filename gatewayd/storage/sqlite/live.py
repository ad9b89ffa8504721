"""Rows that change while their work lives: executions, stories, outbox pieces, sessions.

Such a row has a fixed part and a status, each with its seal. The writer is the only one that changes them, so it keeps
the status of rows in memory between groups, works on that, and writes a group's changes with few statements at its
end. What it keeps is a copy of what is on disk, dropped whenever a transaction is rolled back.
"""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from functools import cache
from itertools import chain
from typing import Any, Generic, NamedTuple, TypeVar

from gatewayd.core.errors import AlreadyExists
from gatewayd.storage.sqlite.seal import damaged, seal

S = TypeVar("S", bound=tuple[Any, ...])
CHUNKS = (256, 64, 16, 4, 1)
"""Rows that one statement writes or reads: few different texts, so that all stay prepared."""
KEPT = 4096
"""Statuses that are kept in memory, by table."""

Execute = Callable[..., sqlite3.Cursor]
Journal = list[tuple[Any, ...]]
"""What undoes each change of a transaction: a function and its arguments."""


class Table(Generic[S]):
    """How such a table is laid out: `fixed` columns, `input_crc`, the status's columns, `crc`.

    The first fixed column is the key. `link` is another that the writer needs; both are in the status's seal.
    """

    def __init__(
        self,
        name: str,
        *,
        fixed: Sequence[str],
        link: str,
        status: Callable[[Iterable[Any]], S],
        columns: Sequence[str],
        final: Callable[[S], bool],
    ) -> None:
        self.name = name
        self.key = fixed[0]
        self.status = status
        self.final = final
        self.link_place = fixed.index(link)
        self.fixed_count = len(fixed)
        self.status_columns = tuple(columns)
        self.width = len(fixed) + len(columns) + 2
        self.columns = ", ".join((*fixed, "input_crc", *columns, "crc"))
        self.find_sql = f"SELECT {link}, crc, {', '.join(columns)} FROM {name} WHERE {self.key} = ?"

    def read(self, values: Sequence[Any]) -> tuple[Sequence[Any], S]:
        """The fixed part and the status of a row that was selected as `columns`, both seals checked."""
        fixed = values[: self.fixed_count]
        status = self.status(values[self.fixed_count + 1 : -1])
        if (
            seal(*fixed) != values[self.fixed_count]
            or self.seal(fixed[0], fixed[self.link_place], status) != values[-1]
        ):
            raise damaged(f"a row of {self.name} ({fixed[0]})")
        return fixed, status

    def seal(self, key: str, link: str, status: S) -> int:
        return seal(key, link, *status)

    @cache  # noqa: B019 (tables live as long as the module)
    def update_sql(self, size: int) -> str:
        names = (*self.status_columns, "crc")
        assignments = ", ".join(f"{name} = v.column{place}" for place, name in enumerate(names, 2))
        row = f"({', '.join('?' * (len(names) + 1))})"
        return (
            f"UPDATE {self.name} SET {assignments} FROM (VALUES {', '.join([row] * size)}) AS v "
            f"WHERE {self.name}.{self.key} = v.column1"
        )


class _Entry(NamedTuple):
    link: str
    status: Any


class Rows(Generic[S]):
    """The live rows of one table, as the transaction sees them."""

    def __init__(self, table: Table[S]) -> None:
        self.table = table
        self._execute: Execute | None = None
        self._kept: dict[str, _Entry] = {}
        self._dirty: dict[str, _Entry] = {}
        self._new: dict[str, Sequence[Any]] = {}
        self._journal: Journal = []

    def begin(self, execute: Execute, journal: Journal) -> None:
        """A transaction begins; how to undo each change goes to its journal."""
        self._execute = execute
        self._journal = journal

    def find(self, key: str) -> S | None:
        entry = self._entry(key)
        return entry.status if entry else None

    def link(self, key: str) -> str:
        """The link of a row that was found."""
        entry = self._entry(key)
        return entry.link if entry else ""

    def linked(self, link: str) -> Iterable[tuple[str, S]]:
        """Changed and unwritten rows with that link."""
        return [(key, entry.status) for key, entry in self._dirty.items() if entry.link == link]

    def insert(self, fixed: Sequence[Any], status: S) -> None:
        key = fixed[0]
        if key in self._dirty or key in self._kept:
            raise AlreadyExists(f"{self.table.name} {key!r} exists already")
        self._journal.append((self._restore, key, None, None))
        self._dirty[key] = _Entry(fixed[self.table.link_place], status)
        self._new[key] = fixed

    def save(self, key: str, status: S) -> None:
        """Change a row that was found or inserted."""
        entry = self._entry(key)
        assert entry is not None, key
        self._journal.append((self._restore, key, self._dirty.get(key), self._new.get(key)))
        self._dirty[key] = _Entry(entry.link, status)

    def flush(self) -> None:
        """Write what changed. Updates go first: a session that ends makes room for one with its key."""
        if not self._dirty:
            return
        table, updates, inserts = self.table, [], []
        for key, (link, status) in self._dirty.items():
            crc = table.seal(key, link, status)
            fixed = self._new.get(key)
            if fixed is None:
                updates.append((key, *status, crc))
            else:
                inserts.append((*fixed, seal(*fixed), *status, crc))
        assert self._execute is not None
        in_chunks(self._execute, table.update_sql, updates)
        insert_rows(self._execute, table.name, table.width, inserts)
        for key, entry in self._dirty.items():
            # To the end of the order: what was not used for long goes first.
            self._kept.pop(key, None)
            self._kept[key] = entry
        self._dirty.clear()
        self._new.clear()

    def committed(self) -> None:
        """What was flushed is on disk."""
        final = self.table.final
        kept = self._kept
        if len(kept) > KEPT:
            kept = {key: entry for key, entry in kept.items() if not final(entry.status)}
            for key in list(kept)[: len(kept) - KEPT // 2]:
                del kept[key]
            self._kept = kept

    def forget(self) -> None:
        """Drop everything in memory: it may not be what is on disk."""
        self._kept.clear()
        self._dirty.clear()
        self._new.clear()

    def _restore(self, key: str, entry: _Entry | None, fixed: Sequence[Any] | None) -> None:
        if entry is None:
            self._dirty.pop(key, None)
        else:
            self._dirty[key] = entry
        if fixed is None:
            self._new.pop(key, None)
        else:
            self._new[key] = fixed

    def _entry(self, key: str) -> _Entry | None:
        entry = self._dirty.get(key) or self._kept.get(key)
        if entry is None:
            assert self._execute is not None
            row = self._execute(self.table.find_sql, (key,)).fetchone()
            if row is None:
                return None
            link, crc, *values = row
            status = self.table.status(values)
            if self.table.seal(key, link, status) != crc:
                raise damaged(f"a row of {self.table.name} ({key})")
            entry = self._kept[key] = _Entry(link, status)
        return entry


@cache
def insert_sql(table: str, width: int, size: int) -> str:
    """`INSERT INTO table VALUES` of so many rows; the same text every time, so that SQLite keeps it prepared."""
    row = f"({', '.join('?' * width)})"
    return f"INSERT INTO {table} VALUES {', '.join([row] * size)}"


@cache
def numbered_sql(size: int) -> str:
    """Insert into `execution_log` one row of each of so many executions, numbered after its last."""
    row = f"({', '.join('?' * 8)})"
    rest = ", ".join(f"v.column{place}" for place in range(2, 9))
    return (
        "INSERT INTO execution_log SELECT v.column1, 1 + coalesce((SELECT max(number) FROM execution_log AS old "
        f"WHERE old.execution_id = v.column1), 0), {rest} FROM (VALUES {', '.join([row] * size)}) AS v"
    )


def insert_rows(execute: Execute, table: str, width: int, rows: Sequence[Sequence[Any]]) -> None:
    """Insert the rows by as few statements as fit."""
    in_chunks(execute, lambda size: insert_sql(table, width, size), rows)


def in_chunks(execute: Execute, sql: Callable[[int], str], rows: Sequence[Sequence[Any]]) -> None:
    """Run the statement for all rows, as many at a time as there is a text for."""
    start = 0
    for size in CHUNKS:
        while len(rows) - start >= size:
            execute(sql(size), list(chain.from_iterable(rows[start : start + size])))
            start += size

"""The database file in use: opened and checked, watched while it is written, and closed so that nothing is in doubt.

**What is checked when.** At start: the directory, the lock, the header, the schema text, the books (which are sealed
and must agree with the log's end) and the structure: the whole file up to `CHECK_AT_START` bytes, before anything is
served; of a larger one in the background, on a connection of its own (`check_structure`). Rows: their seals, at every
read. After each commit: that the file and its log are still the ones at their paths.
"""

import sqlite3
from pathlib import Path
from typing import Any

from gatewayd.core.errors import GatewayError, StoreCorrupt, StoreFailed
from gatewayd.storage.sqlite import events, schema, wal
from gatewayd.storage.sqlite.faults import verdict
from gatewayd.storage.sqlite.place import Place
from gatewayd.storage.sqlite.seal import ADVICE, damaged, seal
from gatewayd.storage.sqlite.tx import Books

CHECK_AT_START = 64 << 20
"""Up to this size the structure is checked before the store opens: about a third of a second."""

_CHECKPOINT_BYTES = 16 << 20
"""Growth of the log after which it is moved into the file: the next start reads all of it. Counted in the log itself,
because small commits write whole pages, twenty times their content, and because it outlives a crash."""
_LOG_KEPT = 64 << 20
_CACHED = 256
"""Statements that stay prepared."""
_PASSING = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_FULL}


class DatabaseFile:
    """Opens and closes the writing connection and makes reading ones. All calls block."""

    def __init__(self, path: Path, *, connect: schema.Connect, relaxed: bool, busy_timeout: float) -> None:
        self.path = path
        self.large = False
        """Whether the structure remains to be checked in the background."""
        self._place = Place(path)
        self._connect = connect
        self._relaxed = relaxed
        self._busy = int(busy_timeout * 1000)
        self._identity: tuple[Any, ...] = ()
        self._index = -1
        """SQLite's index of the log, open."""
        self._page_size = 4096
        self._moved = 0
        """Frames of the log that were in it when it was moved into the file the last time."""

    def open(self, epoch: str) -> tuple[sqlite3.Connection, Books, int]:
        """The writing connection, the books and the first seq; `epoch` names the log if it has to be made."""
        self._place.claim()
        connection: sqlite3.Connection | None = None
        try:
            if self._place.check():
                self._inspect()
            else:
                schema.create(self.path, epoch, self._connect)
            connection = self._connect(
                self.path, isolation_level=None, check_same_thread=False, cached_statements=_CACHED
            )
            self._set_up(connection)
            if schema.upgrade(connection, self.path):
                # One that needed nothing has been checked, or was just made.
                schema.check(connection, self.path)
            books = _load_books(connection)
            first = _check_ends(connection, books)
            self._identity = self._identify()
            self._index = self._place.hold_index()
            self._page_size = connection.execute("PRAGMA page_size").fetchone()[0]
            self._place.set_in_use()
        except BaseException as error:
            if connection is not None:
                connection.close()
            self._place.abandon()
            if isinstance(error, sqlite3.Error | UnicodeDecodeError):
                raise verdict(error, self.path) from error
            raise
        return connection, books, first

    def _inspect(self) -> None:
        """Look at what is there through a connection that cannot write: what is damaged stays as it was found."""
        connection = self.reader()
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchall()
            if self._place.log.exists():
                page_size = connection.execute("PRAGMA page_size").fetchone()[0]
                wal.check(self._place.log, page_size, wal.valid_frames(self._place.hold_index()))
            self.large = self.path.stat().st_size > CHECK_AT_START
            if not self.large:
                check_structure(connection, self.path)
            if not schema.outdated(connection, self.path):
                schema.check(connection, self.path)
                _check_ends(connection, _load_books(connection))
        finally:
            connection.close()

    def _set_up(self, connection: sqlite3.Connection) -> None:
        for pragma in (
            f"busy_timeout = {self._busy}",
            "cell_size_check = ON",
            "journal_mode = WAL",
            f"synchronous = {'NORMAL' if self._relaxed else 'FULL'}",
            # Ours, in `written`: SQLite's own ignores a failed fsync of the file.
            "wal_autocheckpoint = 0",
            f"journal_size_limit = {_LOG_KEPT}",
            # Erased and swept content is overwritten, not only unlinked.
            "secure_delete = ON",
            "cache_size = -8192",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()

    def reader(self) -> sqlite3.Connection:
        """A connection that can only read. Made in the thread that uses it, closed by the one that closes the store."""
        connection = sqlite3.connect(
            f"{self.path.absolute().as_uri()}?mode=ro",
            uri=True,
            isolation_level=None,
            check_same_thread=False,
            cached_statements=_CACHED,
        )
        connection.execute("PRAGMA query_only = ON")
        connection.execute(f"PRAGMA busy_timeout = {self._busy}")
        connection.execute("PRAGMA cell_size_check = ON")
        return connection

    def close(self, connection: sqlite3.Connection, *, clean: bool) -> None:
        """Close the writing connection, the last one; `clean` unless the store has failed."""
        try:
            if clean:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
                connection.close()
            else:
                self._close_leaving_the_log(connection)
        except (sqlite3.Error, GatewayError) as error:
            clean = False
            raise verdict(error, self.path) from error
        finally:
            self._place.release(clean=clean)

    def _close_leaving_the_log(self, connection: sqlite3.Connection) -> None:
        """Without the checkpoint of the last one to close: a disk that failed is written to no more."""
        try:
            keeper = self.reader()
            keeper.execute("SELECT count(*) FROM sqlite_schema").fetchall()
        except sqlite3.Error:
            # The file is not there any more: nothing can be moved into it either.
            connection.close()
            return
        connection.close()
        keeper.close()

    # For the writer, in its thread

    def check_in_place(self) -> None:
        try:
            now = self._identify()
        except OSError as error:
            raise StoreFailed(f"{error.filename} vanished while it was in use: {error.strerror}") from error
        if now != self._identity:
            raise StoreFailed(f"{self.path} or its log was replaced while it was in use")

    def written(self, connection: sqlite3.Connection, *, erased: bool) -> None:
        frames = wal.valid_frames(self._index)
        if frames < self._moved:  # it has begun anew at its start
            self._moved = 0
        if (frames - self._moved) * self._page_size < _CHECKPOINT_BYTES and not erased:
            return
        self._moved = 0 if erased else frames
        try:
            # Truncated, because what was erased would stay readable in the log until it is written over.
            connection.execute(f"PRAGMA wal_checkpoint({'TRUNCATE' if erased else 'PASSIVE'})").fetchall()
        except sqlite3.OperationalError as error:
            # The commits are safe in the log; it is tried again later.
            if error.sqlite_errorcode & 0xFF not in _PASSING:
                raise

    def first_seq(self, connection: sqlite3.Connection) -> int:
        return events.first_seq(connection)

    def _identify(self) -> tuple[Any, ...]:
        file, log = self.path.stat(), self._place.log.stat()
        return file.st_dev, file.st_ino, log.st_dev, log.st_ino


def check_structure(connection: sqlite3.Connection, path: Path) -> None:
    """Every page and every index entry; seconds for gigabytes, in one call that can be interrupted."""
    found = connection.execute("PRAGMA integrity_check(3)").fetchall()
    if found != [("ok",)]:
        raise StoreCorrupt(f"{path} is damaged ({'; '.join(row[0] for row in found)}): {ADVICE}")


def _load_books(connection: sqlite3.Connection) -> Books:
    row = connection.execute("SELECT value, crc FROM meta WHERE name = 'epoch'").fetchone()
    if row is None or seal("epoch", row[0]) != row[1]:
        raise damaged("the name of the event log")
    books = Books(row[0])
    for name, rows, size, last, crc in connection.execute("SELECT name, rows, bytes, last, crc FROM totals"):
        if seal(name, rows, size, last) != crc:
            raise damaged(f"the totals of {name}")
        books.rows[name], books.bytes[name] = rows, size
        if name == "events":
            books.last_seq = last
    return books


def _check_ends(connection: sqlite3.Connection, books: Books) -> int:
    """The log's first seq. Its last event is the last that was given out, unless all of them were swept."""
    # One at a time: asked for both at once, SQLite walks through the whole table.
    first = events.first_seq(connection)
    last = connection.execute("SELECT coalesce(max(seq), 0) FROM events").fetchone()[0]
    if last != books.last_seq and (last or books.rows.get("events", 0)):
        raise damaged(f"the event log (it ends at {last}, not at {books.last_seq})")
    return first or books.last_seq + bool(books.last_seq)

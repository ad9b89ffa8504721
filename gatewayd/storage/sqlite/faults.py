"""What an error of SQLite or the system means for the store: a verdict of `core.errors`."""

import errno
import os
import sqlite3
from pathlib import Path

from gatewayd.core.errors import GatewayError, StoreBusy, StoreCorrupt, StoreFailed, StoreFull
from gatewayd.storage.sqlite.seal import ADVICE

BUSY_RETRY = 1.0
"""Seconds after which a writer that was told BUSY may try again."""

_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_CORRUPT = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}


def verdict(error: BaseException, path: Path) -> GatewayError:
    """The error that callers get. Whatever is not known to pass is `StoreFailed`."""
    if isinstance(error, GatewayError):
        return error
    # Extended codes carry the primary one in their low byte (https://sqlite.org/rescode.html).
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF if isinstance(error, sqlite3.Error) else 0
    if code in _BUSY:
        return StoreBusy(f"{path} is locked by another process", retry_after=BUSY_RETRY)
    if code == sqlite3.SQLITE_FULL or (code == sqlite3.SQLITE_IOERR and no_space(path)):
        return StoreFull(f"no space is left for {path}")
    if code in _CORRUPT or _is_undecodable(error):
        return StoreCorrupt(f"{path} is damaged ({error}): {ADVICE}")
    return StoreFailed(f"{path}: {error or type(error).__name__}")


def no_space(path: Path) -> bool:
    """Whether the file system is full: SQLite reports some of those failures as plain I/O errors."""
    try:
        room = os.statvfs(path.parent)
    except OSError as error:
        return error.errno == errno.ENOSPC
    return room.f_bavail * room.f_frsize < 1 << 16


def bare(error: BaseException) -> bool:
    """Whether it is an error of the database itself, so that the whole group is in doubt and not one unit."""
    return isinstance(error, sqlite3.Error) and not isinstance(
        error, sqlite3.IntegrityError | sqlite3.ProgrammingError | sqlite3.InterfaceError | sqlite3.DataError
    )


def _is_undecodable(error: BaseException) -> bool:
    """Whether a text, or SQLite's own message about one, is not UTF-8. Python's module says so, without a code."""
    if isinstance(error, UnicodeDecodeError):
        return True
    return isinstance(error, sqlite3.OperationalError) and str(error).startswith("Could not decode to UTF-8")

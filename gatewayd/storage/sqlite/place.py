"""Where the database lives: its directory, the lock that makes it ours, and the mark that says it is in use.

Beside `NAME` lies `NAME.open` while a store has it open. Its lock (flock) keeps a second gateway out; its content says
whether the write-ahead log holds commits that the database file lacks, so that a missing log is noticed.
"""

import errno
import fcntl
import os
import stat
from pathlib import Path

from gatewayd.core.errors import StoreBusy, StoreCorrupt
from gatewayd.storage.sqlite.seal import ADVICE

APPLICATION_ID = 0x47574459
"""`GWDY` in the file's header; `file` and we tell a foreign database by it."""

_IN_USE = b"open\n"
_MAGIC = b"SQLite format 3\x00"
_OPEN = os.O_CLOEXEC | os.O_NOFOLLOW
_FOREIGN_WRITE = stat.S_IWGRP | stat.S_IWOTH


class Place:
    """One database's files. All calls block; `claim` comes first and `release` last."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = path.with_name(path.name + "-wal")
        self.mark = path.with_name(path.name + ".open")
        self.index = path.with_name(path.name + "-shm")
        self._lock = -1
        self._held: list[int] = []

    def claim(self) -> None:
        """Make the directory usable and the database ours. `OSError` says which path and why."""
        self._prepare_directory()
        while True:
            lock = os.open(self.mark, os.O_RDWR | os.O_CREAT | _OPEN, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                raise StoreBusy(f"{self.path} is in use by another gatewayd ({self.mark} is locked)") from None
            # Whoever had it before may have removed it between our open and our lock.
            if self._is_at_path(lock):
                self._lock = lock
                return
            os.close(lock)

    def check(self) -> bool:
        """Whether there is a database; `StoreCorrupt` when what is there must not be opened."""
        was_open = os.pread(self._lock, len(_IN_USE), 0) == _IN_USE
        try:
            found = self.path.lstat()
        except FileNotFoundError:
            if was_open or self.log.exists():
                raise StoreCorrupt(
                    f"{self.path} is gone, but {self.mark if was_open else self.log} says that there was one: "
                    f"restore a backup, or move {self.mark.name} and {self.log.name} aside to start empty"
                ) from None
            return False
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(self.path))
        if found.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, f"belongs to uid {found.st_uid}, not to us", str(self.path))
        if stat.S_IMODE(found.st_mode) & 0o077:
            self.path.chmod(0o600)
        wal_mode = self._check_header()
        if was_open and wal_mode and not self.log.exists():
            raise StoreCorrupt(
                f"the write-ahead log is missing: {self.path} was in use and not closed, but {self.log} is not there, "
                f"so the latest commits may be lost. Restore the log or a backup; if another program has opened and "
                f"closed the database since, nothing is lost: remove {self.mark} to go on"
            )
        return True

    def hold_index(self) -> int:
        """A descriptor of SQLite's shared index, kept until the end: to close it would drop SQLite's locks on it."""
        descriptor = os.open(self.index, os.O_RDONLY | _OPEN)
        self._held.append(descriptor)
        return descriptor

    def set_in_use(self) -> None:
        """From now on the log is needed. It exists already, or this mark would accuse an innocent start."""
        sync_directory(self.path.parent)
        os.pwrite(self._lock, _IN_USE, 0)
        os.fsync(self._lock)

    def release(self, *, clean: bool) -> None:
        """Give the database up; `clean` when everything that was committed is where the next start finds it."""
        while self._held:
            os.close(self._held.pop())
        if self._lock < 0:
            return
        try:
            if clean and self._is_at_path(self._lock):
                self.mark.unlink()
                sync_directory(self.path.parent)
        finally:
            os.close(self._lock)
            self._lock = -1

    def abandon(self) -> None:
        """Give up an opening that failed, leaving the mark as it was found."""
        if self._lock >= 0:
            self.release(clean=os.fstat(self._lock).st_size == 0)

    def _prepare_directory(self) -> None:
        directory = self.path.parent
        try:
            directory.mkdir(mode=0o700)
        except FileExistsError:
            pass
        except OSError as error:
            raise OSError(error.errno, f"cannot make the state directory: {error.strerror}", str(directory)) from None
        found = directory.stat()
        if not stat.S_ISDIR(found.st_mode):
            raise NotADirectoryError(errno.ENOTDIR, "is not a directory", str(directory))
        if found.st_uid != os.geteuid():
            raise PermissionError(errno.EPERM, f"belongs to uid {found.st_uid}, not to us", str(directory))
        if found.st_mode & _FOREIGN_WRITE:
            raise PermissionError(errno.EPERM, "can be written by others (chmod go-w)", str(directory))

    def _is_at_path(self, descriptor: int) -> bool:
        try:
            return os.path.samestat(os.fstat(descriptor), self.mark.lstat())
        except FileNotFoundError:
            return False

    def _check_header(self) -> bool:
        """Whether the file is in WAL mode. Read before SQLite opens it: closing a file of ours drops SQLite's locks."""
        descriptor = os.open(self.path, os.O_RDONLY | _OPEN)
        try:
            header = os.pread(descriptor, 100, 0)
        finally:
            os.close(descriptor)
        if len(header) < 100:
            raise StoreCorrupt(f"{self.path} is only {len(header)} bytes long, so it was truncated: {ADVICE}")
        if not header.startswith(_MAGIC):
            raise StoreCorrupt(f"{self.path} is not an SQLite database, or its header is damaged: {ADVICE}")
        if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
            raise StoreCorrupt(f"{self.path} is a database of another program: {ADVICE}")
        return header[18] == 2


def sync_directory(directory: Path) -> None:
    """Make the names in it durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)

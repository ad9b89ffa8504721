"""One daemon per directory, by a lock that the kernel holds for as long as the process lives.

The number in a file proves nothing (the process may be gone, or be another by now); the lock does. Files are opened
without following links and only in directories that nobody else can write to, so that no prepared link makes the
daemon overwrite a victim (CVE-2025-68146 was that).
"""

import contextlib
import fcntl
import logging
import os
import stat
from pathlib import Path

from gatewayd.daemon.paths import PathUnusable

log = logging.getLogger(__name__)

LOCK_NAME = "gatewayd.lock"
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_ATTEMPTS = 5


class AlreadyRunning(Exception):
    """Another daemon holds the place; `pid` is its process, 0 when it could not be read."""

    def __init__(self, pid: int, place: Path) -> None:
        super().__init__(f"already running: pid {pid or 'unknown'} ({place})")
        self.pid = pid


class DirectoryLock:
    """Holds a directory from `acquire` to `release` (or the end of the process)."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOCK_NAME
        self._descriptor = -1

    def acquire(self) -> None:
        """Take the lock without waiting. Raises `AlreadyRunning`, or `PathUnusable` when there can be no lock."""
        for _ in range(_ATTEMPTS):
            descriptor = _open(self._path)
            try:
                _lock(descriptor, self._path)
            except AlreadyRunning:
                os.close(descriptor)
                raise
            # Whoever cleans up directories may have removed the file between the opening and the lock.
            if is_at(descriptor, self._path):
                _write(descriptor, f"{os.getpid()} {start_time(os.getpid())}\n")
                self._descriptor = descriptor
                return
            os.close(descriptor)
        raise PathUnusable(f"{self._path} is replaced again and again while it is being locked")

    def release(self) -> None:
        """Let go. The file stays: removing it would let two others hold two different files of one name."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


class Pidfile:
    """The file that names the daemon's process for scripts; locked for life, removed at the end if it is still ours."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._directory = -1
        self._descriptor = -1

    def write(self) -> None:
        """Put our number there as a whole. Raises `AlreadyRunning` or `PathUnusable`."""
        self._directory = _open_directory(self._path.parent)
        previous = self._take_over()
        temporary = f".{self._path.name}.{os.getpid()}"
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=self._directory)
        try:
            descriptor = os.open(temporary, _FLAGS | os.O_EXCL, 0o644, dir_fd=self._directory)
            os.fchmod(descriptor, 0o644)
            _lock(descriptor, self._path)
            _write(descriptor, f"{os.getpid()}\n")
            os.rename(temporary, self._path.name, src_dir_fd=self._directory, dst_dir_fd=self._directory)
        except OSError as error:
            raise PathUnusable(f"pidfile {self._path} cannot be written: {error.strerror}") from error
        finally:
            if previous >= 0:
                os.close(previous)
        self._descriptor = descriptor

    def _take_over(self) -> int:
        """Lock the file that is there, so that two daemons cannot both replace it; -1 when there is none."""
        try:
            descriptor = os.open(self._path.name, _FLAGS & ~os.O_CREAT, dir_fd=self._directory)
        except FileNotFoundError:
            return -1
        except OSError as error:
            kind = "is a link" if self._path.is_symlink() else f"cannot be opened: {error.strerror}"
            raise PathUnusable(f"pidfile {self._path} {kind}; remove it or name another") from error
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise PathUnusable(f"pidfile {self._path} is not a regular file; remove it or name another")
        try:
            _lock(descriptor, self._path)
        except AlreadyRunning:
            os.close(descriptor)
            raise
        pid = _read_pid(descriptor)
        log.info("pidfile_taken_over", extra={"path": self._path, "pid": pid, "alive": start_time(pid) != ""})
        return descriptor

    def remove(self) -> None:
        """Take the file away, unless somebody has put another in its place."""
        if self._descriptor >= 0:
            if is_at(self._descriptor, Path(self._path.name), self._directory):
                os.unlink(self._path.name, dir_fd=self._directory)
            os.close(self._descriptor)
            self._descriptor = -1
        if self._directory >= 0:
            os.close(self._directory)
            self._directory = -1


def start_time(pid: int) -> str:
    """When a process started, in clock ticks since boot; '' when there is none. With the pid it names one for good."""
    if pid <= 0:
        return ""
    try:
        descriptor = os.open(f"/proc/{pid}/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        # The name in brackets may hold anything, so fields are counted from its end; the 22nd is the start time.
        return os.read(descriptor, 4096).rpartition(b")")[2].split()[19].decode()
    except (OSError, IndexError):
        return ""
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        descriptor = os.open(path, _FLAGS, 0o600)
    except OSError as error:
        reason = "is a link" if path.is_symlink() else f"cannot be opened: {error.strerror}"
        raise PathUnusable(f"lock file {path} {reason}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise PathUnusable(f"lock file {path} is not a regular file")
    return descriptor


def _open_directory(path: Path) -> int:
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise PathUnusable(f"the pidfile's directory {path} cannot be opened: {error.strerror}") from error
    found = os.fstat(descriptor)
    reason = ""
    if found.st_mode & stat.S_IWOTH:
        reason = "can be written by everybody"
    elif found.st_mode & stat.S_IWGRP and found.st_gid not in (0, os.getegid()):
        reason = f"can be written by group {found.st_gid}"
    elif found.st_uid not in (0, os.geteuid()):
        reason = f"belongs to uid {found.st_uid}"
    if reason:
        os.close(descriptor)
        raise PathUnusable(f"the pidfile's directory {path} {reason}; name one that only gatewayd or root can change")
    return descriptor


def _lock(descriptor: int, path: Path) -> None:
    # flock belongs to the open file: unlike a POSIX lock it is not lost when something else here closes the file.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise AlreadyRunning(_read_pid(descriptor), path) from None
    except OSError as error:
        raise PathUnusable(f"{path} cannot be locked: {error.strerror}") from error


def _read_pid(descriptor: int) -> int:
    words = os.pread(descriptor, 64, 0).split()
    return int(words[0]) if words and words[0].isdigit() and len(words[0]) < 10 else 0


def _write(descriptor: int, text: str) -> None:
    # The number with its newline first, then the cut: a reader's first line is right at any time.
    os.pwrite(descriptor, text.encode(), 0)
    os.ftruncate(descriptor, len(text))


def is_at(descriptor: int, path: Path, directory: int | None = None) -> bool:
    """Whether the path still leads to the open file."""
    try:
        there = os.stat(path, dir_fd=directory, follow_symlinks=False)
    except OSError:
        return False
    here = os.fstat(descriptor)
    return (there.st_dev, there.st_ino) == (here.st_dev, here.st_ino)

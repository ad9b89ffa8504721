"""The disk: the only module that opens files, so that a test can take the disk away.

SQLite opens its own file in `storage/sqlite`; sockets belong to `rpc` and `daemon`.
"""

import os
import stat
from pathlib import Path
from typing import Protocol


class Disk(Protocol):
    """What a part may do with files."""

    def read(self, path: Path, limit: int) -> bytes:
        """The content of a regular file; `OSError` when it is not one, or is larger than `limit` bytes."""
        ...

    def stat(self, path: Path) -> os.stat_result:
        """Mode, owner and size, links followed."""
        ...

    def space(self, path: Path) -> tuple[int, int]:
        """Bytes that we may still use on the file system of that path, and how many it has."""
        ...

    def write_private(self, path: Path, content: bytes) -> None:
        """Replace the file as a whole (mode 0600): temporary file, fsync, rename, fsync of the directory."""
        ...


class SystemDisk:
    """The machine's file system."""

    def read(self, path: Path, limit: int) -> bytes:
        # O_NONBLOCK: opening a FIFO would wait for a writer that never comes.
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            kind = os.fstat(descriptor)
            if not stat.S_ISREG(kind.st_mode):
                raise OSError(f"{path} is not a regular file")
            content = file.read(limit + 1)
            if len(content) > limit:
                raise OSError(f"{path} is larger than {limit} bytes")
            return content

    def stat(self, path: Path) -> os.stat_result:
        return path.stat()

    def space(self, path: Path) -> tuple[int, int]:
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize

    def write_private(self, path: Path, content: bytes) -> None:
        temporary = path.with_name(f".{path.name}.new")
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            os.fchmod(descriptor, 0o600)
            file.write(content)
            file.flush()
            os.fsync(descriptor)
        temporary.replace(path)
        directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

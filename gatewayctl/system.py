"""Time, chance and files: the only place where gatewayctl asks the system for them.

The SDK takes a `Clock` and a `Chance` in its constructor, so that a test can wait without waiting. Nothing heavy is
imported here: a cold `gatewayctl status` passes through.
"""

import os
import time
from collections.abc import Awaitable
from typing import Protocol

__all__ = ["Chance", "Clock", "SystemChance", "SystemClock", "local_time", "pause", "private_text", "read_text"]


class Clock(Protocol):
    """What time it is, and waiting."""

    def now(self) -> float:
        """Seconds since the Unix epoch, UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds by a clock that does not jump, from an arbitrary start."""
        ...

    def sleep(self, seconds: float) -> Awaitable[None]:
        """Wait, letting other tasks run."""
        ...


class Chance(Protocol):
    """Randomness."""

    def fraction(self) -> float:
        """At least 0, less than 1; for jitter."""
        ...

    def token(self, size: int) -> bytes:
        """So many bytes that nobody can guess."""
        ...


class SystemClock:
    """The clock of this machine."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        import asyncio  # noqa: PLC0415 - a command that does not wait need not know of loops

        await asyncio.sleep(seconds)


class SystemChance:
    """The randomness of this machine."""

    def fraction(self) -> float:
        return int.from_bytes(os.urandom(6), "big") / (1 << 48)

    def token(self, size: int) -> bytes:
        return os.urandom(size)


def pause(seconds: float) -> None:
    """Wait, with nothing else to do."""
    time.sleep(seconds)


def local_time(seconds: float) -> str:
    """`2026-11-05 14:03:11.250` in the operator's zone, from seconds since the Unix epoch."""
    whole = int(seconds // 1)
    return f"{time.strftime('%Y-%m-%d %H:%M:%S', time.localtime(whole))}.{int((seconds - whole) * 1000):03d}"


def read_text(path: str) -> str:
    """The file as UTF-8. OSError and UnicodeDecodeError go to the caller."""
    with open(path, encoding="utf-8") as file:  # noqa: PTH123 - pathlib costs a cold start
        return file.read(1 << 20)


def private_text(path: str) -> str:
    """The file, if nobody but its owner can read it and the owner is this user or root; else PermissionError.

    The mode is that of the opened file, so a swap between the look and the reading does not help anyone.
    """
    with open(path, encoding="utf-8") as file:  # noqa: PTH123
        status = os.fstat(file.fileno())
        if status.st_mode & 0o077:
            raise PermissionError(f"{path} can be read by others: run `chmod 600 {path}`")
        if status.st_uid not in (os.geteuid(), 0):
            raise PermissionError(f"{path} belongs to another user: own it, or use another file")
        return file.read(1 << 20)

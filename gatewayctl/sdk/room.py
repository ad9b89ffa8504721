"""The bound of what waits between the connection and one reader, and how long a full buffer may hold up the others."""

from __future__ import annotations

import asyncio

from gatewayctl.sdk.link import Link

__all__ = ["BUFFER_BYTES", "Room"]

BUFFER_BYTES = 1 << 20
STALL_BUSY = 0.5
"""Seconds that a full buffer may keep a stream from being read while somebody waits for an answer on it."""
STALL = 5.0
"""The same where nobody does; the daemon cuts a reader that blocks it for ten."""


class Room:
    """Bytes in one buffer."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.used = 0
        self.open = True
        """False once nothing is to be kept any more."""
        self._freed = asyncio.Event()

    @property
    def full(self) -> bool:
        return self.used >= self.limit

    @property
    def drained(self) -> bool:
        """Whether there is room for more than a drop."""
        return self.used <= self.limit // 2

    def take(self, size: int) -> None:
        """So much has come in."""
        self.used += size

    def free(self, size: int) -> None:
        """So much has gone out."""
        self.used -= size
        self._freed.set()

    def close(self) -> None:
        """Nobody needs to wait any more."""
        self.open = False
        self._freed.set()

    async def wait(self, link: Link | None) -> bool:
        """Wait for room; False if that takes too long for the others on the link, or nothing is to be kept."""
        waited = 0.0
        while self.full and self.open:
            if link is None or waited >= (STALL_BUSY if link.busy else STALL):
                return False
            self._freed.clear()
            try:
                async with asyncio.timeout(0.1):
                    await self._freed.wait()
            except TimeoutError:
                waited += 0.1
        return self.open

    async def wait_drained(self) -> None:
        """Wait until the reader has made room for more than a drop."""
        while not self.drained and self.open:
            self._freed.clear()
            await self._freed.wait()

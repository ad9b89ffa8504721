"""Bytes that may wait for one connection, over all of its mailboxes: many of them are no way around the bound."""

import asyncio
import sys


class Budget:
    """Taken from by mailboxes that fill and given back to as they are emptied."""

    __slots__ = ("_released", "limit", "used")

    def __init__(self, limit: int = sys.maxsize) -> None:
        self.limit = limit
        self.used = 0
        self._released: asyncio.Event | None = None

    def has_room(self, size: int) -> bool:
        """Whether so many bytes may be taken; anything may while nothing is."""
        return not self.used or self.used + size <= self.limit

    def release(self, size: int) -> None:
        """Give back what was taken; 0 only wakes who waits."""
        self.used -= size
        if self._released is not None:
            self._released.set()

    async def released(self) -> None:
        """Wait until something is given back."""
        if self._released is None:
            self._released = asyncio.Event()
        self._released.clear()
        await self._released.wait()

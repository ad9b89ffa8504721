"""Wakes one task that waits for there being something to do."""

import asyncio


class Wake:
    """What `asyncio.Event` is for many waiters, for one: half the cost, which each frame of each reader pays."""

    __slots__ = ("_loop", "_waiter", "is_set")

    def __init__(self) -> None:
        self.is_set = False
        """Whether there is something to do."""
        self._waiter: asyncio.Future[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def set(self) -> None:
        """There is something to do; remembered until `clear`."""
        self.is_set = True
        waiter = self._waiter
        if waiter is not None:
            self._waiter = None
            if not waiter.done():
                waiter.set_result(None)

    def clear(self) -> None:
        """What there was to do is done, or looked for after this."""
        self.is_set = False

    def wait(self) -> "asyncio.Future[None]":
        """To be awaited: until `set` is called, or was since `clear`. One task at a time."""
        assert self._waiter is None or self._waiter.done(), "one task waits at a time"
        loop = self._loop = self._loop or asyncio.get_running_loop()  # to ask for it each time is a call to the kernel
        waiter: asyncio.Future[None] = loop.create_future()
        if self.is_set:
            waiter.set_result(None)
        else:
            self._waiter = waiter
        return waiter

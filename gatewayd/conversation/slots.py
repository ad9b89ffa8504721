"""The bound of what one task begins and others end."""

from gatewayd.core.wake import Wake


class Slots:
    """So many places. What a semaphore is for many that wait, for one: without a coroutine where there is room."""

    __slots__ = ("_free", "_freed")

    def __init__(self, count: int) -> None:
        self._free = count
        self._freed: Wake | None = None

    @property
    def are_taken(self) -> bool:
        """Whether there is no room: then `freed` is to be awaited before `take`."""
        return self._free <= 0

    def take(self) -> None:
        """Take a place."""
        self._free -= 1

    def give_back(self) -> None:
        """A place is free again."""
        self._free += 1
        if self._freed is not None:
            self._freed.set()

    async def freed(self) -> None:
        """Wait until there is room. One task at a time."""
        while self._free <= 0:
            self._freed = self._freed or Wake()
            self._freed.clear()
            await self._freed.wait()

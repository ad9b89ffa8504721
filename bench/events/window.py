"""The window: the one definition of how much load every server gets.

At most `size` events are published and not yet delivered to every subscriber that is to get them. The publisher is held
by the slowest subscriber and by nothing else; acknowledgements count for nothing, since not every server has them.
With several publishers the window is that of all of them together.

Where filters give each subscriber a part only, the publisher repeats a cycle of events, and a subscriber with k events
of each cycle has got everything up to as many cycles as k goes into its count: a window is then held in whole cycles.
"""

import asyncio
from collections.abc import Callable, Sequence


class Window:
    """Counts what was published and what each subscriber has got; calls `pump` once in a turn when there is room."""

    def __init__(
        self, size: int, subscribers: int, pump: Callable[[], None], *, cycle: int = 1, shares: Sequence[int] = ()
    ) -> None:
        self.size = size
        self.published = 0
        self.counts = [0] * subscribers
        self.delivered = 0
        """Deliveries: one event to one subscriber."""
        self._pump = pump
        self._cycle = cycle
        self._shares = list(shares) or [1] * subscribers
        self._plain = cycle == 1
        self._progress = [0] * subscribers
        self._floor = 0
        self._at_floor = subscribers
        self._scheduled = False
        self._goal = 0
        self._drained: asyncio.Event | None = None

    @property
    def room(self) -> int:
        """Events that may be published now."""
        return self.size - (self.published - self._floor)

    def took(self, subscriber: int, events: int) -> None:
        """A subscriber has got so many more events."""
        self.delivered += events
        count = self.counts[subscriber] = self.counts[subscriber] + events
        progress = count if self._plain else count // self._shares[subscriber] * self._cycle
        before = self._progress[subscriber]
        if progress == before:
            return
        self._progress[subscriber] = progress
        if before != self._floor:
            return
        self._at_floor -= 1
        if self._at_floor:
            return
        self._floor = min(self._progress)
        self._at_floor = self._progress.count(self._floor)
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        self._pump()
        if self._drained is not None and self._floor >= max(self.published, self._goal):
            self._drained.set()

    async def drain(self, patience: float, goal: int = 0) -> bool:
        """Wait until `goal` events are published and all have arrived everywhere; whether that came in time."""
        self._drained, self._goal = asyncio.Event(), goal
        if self._floor >= max(self.published, goal):
            return True
        try:
            async with asyncio.timeout(patience):
                await self._drained.wait()
        except TimeoutError:
            return False
        return True

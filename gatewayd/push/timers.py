"""Things to do at an instant: one heap and one task for all of push, however many clients wait for something."""

import heapq
import itertools
from collections.abc import Callable

from gatewayd.core.clock import Clock

LONGEST_SLEEP = 0.5
"""Seconds: the most by which something falls due late that was put in while the task slept."""
SHORTEST_SLEEP = 0.01

Do = Callable[[], None]


class Timers:
    """What is put in cannot be taken out: whoever is called looks whether there is still something to do."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._heap: list[tuple[float, int, Do]] = []
        self._numbers = itertools.count()

    def at(self, when: float, do: Do) -> None:
        """Call it once `when` has come by the monotonic clock."""
        heapq.heappush(self._heap, (when, next(self._numbers), do))

    def __len__(self) -> int:
        return len(self._heap)

    def clear(self) -> None:
        """Nothing of it will be done."""
        self._heap.clear()

    def fire(self) -> None:
        """Do what is due."""
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            heapq.heappop(self._heap)[2]()

    async def run(self) -> None:
        """Do things when they are due, until cancelled."""
        while True:
            self.fire()
            wait = self._heap[0][0] - self._clock.monotonic() if self._heap else LONGEST_SLEEP
            await self._clock.sleep(min(max(wait, SHORTEST_SLEEP), LONGEST_SLEEP))

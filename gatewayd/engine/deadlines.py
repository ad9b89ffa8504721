"""The deadlines of the calls that have to wait: a heap, and one alarm for its earliest.

A call that ends in its first step never comes here. Calls that ended meanwhile are swept out when they are the greater
half of the heap, so it stays within twice what is in flight.
"""

import asyncio
import heapq
import math
from collections.abc import Callable

from gatewayd.core.clock import Clock
from gatewayd.engine.call import Call
from gatewayd.service import TaskSet

_TOLERATED = 64
"""Ended calls that are not worth a sweep."""


class Deadlines:
    """Cuts calls whose time has come."""

    def __init__(self, clock: Clock, expire: Callable[[Call], None]) -> None:
        self._clock = clock
        self._expire = expire
        self._heap: list[tuple[float, int, Call]] = []
        self._number = 0
        self._gone = 0
        self._alarm: asyncio.Task[None] | None = None
        self._rings_at = math.inf
        self._tasks: TaskSet | None = None

    def __len__(self) -> int:
        return len(self._heap)

    def attach(self, tasks: TaskSet) -> None:
        """Take these tasks from now on; an alarm of earlier ones is given up."""
        self._tasks = tasks
        self._rings_at = math.inf
        self._alarm = None

    def watch(self, call: Call) -> None:
        """From now on until `forget`."""
        self._number += 1
        call.watched = self._number
        heapq.heappush(self._heap, (call.deadline, self._number, call))
        if call.deadline < self._rings_at:
            self._plan()

    def again(self, call: Call) -> None:
        """Its deadline has changed, or is to be watched from now on."""
        if call.watched:
            self.forget(call)
        self.watch(call)

    def grant(self, call: Call, seconds: float) -> None:
        """It has so long from now, whatever was its deadline."""
        call.deadline = self._clock.monotonic() + seconds
        self.again(call)

    def forget(self, call: Call) -> None:
        """It has ended."""
        call.watched = 0
        self._gone += 1
        if self._gone > _TOLERATED and self._gone * 2 > len(self._heap):
            self._heap = [entry for entry in self._heap if entry[2].watched == entry[1]]
            heapq.heapify(self._heap)
            self._gone = 0

    def _plan(self) -> None:
        if not self._heap or self._tasks is None:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._rings_at = self._heap[0][0]
        self._alarm = self._tasks.start(self._ring(self._rings_at), name="deadlines")

    async def _ring(self, when: float) -> None:
        await self._clock.sleep(when - self._clock.monotonic())
        self._alarm = None
        self._rings_at = math.inf
        now = self._clock.monotonic()
        while self._heap and (self._heap[0][0] <= now or self._heap[0][2].watched != self._heap[0][1]):
            _, number, call = heapq.heappop(self._heap)
            if call.watched == number:
                call.watched = 0
                self._expire(call)
            else:
                self._gone -= 1
        self._plan()

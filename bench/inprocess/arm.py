"""What every arm does alike: take orders on standard input, measure, check, answer on standard output.

Runs in the environments of the peers too, so it needs the standard library and uvloop alone. An order is a line of
JSON `{"part", "count", "in_flight"}`; the answer is `{"seconds", "cpu", "handled"}`.
"""

import asyncio
import gc
import json
import sys
import time
from abc import ABC, abstractmethod

import uvloop

AGENTS = 100
"""Agents, or handlers, that get what is published."""


class Arm(ABC):
    """Something in one process that can be ordered to do some parts."""

    @abstractmethod
    async def start(self) -> None:
        """Make everything that the parts need."""

    @abstractmethod
    async def do(self, part: str, count: int, in_flight: int) -> int:
        """So many messages, so many of them under way at once; how many were handled."""

    @abstractmethod
    async def stop(self) -> None:
        """End."""


class EngineArm(Arm):
    """A message engine: one agent answers with the number in the message, `AGENTS` count what is published."""

    def __init__(self) -> None:
        self.heard = 0

    @abstractmethod
    async def send(self, number: int) -> int:
        """One call; what came back."""

    @abstractmethod
    async def publish(self, number: int) -> None:
        """One message to the listeners."""

    async def do(self, part: str, count: int, in_flight: int) -> int:
        return await (self._sending if part == "send" else self._publishing)(count, in_flight)

    async def _sending(self, count: int, in_flight: int) -> int:
        async def caller(first: int) -> None:
            for number in range(first, count, in_flight):
                if await self.send(number) != number:
                    raise AssertionError(f"call {number} got another reply")

        await asyncio.gather(*(caller(first) for first in range(in_flight)))
        return count

    async def _publishing(self, count: int, in_flight: int) -> int:
        """Done when every listener has heard every one."""
        before = self.heard
        for first in range(0, count, in_flight):
            batch = range(first, min(count, first + in_flight))
            for number in batch:
                await self.publish(number)
            while self.heard < before + batch.stop * AGENTS:
                await asyncio.sleep(0)
        return self.heard - before


class BusArm(Arm):
    """An event bus: `AGENTS` handlers count what is published; each must get every event once and in order."""

    def __init__(self) -> None:
        self._heard = [0] * AGENTS
        self._all = asyncio.Event()
        self._wanted = self._total = 0

    def hear(self, listener: int, number: int) -> None:
        """A handler got an event."""
        if number != self._heard[listener]:
            raise AssertionError(f"handler {listener} got event {number}, {self._heard[listener]} was next")
        self._heard[listener] += 1
        self._total += 1
        if self._total == self._wanted:
            self._all.set()

    @abstractmethod
    async def publish(self, first: int, count: int) -> None:
        """Publish events numbered from `first` on, as many at once as there are."""

    async def do(self, part: str, count: int, in_flight: int) -> int:  # noqa: ARG002
        before, first = self._total, self._heard[0]
        for start in range(0, count, in_flight):
            some = min(in_flight, count - start)
            self._wanted = self._total + some * AGENTS
            self._all.clear()
            await self.publish(first + start, some)
            await self._all.wait()
        return self._total - before


async def _serve(arm: Arm) -> None:
    await arm.start()
    gc.freeze()
    print(json.dumps({"ready": True}), flush=True)
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        handled = await arm.do(order["part"], order["count"], order["in_flight"])
        answer = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "handled": handled}
        print(json.dumps(answer), flush=True)
    await arm.stop()


def main(arm: Arm) -> None:
    """Serve orders until standard input ends."""
    uvloop.install()
    asyncio.run(_serve(arm))

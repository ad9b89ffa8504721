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
from collections.abc import Awaitable, Callable

import uvloop

AGENTS = 100
"""Agents that subscribe to the topic of the publishing part."""


class Arm(ABC):
    """One engine. Its agents answer `echo` with the number in the message and count what is published."""

    def __init__(self) -> None:
        self.heard = 0

    @abstractmethod
    async def start(self) -> None:
        """Register one agent that answers and `AGENTS` that listen, and make all of them."""

    @abstractmethod
    async def send(self, number: int) -> int:
        """One call; what came back."""

    @abstractmethod
    async def publish(self, number: int) -> None:
        """One message to the listeners."""

    @abstractmethod
    async def stop(self) -> None:
        """End."""


async def _sending(arm: Arm, count: int, in_flight: int) -> int:
    async def caller(first: int) -> None:
        for number in range(first, count, in_flight):
            if await arm.send(number) != number:
                raise AssertionError(f"call {number} got another reply")

    await asyncio.gather(*(caller(first) for first in range(in_flight)))
    return count


async def _publishing(arm: Arm, count: int, in_flight: int) -> int:
    """With so many messages under way at once; done when every listener has heard every one."""
    before = arm.heard
    for first in range(0, count, in_flight):
        batch = range(first, min(count, first + in_flight))
        for number in batch:
            await arm.publish(number)
        while arm.heard < before + batch.stop * AGENTS:
            await asyncio.sleep(0)
    return arm.heard - before


_PARTS: dict[str, Callable[[Arm, int, int], Awaitable[int]]] = {"send": _sending, "publish": _publishing}


async def _serve(arm: Arm) -> None:
    await arm.start()
    gc.freeze()
    print(json.dumps({"ready": True}), flush=True)
    while line := await asyncio.get_running_loop().run_in_executor(None, sys.stdin.readline):
        order = json.loads(line)
        gc.collect()
        wall, cpu = time.perf_counter(), time.process_time()
        handled = await _PARTS[order["part"]](arm, order["count"], order["in_flight"])
        answer = {"seconds": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "handled": handled}
        print(json.dumps(answer), flush=True)
    await arm.stop()


def main(arm: Arm) -> None:
    """Serve orders until standard input ends."""
    uvloop.install()
    asyncio.run(_serve(arm))

"""Hive's bus, by its published algorithm and written anew from the description of it; it has no package of its own.

An event goes into a history of the last thousand, a list that is cut to its end when it is too long. The subscriptions
are looked through one by one; the handlers of those that match run at once, at most ten in the whole bus, and the
publisher waits for all of them.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from bench.inprocess.arm import AGENTS, BusArm, main

_HISTORY = 1000
_AT_ONCE = 10


@dataclass
class Happening:
    """An event."""

    kind: str
    stream: str
    data: dict[str, Any]
    node: str | None = None
    execution: str | None = None
    when: float = field(default_factory=time.time)


@dataclass
class Interest:
    """A subscription: kinds, and filters of which an empty one is none."""

    kinds: frozenset[str]
    handler: Callable[[Happening], Awaitable[None]]
    stream: str | None = None
    node: str | None = None
    execution: str | None = None

    def wants(self, event: Happening) -> bool:
        """Whether it matches."""
        return (
            event.kind in self.kinds
            and (not self.stream or self.stream == event.stream)
            and (not self.node or self.node == event.node)
            and (not self.execution or self.execution == event.execution)
        )


class Hive(BusArm):
    """See `BusArm`, and the module's docstring."""

    async def start(self) -> None:
        self._history: list[Happening] = []
        self._interests: dict[str, Interest] = {}
        self._places = asyncio.Semaphore(_AT_ONCE)
        for number in range(AGENTS):
            self._interests[f"sub_{number}"] = Interest(frozenset({"custom"}), self._listener(number))

    def _listener(self, listener: int) -> Callable[[Happening], Awaitable[None]]:
        async def handle(event: Happening) -> None:
            self.hear(listener, event.data["number"])

        return handle

    async def _publish(self, event: Happening) -> None:
        self._history.append(event)
        if len(self._history) > _HISTORY:
            self._history = self._history[-_HISTORY:]
        handlers = [one.handler for one in self._interests.values() if one.wants(event)]

        async def run(handler: Callable[[Happening], Awaitable[None]]) -> None:
            async with self._places:
                await handler(event)

        await asyncio.gather(*(run(handler) for handler in handlers), return_exceptions=True)

    async def publish(self, first: int, count: int) -> None:
        events = [Happening("custom", "bench", {"number": number}) for number in range(first, first + count)]
        await asyncio.gather(*(self._publish(event) for event in events))

    async def stop(self) -> None:
        """Nothing to let go of."""


if __name__ == "__main__":
    main(Hive())

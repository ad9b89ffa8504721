"""Waiting between attempts, ids, and owning tasks."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from gatewayctl.system import Chance, Clock

_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = tuple(high + low for high in _ALPHABET for low in _ALPHABET)
_SHIFTS = tuple(range(120, -1, -10))
EASED = 3.2
"""Longest first step, in seconds, after a connection that was welcomed, however short it was."""


class Backoff:
    """Exponential, with jitter so that a thousand clients of a restarted daemon do not come back in one instant."""

    def __init__(self, chance: Chance, first: float = 0.1, most: float = 30.0) -> None:
        self._chance = chance
        self._first = first
        self._most = most
        self._attempts = 0

    def next(self, at_least: float | None = None) -> float:
        """Seconds to wait now: from half of the step to all of it, and never less than the daemon asked for."""
        step: float = min(self._most, self._first * (1 << min(self._attempts, 20)))
        self._attempts += 1
        wait = step * (0.5 + self._chance.fraction() / 2)
        return max(wait, at_least) + self._chance.fraction() * 0.1 * at_least if at_least else wait

    def ease(self) -> None:
        """Somebody is there who welcomed us: however long it took, the next step is at most `EASED` seconds."""
        while self._attempts and self._first * (1 << min(self._attempts, 20)) > EASED:
            self._attempts -= 1

    def reset(self) -> None:
        """The connection has proved good: begin small again."""
        self._attempts = 0


class Ids:
    """26 characters that sort by the time of their making, unique without asking anybody."""

    def __init__(self, clock: Clock, chance: Chance) -> None:
        self._clock = clock
        self._chance = chance

    def new(self) -> str:
        number = (int(self._clock.now() * 1000) << 80) | int.from_bytes(self._chance.token(10), "big")
        return "".join([_PAIRS[number >> shift & 1023] for shift in _SHIFTS])


class Tasks:
    """The tasks of one client: named, kept, and awaited at the end."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self, work: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def stop(self) -> None:
        """Cancel all and wait until they have ended."""
        tasks = [task for task in self._tasks if task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

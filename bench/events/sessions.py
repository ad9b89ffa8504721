"""The servers of one measurement, each with its connections, side by side."""

from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Self, TypeVar

from bench.events.arms import Arm
from bench.events.load import Session, Shape, session

_Found = TypeVar("_Found")


class Sessions:
    """Begins a server when it is measured. One that still works off a round is ended at once: it would be measured with
    the others."""

    def __init__(self, shape: Shape) -> None:
        self._shape = shape
        self._running: dict[str, tuple[Session, AsyncExitStack]] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        while self._running:
            await self._end(next(iter(self._running)))

    async def use(self, arm: Arm, work: Callable[[Session], Awaitable[_Found]]) -> _Found:
        """Have that arm's server do it, on a new one if it was ended."""
        if arm.name not in self._running:
            own = AsyncExitStack()
            self._running[arm.name] = await own.enter_async_context(session(arm, self._shape)), own
        current, _ = self._running[arm.name]
        try:
            return await work(current)
        finally:
            if current.dirty:
                await self._end(arm.name)

    async def _end(self, name: str) -> None:
        _, own = self._running.pop(name)
        await own.aclose()

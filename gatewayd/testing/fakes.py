"""Fakes for what the daemon cannot be tested with: time that waits, and models that answer as they please.

`FakeClock` stands still until `await clock.advance(seconds)`; then everything that falls due on the way happens in the
order of its instants, each with the loop given time to act on it. It moves nothing that waits for sockets or threads.
"""

import asyncio
import heapq
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, TypeVar

from gatewayd.core.clock import Clock, TimeIsOver
from gatewayd.core.value import value
from gatewayd.providers.base import Delta, Finished, FinishReason, ModelError, Prompt, Text, ToolCallPiece
from gatewayd.testing.fake_context import FakeContext as FakeContext  # noqa: PLC0414 (for those who look for it here)

EPOCH = 1_800_000_000.0
"""Wall time at which a `FakeClock` starts: 2027-01-15T08:00:00Z."""

_SETTLE_TURNS = 64
_T = TypeVar("_T")


@dataclass(order=True, slots=True)
class _Timer:
    when: float
    number: int
    fire: Callable[[], None] = field(compare=False)
    cancelled: bool = field(default=False, compare=False)


class FakeClock:
    """A `Clock` that a test moves. Wall and monotonic time go together; `jump` moves the wall alone."""

    def __init__(self, start: float = EPOCH) -> None:
        self._wall_offset = start
        self._monotonic = 0.0
        self._timers: list[_Timer] = []
        self._made = 0

    def now(self) -> float:
        return self._wall_offset + self._monotonic

    def monotonic(self) -> float:
        return self._monotonic

    async def sleep(self, seconds: float) -> None:
        if seconds <= 0:
            await asyncio.sleep(0)
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def fire() -> None:
            if not done.done():
                done.set_result(None)

        timer = self.call_after(seconds, fire)
        try:
            await done
        finally:
            timer.cancelled = True

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        return _FakeTimeout(self, seconds)

    @property
    def waiting(self) -> int:
        """Sleeps and timeouts that wait for this clock to move."""
        return sum(1 for timer in self._timers if not timer.cancelled)

    def jump(self, seconds: float) -> None:
        """Set the wall clock forward or back, as an administrator or NTP does; nothing falls due."""
        self._wall_offset += seconds

    async def advance(self, seconds: float) -> None:
        """Let that much time pass, and return when what fell due has had its turns of the loop."""
        end = self._monotonic + seconds
        await self.settle()
        while (timer := self._next()) is not None and timer.when <= end:
            heapq.heappop(self._timers)
            self._monotonic = max(self._monotonic, timer.when)
            timer.fire()
            await self.settle()
        self._monotonic = max(self._monotonic, end)
        await self.settle()

    async def run(self, work: Coroutine[Any, Any, _T], limit: float = 86_400.0) -> _T:
        """Await the work, and let time pass whenever it waits for time; `TimeoutError` after `limit` seconds."""
        task = asyncio.ensure_future(work)
        end = self._monotonic + limit
        try:
            while True:
                await self.settle()
                if task.done():
                    return task.result()
                timer = self._next()
                if timer is None:
                    # It waits for a socket or a thread: real time passes, this clock stands still.
                    await asyncio.sleep(0.001)
                elif timer.when > end:
                    raise TimeoutError(f"not done after {limit} virtual seconds")
                else:
                    await self.advance(timer.when - self._monotonic)
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def settle(self) -> None:
        """Give the loop enough turns that all that can go on without time passing has gone on."""
        for _ in range(_SETTLE_TURNS):
            await asyncio.sleep(0)

    def call_after(self, delay: float, fire: Callable[[], None]) -> _Timer:
        """Have something called when that much time has passed."""
        self._made += 1
        timer = _Timer(self._monotonic + delay, self._made, fire)
        heapq.heappush(self._timers, timer)
        return timer

    def _next(self) -> _Timer | None:
        while self._timers and self._timers[0].cancelled:
            heapq.heappop(self._timers)
        return self._timers[0] if self._timers else None


class _FakeTimeout:
    """asyncio's own timeout, which is told by the fake clock when its time has come."""

    def __init__(self, clock: FakeClock, seconds: float | None) -> None:
        self._clock = clock
        self._seconds = seconds
        self._inner = asyncio.timeout(None)
        self._timer: _Timer | None = None

    async def __aenter__(self) -> asyncio.Timeout:
        await self._inner.__aenter__()
        if self._seconds is not None:
            if self._seconds <= 0:
                self._expire()
            else:
                self._timer = self._clock.call_after(self._seconds, self._expire)
        return self._inner

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._timer is not None:
            self._timer.cancelled = True
        try:
            await self._inner.__aexit__(kind, error, trace)
        except TimeoutError:
            raise TimeIsOver from error

    def _expire(self) -> None:
        self._inner.reschedule(asyncio.get_running_loop().time())


class EvenRandomness:
    """Chance without surprise: `uniform` gives the middle, so jitter vanishes; tokens count up."""

    def __init__(self) -> None:
        self._count = 0

    def token(self, size: int) -> bytes:
        self._count += 1
        return self._count.to_bytes(size, "big")

    def uniform(self, low: float, high: float) -> float:
        return (low + high) / 2


@value(frozen=True, slots=True)
class Pause:
    """In a script: wait that many seconds of the clock."""

    seconds: float


Scripted = Delta | ModelError | Pause | Exception


class ScriptedProvider:
    """An `LLMProvider` that plays one script per call, in order, and keeps the prompts that it was given."""

    def __init__(self, *scripts: Sequence[Scripted], clock: Clock | None = None) -> None:
        self._scripts = list(scripts)
        self._clock = clock
        self.prompts: list[Prompt] = []
        self.loaded = 0
        self.closed = 0
        self.open_streams = 0

    def add(self, *script: Scripted) -> None:
        """One more call's script."""
        self._scripts.append(script)

    async def load(self) -> None:
        self.loaded += 1

    async def stream(self, prompt: Prompt) -> AsyncIterator[Delta]:
        self.prompts.append(prompt)
        if not self._scripts:
            raise AssertionError(f"call {len(self.prompts)} of the model has no script")
        script = self._scripts.pop(0)
        self.open_streams += 1
        try:
            for item in script:
                if isinstance(item, Pause):
                    if self._clock is None:
                        raise AssertionError("a script with a Pause needs a clock")
                    await self._clock.sleep(item.seconds)
                elif isinstance(item, Exception):
                    raise item
                else:
                    yield item
        finally:
            self.open_streams -= 1

    async def close(self) -> None:
        self.closed += 1


def says(*pieces: str) -> list[Scripted]:
    """A script that streams the pieces of an answer and finishes."""
    return [*(Text(piece) for piece in pieces), Finished(FinishReason.STOP)]


def calls(name: str, arguments: str = "{}", call_id: str = "call-1") -> list[Scripted]:
    """A script that asks for one tool call."""
    return [ToolCallPiece(0, call_id, name, arguments), Finished(FinishReason.TOOL_CALLS)]


async def collect(items: AsyncIterator[_T]) -> list[_T]:
    """Everything that an iterator gives."""
    return [item async for item in items]


async def until(condition: Callable[[], bool], turn: Callable[[], Awaitable[object]] | None = None) -> None:
    """Give the loop turns until the condition holds; fail after ten thousand.

    What waits for a socket or a thread needs time and not turns: after the first thousand each takes 5 ms.
    """
    for number in range(10_000):
        if condition():
            return
        await (turn() if turn else asyncio.sleep(0 if number < 1000 else 0.005))
    raise AssertionError("the condition did not come true")

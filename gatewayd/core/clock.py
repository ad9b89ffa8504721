"""Time and chance: the only module that may ask the machine for either.

Every part receives a `Clock` and a `Randomness` in its constructor, so that a test can move the first and seed
the second. Nothing else in gatewayd calls `time`, `datetime.now`, `random`, `secrets` or `uuid` (a test over the
syntax tree holds this).
"""

import asyncio
import random
import secrets
import time
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Protocol


class TimeIsOver(TimeoutError):
    """The limit of a `Clock.timeout` is over; a `TimeoutError` of another kind is that of whoever raised it."""


class Clock(Protocol):
    """What a part may know of time."""

    def now(self) -> float:
        """Wall time in seconds since the Unix epoch, UTC. It may jump; never use it for a timeout."""
        ...

    def monotonic(self) -> float:
        """Seconds that only grow; the zero has no meaning."""
        ...

    async def sleep(self, seconds: float) -> None:
        """Wait that long by the monotonic clock; zero or less yields one turn of the loop."""
        ...

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        """Raise `TimeIsOver` from the block when it takes longer; None means no limit."""
        ...


class Randomness(Protocol):
    """What a part may know of chance."""

    def token(self, size: int) -> bytes:
        """That many bytes fit for secrets and ids."""
        ...

    def uniform(self, low: float, high: float) -> float:
        """A number between the two, for jitter."""
        ...


class SystemClock:
    """The machine's clocks."""

    def now(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(max(0.0, seconds))

    def timeout(self, seconds: float | None) -> AbstractAsyncContextManager[object]:
        return _NO_LIMIT if seconds is None else _Limit(seconds)


class _Limit:
    """What `asyncio.timeout` does, for one that is never moved or asked: half the cost, of which each unit of work
    has half a dozen."""

    __slots__ = ("_alarm", "_before", "_expired", "_seconds", "_task")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._expired = False

    async def __aenter__(self) -> None:
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a time limit holds within a task")
        self._task = task
        self._before = task.cancelling()
        loop = asyncio.get_running_loop()
        late = self._seconds <= 0
        self._alarm = loop.call_soon(self._end) if late else loop.call_later(self._seconds, self._end)

    def _end(self) -> None:
        self._expired = True
        self._task.cancel()

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, _trace: object) -> None:
        self._alarm.cancel()
        # Another cancellation, from before or from within, is not ours to take back.
        if self._expired and self._task.uncancel() <= self._before and kind is asyncio.CancelledError:
            raise TimeIsOver from error


_NO_LIMIT: AbstractAsyncContextManager[object] = nullcontext()


class SystemRandomness:
    """The kernel's generator for tokens, Python's for jitter."""

    def __init__(self) -> None:
        self._jitter = random.Random()

    def token(self, size: int) -> bytes:
        return secrets.token_bytes(size)

    def uniform(self, low: float, high: float) -> float:
        return self._jitter.uniform(low, high)


class SeededRandomness:
    """The same chance on every run of one seed, for tests and simulations; never for secrets."""

    def __init__(self, seed: int) -> None:
        self._source = random.Random(seed)

    def token(self, size: int) -> bytes:
        return self._source.randbytes(size)

    def uniform(self, low: float, high: float) -> float:
        return self._source.uniform(low, high)


def jittered(delay: float, randomness: Randomness, spread: float = 0.25) -> float:
    """The delay, moved by up to `spread` of itself either way, so that many waiters do not wake as one."""
    return delay * randomness.uniform(1.0 - spread, 1.0 + spread)

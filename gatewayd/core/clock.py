"""Time and chance: the only module that may ask the machine for either.

Every part receives a `Clock` and a `Randomness` in its constructor, so that a test can move the first and seed
the second. Nothing else in gatewayd calls `time`, `datetime.now`, `random`, `secrets` or `uuid` (a test over the
syntax tree holds this).
"""

import asyncio
import random
import secrets
import time
from contextlib import AbstractAsyncContextManager
from typing import Protocol


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
        """Raise `TimeoutError` from the block when it takes longer; None means no limit."""
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
        return asyncio.timeout(seconds)


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

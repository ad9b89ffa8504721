"""How fast and how often: growing delays between tries, and a bucket of tokens for sending."""

from typing import Final

from gatewayd.core.clock import Clock, Randomness, jittered
from gatewayd.core.value import record

_GROWTH: Final = 1.8


class Backoff:
    """Delays in seconds that grow from `first` to `cap` by 1.8, each moved by chance."""

    def __init__(self, randomness: Randomness, *, first: float = 2.0, cap: float = 30.0) -> None:
        self._randomness = randomness
        self._first = first
        self._cap = cap
        self._next = first

    def delay(self, at_least: float = 0.0) -> float:
        """The next delay; never shorter than `at_least`, which is what the other side asked for."""
        delay, self._next = self._next, min(self._cap, self._next * _GROWTH)
        return max(jittered(delay, self._randomness), at_least)

    def reset(self) -> None:
        """All is well: start again from the first delay."""
        self._next = self._first

    def after(self, tries: int) -> float:
        """The delay after that many tries (1 and more), without keeping count."""
        grown = self._first * _GROWTH ** min(tries - 1, 40)
        return jittered(min(self._cap, grown), self._randomness)


@record(slots=True)
class TokenBucket:
    """At most `rate` a second, with a second's worth at once after a rest. The rate may change between calls."""

    clock: Clock
    _tokens: float = 0.0
    _filled: float = float("-inf")

    def available(self, rate: float, most: int) -> int:
        """How many of `most` may go now; a rate of 0 lets all go."""
        if rate <= 0:
            return most
        now = self.clock.monotonic()
        self._tokens = min(max(1.0, rate), self._tokens + (now - self._filled) * rate)
        self._filled = now
        return min(most, int(self._tokens + 1e-9))

    def take(self, count: int) -> None:
        """That many go; call after `available`."""
        self._tokens = max(0.0, self._tokens - count)

    def wait(self, rate: float) -> float:
        """Seconds until one more may go."""
        return 0.0 if rate <= 0 else max(0.0, (1.0 - self._tokens) / rate)

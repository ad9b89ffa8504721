"""A token bucket: so many per second, with a burst, in time that is passed in."""

from gatewayd.core.clock import Clock


class TokenBucket:
    """Allows `rate` per second on average and `burst` at once. A rate of 0 allows everything."""

    __slots__ = ("_burst", "_clock", "_last", "_rate", "_tokens")

    def __init__(self, clock: Clock, rate: float, burst: float) -> None:
        self._clock = clock
        self._rate = rate
        self._burst = max(burst, 1.0)
        self._tokens = self._burst
        self._last = clock.monotonic()

    def wait_for(self, count: float = 1.0) -> float:
        """Seconds until that many may pass; 0 takes them at once. More than a burst passes when the bucket is full."""
        if self._rate <= 0:
            return 0.0
        now = self._clock.monotonic()
        self._tokens = min(self._burst, self._tokens + (now - self._last) * self._rate)
        self._last = now
        needed = min(count, self._burst)
        if self._tokens >= needed:
            self._tokens -= count
            return 0.0
        return (needed - self._tokens) / self._rate

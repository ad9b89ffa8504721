"""How often one client may call, by whatever door."""

from collections import OrderedDict
from collections.abc import Callable

from gatewayd.config.model import LimitsSection
from gatewayd.core.clock import Clock
from gatewayd.core.errors import LimitExceeded
from gatewayd.core.rate import TokenBucket

MAX_CLIENTS = 10_000
"""Clients whose rates are remembered; beyond it the one that asked longest ago begins anew."""


class Rates:
    """The rates of `gateway.limits` for calls, and for the frame `trigger`; per client and kind."""

    def __init__(self, limits: Callable[[], LimitsSection], clock: Clock) -> None:
        self._limits = limits
        self._clock = clock
        self._buckets: OrderedDict[tuple[str, str, float], TokenBucket] = OrderedDict()

    def publish(self, client: str, events: int) -> None:
        """Raise `LimitExceeded` when that many events would be too fast."""
        self._take("publish_rate", client, self._limits().publish_rate, events)

    def send(self, client: str) -> None:
        """Raise `LimitExceeded` when one more message would be too fast."""
        self._take("send_rate", client, self._limits().send_rate, 1)

    def _take(self, name: str, client: str, rate: float, count: int) -> None:
        if rate <= 0:
            return
        key = (name, client, rate)
        bucket = self._buckets.pop(key, None) or TokenBucket(self._clock, rate, rate)
        self._buckets[key] = bucket
        while len(self._buckets) > MAX_CLIENTS:
            self._buckets.popitem(last=False)
        wait = bucket.wait_for(count)
        if wait > 0:
            limit = f"limits.{name}"
            raise LimitExceeded(f"too fast: gateway.{limit}", metadata={"limit": limit}, retry_after=wait)

"""Why a request of a connection is not even begun."""

from collections.abc import Callable

from gatewayd.config.model import GatewaySection
from gatewayd.core.clock import Clock
from gatewayd.core.errors import InvalidArgument, LimitExceeded
from gatewayd.core.rate import TokenBucket
from gatewayd.wire.values import refuse


def taken(request_id: str) -> InvalidArgument:
    """Two open requests under one id: nobody could tell their answers apart, so the first one keeps it."""
    return refuse("request_id", f"{request_id!r} names a request that is not answered yet")


class ConnectionRates:
    """How fast one connection may publish and send. A bucket is made when it is first asked for, as it is set then."""

    __slots__ = ("_clock", "_publish", "_send", "_settings")

    def __init__(self, clock: Clock, settings: Callable[[], GatewaySection]) -> None:
        self._clock = clock
        self._settings = settings
        self._publish: TokenBucket | None = None
        self._send: TokenBucket | None = None

    def check_publish(self, count: int) -> None:
        """So many events; `LimitExceeded` with the time until they fit."""
        if self._publish is None:
            self._publish = self._full(self._settings().limits.publish_rate)
        _check(self._publish, count, "limits.publish_rate")

    def check_send(self) -> None:
        """One message; `LimitExceeded` with the time until it fits."""
        if self._send is None:
            self._send = self._full(self._settings().limits.send_rate)
        _check(self._send, 1, "limits.send_rate")

    def _full(self, rate: float) -> TokenBucket:
        return TokenBucket(self._clock, rate, rate)


def _check(bucket: TokenBucket, count: int, name: str) -> None:
    """Take `count` from the bucket of the setting `name`, or raise `LimitExceeded` with the time until they fit."""
    wait = bucket.wait_for(count)
    if wait > 0:
        raise LimitExceeded(f"too fast: gateway.{name}", metadata={"limit": name}, retry_after=wait)

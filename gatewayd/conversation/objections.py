"""Why a request of a connection is not even begun."""

from gatewayd.core.errors import InvalidArgument, LimitExceeded
from gatewayd.core.rate import TokenBucket
from gatewayd.wire.values import refuse


def taken(request_id: str) -> InvalidArgument:
    """Two open requests under one id: nobody could tell their answers apart, so the first one keeps it."""
    return refuse("request_id", f"{request_id!r} names a request that is not answered yet")


def check_rate(bucket: TokenBucket, count: int, name: str) -> None:
    """Take `count` from the bucket of the setting `name`, or raise `LimitExceeded` with the time until they fit."""
    wait = bucket.wait_for(count)
    if wait > 0:
        raise LimitExceeded(f"too fast: gateway.{name}", metadata={"limit": name}, retry_after=wait)

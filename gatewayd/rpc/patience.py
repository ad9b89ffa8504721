"""How long a unary call may take, and how often one client may make it."""

from gatewayd.access.rates import Rates
from gatewayd.rpc.guard import Context

__all__ = ["Rates", "time_left"]

_MARGIN = 0.5
_SHARE = 0.1


def time_left(context: Context) -> float | None:
    """Seconds in which an answer still reaches the caller; None for a call without a deadline.

    A tenth, at most half a second, is kept for the way: an answer at the deadline itself would never arrive.
    """
    remaining = context.time_remaining()
    return None if remaining is None else max(0.001, remaining - min(_MARGIN, remaining * _SHARE))

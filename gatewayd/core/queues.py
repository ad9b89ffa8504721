"""How much waits for a reader of events, as an operator sees it."""

from enum import StrEnum

from gatewayd.core.frames import Overflow
from gatewayd.core.value import value


class QueueState(StrEnum):
    """How a queue is doing."""

    LIVE = "live"
    CATCHING_UP = "catching_up"
    """It is still read from the log."""
    SLOW = "slow"
    """Half of what may wait, or more, does."""
    ENDED = "ended"
    """It was cut, and its reader has yet to be told."""
    AWAY = "away"
    """Its client is away."""


@value(frozen=True, slots=True)
class QueueReport:
    """What waits for one subscription of a client."""

    subscription_id: str
    """'' for what is addressed to the client itself."""
    state: QueueState
    overflow: Overflow
    limit_bytes: int
    queued_bytes: int
    queued_events: int
    oldest: float
    """When the oldest event that waits was published, Unix seconds; 0 if none waits."""
    behind: int
    """Durable events of the log behind the last that it has taken, those that it does not select included."""
    dropped: int


def state_of(*, ended: bool, live: bool, queued_bytes: int, limit_bytes: int) -> QueueState:
    """The state of a queue whose client is connected."""
    if ended:
        return QueueState.ENDED
    if not live:
        return QueueState.CATCHING_UP
    return QueueState.SLOW if queued_bytes * 2 >= limit_bytes else QueueState.LIVE

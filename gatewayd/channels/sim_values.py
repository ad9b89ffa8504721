"""What a chat network and a bot of the platform `sim` tell each other, and the ways in which it can fail."""

from typing import Final

from gatewayd.core.value import value

FAULTS: Final = (
    "conflict",
    "rate_limit",
    "duplicates",
    "reorder",
    "disconnects",
    "disconnects_sending",
    "slow",
    "reject",
    "auth",
    "unavailable",
)
"""The faults that can be planned; `SimSettings` and `docs` say what each does."""

ALWAYS: Final = 1_000_000_000
"""A count that no run uses up."""


@value(frozen=True, slots=True)
class Update:
    """What a user said, as the platform tells it to the bot."""

    id: str
    chat: str
    peer: str
    text: str
    context: str = "dm"
    time: float = 0.0
    thread: str = ""
    mentioned: bool = False


@value(frozen=True, slots=True)
class Sending:
    """What a bot says."""

    key: str
    chat: str
    text: str
    thread: str = ""
    quote: str = ""
    idempotent: bool = False
    """Whether a repeated key is recognised."""


@value(frozen=True, slots=True)
class Sent:
    """A message that the platform took; `number` counts all of them from 1."""

    number: int
    id: str
    key: str
    chat: str
    text: str
    time: float
    thread: str = ""
    quote: str = ""


class SimRefused(Exception):
    """The platform answers with an error status."""

    def __init__(self, status: int, reason: str, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.status = status
        self.reason = reason
        self.retry_after = retry_after


class SimCut(ConnectionError):
    """The connection broke; what was asked may have been done or not."""


class SimUnreachable(SimCut):
    """There was no connection to ask through: nothing was done."""

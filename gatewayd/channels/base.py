"""The contract of a channel adapter: in the main two methods, `run` and `send`, and verdicts as exceptions.

**Life.** `run(inbox, pulse)` connects, calls `pulse.ready()`, and hands every message to `inbox` until it is cancelled.
`inbox` returns when the message is on disk: only then may the adapter acknowledge it to the platform. If `inbox`
raises, the message was *not* taken: do not acknowledge it, raise `ChannelUnavailable` and let the platform redeliver.

**Verdicts of `run`.** Return: finished, STOPPED. `ChannelUnavailable`: try again (RETRYING, with back-off and jitter).
`ChannelConflict`: another owner of the token is connected; retried once that one is surely gone. `ChannelAuthError`:
FAILED until a human changes something. Any other exception: a bug; its traceback is logged, RETRYING, counted.
The adapter never sleeps-and-retries itself.

**Verdicts of `send`.** Return: sent, with the platform's id. `ChannelUnavailable` (or its subclass `RateLimited`): it
was certainly not sent, another try may work. `SendRejected`: the platform will never take it. Anything else, a
cancellation included: nobody knows whether it was sent; the outbox decides by `idempotent_send` and the channel's
`ambiguous` policy. `send` is called for one message at a time per chat, in order.

**Reach.** An adapter sees its own settings and what `ChannelIO` holds. Never other channels, the bus, the store or the
router.
"""

from collections.abc import Awaitable, Callable
from enum import StrEnum
from typing import Any, ClassVar, Protocol

from gatewayd.core.clock import Clock, Randomness
from gatewayd.core.message import InboundMessage, OutboundMessage
from gatewayd.core.value import value


class ChannelUnavailable(Exception):
    """The platform cannot be reached now, or asks to wait."""

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        """Seconds, where the platform says."""


class RateLimited(ChannelUnavailable):
    """The platform asks to slow down."""


class ChannelConflict(ChannelUnavailable):
    """Another connection uses the same token (Telegram's 409)."""


class ChannelAuthError(Exception):
    """The credentials are refused; the text says what a human must do."""


class SendRejected(Exception):
    """The platform refuses this message for good; the text is the reason."""


class ChannelState(StrEnum):
    """Where a channel is; `FAILED` waits for a human."""

    STARTING = "starting"
    READY = "ready"
    DEGRADED = "degraded"
    RETRYING = "retrying"
    FAILED = "failed"
    PAUSED = "paused"
    STOPPED = "stopped"


class Handover(StrEnum):
    """How an adapter is replaced when its connection settings change."""

    OVERLAP = "overlap"
    """The new one connects before the old one leaves."""
    EXCLUSIVE = "exclusive"
    """The platform allows one connection per token: the old one leaves first."""


@value(frozen=True, slots=True)
class Capabilities:
    """What the platform can do."""

    max_message_length: int
    """Characters (grapheme clusters count as their code points) of one message."""
    messages_per_second: float
    """Sending rate that the platform bears, per channel; 0 means no limit is known."""
    idempotent_send: bool = False
    """Whether a repeated `OutboundMessage.key` is recognised, so that a resend cannot be seen twice."""
    handover: Handover = Handover.OVERLAP
    transport_timeout: float = 90.0
    """Seconds without any transport frame after which the connection counts as stale."""
    conflict_wait: float = 60.0
    """Seconds after which another connection with the same token has surely let go: longer than the platform's poll."""


class Pulse(Protocol):
    """How an adapter tells that it lives. Three clocks: frames, heartbeats, messages (the last read at the inbox)."""

    def ready(self, account: str = "") -> None:
        """Connected and receiving; `account` is the bot's identity on the platform."""
        ...

    def frame(self) -> None:
        """Anything at all came from the transport: a ping, an empty poll."""
        ...

    def heartbeat(self) -> None:
        """The platform itself confirmed that this connection is alive."""
        ...


@value(frozen=True, slots=True)
class ChannelIO:
    """What every adapter is built with."""

    clock: Clock
    randomness: Randomness
    deliver_local: Callable[[OutboundMessage], Awaitable[str]]
    """For the platform `local` alone: hands a message to the clients of this gateway and returns its id.

    A repeated `key` is the same message: its clients see it once.
    """


Inbox = Callable[[InboundMessage], Awaitable[None]]
"""Takes a message in; returns at commit. Raises `GatewayError` when it was not taken."""


class ChannelAdapter(Protocol):
    """One connection to one platform account."""

    Settings: ClassVar[type[Any]]
    """The `Section` of the connection settings: every key of the channel that gatewayd does not own itself."""

    def __init__(self, name: str, settings: Any, io: ChannelIO) -> None: ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def check(self) -> None:
        """Verify the credentials without taking over the connection; called before a changed channel is committed.

        Raises `ChannelAuthError` when they are refused; `ChannelUnavailable` means nothing.
        """
        ...

    async def run(self, inbox: Inbox, pulse: Pulse) -> None:
        """Receive until cancelled. See the module's docstring."""
        ...

    async def send(self, message: OutboundMessage) -> str:
        """Send one piece and return the platform's id for it. See the module's docstring.

        It also works while `run` is over: what is queued is sent after the channel has stopped receiving.
        """
        ...

    async def close(self) -> None:
        """Release what `send` holds; called once, after the last `run` and the last `send`."""
        ...


AdapterFactory = Callable[[str, Any, ChannelIO], ChannelAdapter]
"""Makes the adapter of a channel: its name, its settings, its means. The class itself is one."""


@value(frozen=True, slots=True)
class ChannelStatus:
    """One channel as an operator sees it. Times are Unix seconds, 0 for never."""

    name: str
    platform: str
    state: ChannelState
    reason: str
    account: str
    since: float
    retry_time: float
    last_frame: float
    last_heartbeat: float
    last_message: float
    restarts: int
    queued: int
    """Pieces that wait in the outbox."""
    messages_in: int = 0
    """Messages taken since the daemon started."""
    messages_out: int = 0
    """Pieces sent since the daemon started."""


__all__ = [
    "AdapterFactory",
    "Capabilities",
    "ChannelAdapter",
    "ChannelAuthError",
    "ChannelConflict",
    "ChannelIO",
    "ChannelState",
    "ChannelStatus",
    "ChannelUnavailable",
    "Handover",
    "Inbox",
    "Pulse",
    "RateLimited",
    "SendRejected",
]

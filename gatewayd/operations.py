"""What an operator may ask of the daemon, as one protocol: implemented by the daemon, used by the doors.

The values are what an operator sees; the doors only translate them.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from gatewayd.agents.registry import AgentKind
from gatewayd.channels.base import ChannelStatus
from gatewayd.core.message import ChatContext
from gatewayd.core.queues import QueueReport
from gatewayd.core.value import value
from gatewayd.routing.table import RouteExplanation


class DaemonState(StrEnum):
    """What the daemon as a whole is doing."""

    STARTING = "starting"
    SERVING = "serving"
    DRAINING = "draining"
    DEGRADED = "degraded"
    """It serves, but something that the configuration asks for does not: `StatusReport.degraded` says what."""


class CheckKind(StrEnum):
    """What can be tried out."""

    STORE = "store"
    DISK = "disk"
    LOOP = "loop"
    BUS = "bus"
    CONFIGURATION = "configuration"
    EXECUTIONS = "executions"
    AGENTS = "agents"
    CHANNELS = "channels"
    HTTP = "http"


class CheckState(StrEnum):
    """What came of it."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    """It works, but not as it should."""
    BROKEN = "broken"


@value(frozen=True, slots=True)
class CheckReport:
    """One part that was tried out."""

    kind: CheckKind
    name: str
    """Of the agent, channel or webhook; '' for what there is one of."""
    state: CheckState
    summary: str
    duration: float
    """Seconds."""


@value(frozen=True, slots=True)
class LastReload:
    """The newest reload, the one at the start included. `error` is '' when it was applied."""

    time: float
    ok: bool
    error: str = ""


@value(frozen=True, slots=True)
class WebhookReport:
    """One webhook, with what became of the requests to it since the listener was opened."""

    source_id: str
    path: str
    accepted: int
    duplicates: int
    refused: int
    put_off: int
    """Told to come again."""
    reason: str
    """Why it is not served; '' when it is."""


@value(frozen=True, slots=True)
class StatusReport:
    """`gatewayctl status`. Times are Unix seconds."""

    pid: int
    version: str
    state: DaemonState
    start_time: float
    uptime: float
    config_digest: str
    config_path: str
    last_reload: LastReload
    connections: int = 0
    max_connections: int = 0
    subscriptions: int = 0
    agents_available: int = 0
    agents_unavailable: int = 0
    sessions: int = 0
    busy_sessions: int = 0
    executions: Mapping[str, int] | None = None
    """By state; queued and running are those of now, the others are counted since the start."""
    channels: tuple[ChannelStatus, ...] = ()
    degraded: tuple[str, ...] = ()
    webhooks: tuple[WebhookReport, ...] = ()


@value(frozen=True, slots=True)
class AgentReport:
    """One agent. `reason` is '' while it is available."""

    id: str
    model: str
    fallback_models: tuple[str, ...]
    tools: tuple[str, ...]
    role: str
    greeting: str
    reason: str
    running: int
    queued: int
    kind: AgentKind = AgentKind.MODEL
    workers: int = 0
    """Programs that take its calls now."""


@value(frozen=True, slots=True)
class ClientReport:
    """One client that is connected, or expected back."""

    client_id: str
    """Empty until it has said hello."""
    principal: str
    peer: str
    version: str
    connected: float
    active: float
    subscriptions: int
    delivered: int
    pending_replies: int
    queues: tuple[QueueReport, ...]
    away: bool = False
    """Whether its connection is lost and what belongs to it is held for its return; `active` says since when."""


@value(frozen=True, slots=True)
class ReloadReport:
    """What a reload did, or would do. Paths are dotted paths in gateway.yaml."""

    applied: bool
    digest: str
    previous_digest: str
    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[str, ...]
    restart_required: tuple[str, ...]
    warnings: tuple[str, ...]
    time: float


class Operations(Protocol):
    """See the module's docstring."""

    def status(self, *, daemon_only: bool) -> StatusReport:
        """`daemon_only` answers from memory alone and touches neither channels nor the store."""
        ...

    async def check(self, kinds: Sequence[CheckKind]) -> list[CheckReport]:
        """Try out every part of these kinds, each within a bound of time."""
        ...

    def channels(self) -> list[ChannelStatus]: ...

    def routing(self, channel: str) -> Mapping[str, str]:
        """The channel's rules: context (or `default`) → agent."""
        ...

    def agents(self) -> list[AgentReport]: ...

    def clients(self) -> list[ClientReport]: ...

    def explain_route(self, channel: str, context: ChatContext, peer: str) -> RouteExplanation:
        """Raises `ChannelNotFound`."""
        ...

    async def reload(self, *, validate_only: bool, expected_digest: str, actor: str) -> ReloadReport:
        """Read the configuration again. Raises `ConfigInvalid`, `ConfigChanged`, `RestartRequired`, `ReloadFailed`."""
        ...

    async def revoke_token(self, subject: str, actor: str) -> tuple[tuple[str, ...], int]:
        """By client id or SHA-256; the digests, and how many connections that ended. Raises `NotFound`."""
        ...

    async def retry_dead_letter(self, letter_id: str, actor: str) -> str:
        """The id of its message. Raises `NotFound`."""
        ...

"""The daemon's side of `Operations`: what an operator asks, answered from the parts that know."""

import os
from collections.abc import Callable, Mapping, Sequence

import gatewayd
from gatewayd.access.audit import Audit
from gatewayd.access.authenticator import Authenticator
from gatewayd.agents.registry import AgentRegistry
from gatewayd.bus.base import EventBus
from gatewayd.channels.base import ChannelState, ChannelStatus
from gatewayd.channels.manager import ChannelManager
from gatewayd.conversation.directory import AWAY_BYTES
from gatewayd.conversation.hub import ConversationHub
from gatewayd.core.clock import Clock
from gatewayd.core.errors import GatewayError
from gatewayd.core.message import ChatContext
from gatewayd.daemon.checks import Checks
from gatewayd.daemon.reload import Reloader
from gatewayd.operations import (
    AgentReport,
    CheckKind,
    CheckReport,
    ClientReport,
    DaemonState,
    ReloadReport,
    StatusReport,
    WebhookReport,
)
from gatewayd.routing.router import Router
from gatewayd.routing.table import RouteExplanation, explain
from gatewayd.runtime.runtime import AgentRuntime
from gatewayd.sessions import SessionManager
from gatewayd.storage.base import Store
from gatewayd.storage.records import StoreHealth

_WELL = (ChannelState.READY, ChannelState.STARTING, ChannelState.PAUSED, ChannelState.STOPPED)


class Operator:
    """See `gatewayd.operations.Operations`."""

    def __init__(
        self,
        *,
        reloader: Reloader,
        config_path: str,
        agents: AgentRegistry,
        authenticator: Authenticator,
        audit: Audit,
        bus: EventBus,
        channels: ChannelManager,
        clock: Clock,
        hub: ConversationHub,
        router: Router,
        runtime: AgentRuntime,
        sessions: SessionManager,
        store: Store,
        waiting: Callable[[], Mapping[str, int]],
        webhooks: Callable[[], Sequence[WebhookReport]],
        draining: Callable[[], bool],
        checks: Checks,
    ) -> None:
        self._reloader = reloader
        self._config_path = config_path
        self._agents = agents
        self._authenticator = authenticator
        self._audit = audit
        self._bus = bus
        self._channels = channels
        self._clock = clock
        self._hub = hub
        self._router = router
        self._runtime = runtime
        self._sessions = sessions
        self._store = store
        self._waiting = waiting
        """Answers that nobody sends now, by channel."""
        self._webhooks = webhooks
        self._draining = draining
        self._checks = checks
        self._started = clock.now()
        self._began = clock.monotonic()

    def status(self, *, daemon_only: bool) -> StatusReport:
        running = self._reloader.running
        assert running is not None, "asked for the status before the start had ended"
        degraded = () if daemon_only else self.degraded()
        report = StatusReport(
            pid=os.getpid(),
            version=gatewayd.__version__,
            state=self._state(bool(degraded)),
            start_time=self._started,
            uptime=self._clock.monotonic() - self._began,
            config_digest=running.loaded.digest,
            config_path=self._config_path,
            last_reload=running.last,
        )
        return report if daemon_only else self._in_full(report, degraded)

    def _in_full(self, report: StatusReport, degraded: tuple[str, ...]) -> StatusReport:
        agents = self._agents.describe()
        unavailable = sum(1 for one in agents if one.unavailable)
        return StatusReport(
            pid=report.pid,
            version=report.version,
            state=report.state,
            start_time=report.start_time,
            uptime=report.uptime,
            config_digest=report.config_digest,
            config_path=report.config_path,
            last_reload=report.last_reload,
            connections=self._hub.count,
            max_connections=self._reloader.config.gateway.max_connections,
            subscriptions=self._bus.stats().subscriptions,
            agents_available=len(agents) - unavailable,
            agents_unavailable=unavailable,
            sessions=self._sessions.active_count,
            busy_sessions=self._runtime.lanes.busy,
            executions=self._runtime.counts(),
            channels=tuple(self._channels.statuses()),
            degraded=degraded,
            webhooks=tuple(self._webhooks()),
        )

    def degraded(self) -> tuple[str, ...]:
        """One sentence for each thing that the configuration asks for and that does not serve now."""
        said = [f"agent {one.name}: {one.unavailable}" for one in self._agents.describe() if one.unavailable]
        said += [
            f"channel {one.name} is {one.state.value}: {one.reason}"
            for one in self._channels.statuses()
            if one.state not in _WELL
        ]
        said += [f"webhook {one.source_id}: {one.reason}" for one in self._webhooks() if one.reason]
        configured = self._reloader.config.channels
        said += [
            f"{count} {'answers wait' if count > 1 else 'answer waits'} for channel {name}, which is not configured"
            for name, count in self._waiting().items()
            if name not in configured
        ]
        if self._store.health is not StoreHealth.OK:
            said.append(f"the store is {self._store.health.value}")
        return tuple(said)

    def _state(self, degraded: bool) -> DaemonState:
        if self._draining():
            return DaemonState.DRAINING
        return DaemonState.DEGRADED if degraded else DaemonState.SERVING

    async def check(self, kinds: Sequence[CheckKind]) -> list[CheckReport]:
        return await self._checks.run(kinds)

    def channels(self) -> list[ChannelStatus]:
        return list(self._channels.statuses())

    def routing(self, channel: str) -> Mapping[str, str]:
        section = self._reloader.config.channels.get(channel)
        return dict(section.routing) if section is not None else {}

    def agents(self) -> list[AgentReport]:
        sections = self._reloader.config.agents
        loads = self._runtime.per_agent()
        return [
            AgentReport(
                id=one.name,
                model=one.models[0] if one.models else "",
                fallback_models=one.models[1:],
                tools=one.tools,
                role=sections[one.name].role,
                greeting=one.greeting,
                reason=one.unavailable,
                running=loads[one.name].running,
                queued=loads[one.name].queued,
                kind=one.kind,
                workers=self._agents.workers.serving(one.name),
            )
            for one in self._agents.describe()
        ]

    def clients(self) -> list[ClientReport]:
        limit = self._reloader.config.gateway.limits.queue_bytes
        here = [
            ClientReport(
                client_id=one.client_id,
                principal=one.principal.id,
                peer=one.peer,
                version=one.client_version,
                connected=one.opened,
                active=one.active,
                subscriptions=len(one.subscriptions),
                delivered=one.delivered,
                pending_replies=one.pending_replies,
                queues=tuple(one.subscriptions.queues(limit)),
            )
            for one in self._hub.everyone()
        ]
        away = [
            ClientReport(
                client_id=one.client_id,
                principal=one.principal,
                peer="",
                version=one.left.version,
                connected=one.left.opened,
                active=one.left.since,
                subscriptions=len(one.left.lost),
                delivered=0,
                pending_replies=len(one.left.waiting),
                queues=(one.inbox.report(AWAY_BYTES, away=True),),
                away=True,
            )
            for one in self._hub.away()
            if one.left is not None
        ]
        return [*here, *away]

    def explain_route(self, channel: str, context: ChatContext, peer: str) -> RouteExplanation:
        return explain(self._reloader.config.channels, channel, context, peer)

    async def reload(self, *, validate_only: bool, expected_digest: str, actor: str) -> ReloadReport:
        try:
            report = await self._reloader.reload(validate_only=validate_only, expected_digest=expected_digest)
        except GatewayError as error:
            if not validate_only:
                self._audit.record(principal=actor, action="reload", decision="refused", detail=error.reason)
            raise
        if not validate_only:
            self._audit.record(principal=actor, action="reload", subject=report.digest, decision="applied")
        return report

    async def revoke_token(self, subject: str, actor: str) -> tuple[tuple[str, ...], int]:
        before = self._hub.count_of(subject)
        digests = await self._authenticator.revoke(subject, by=actor)
        return digests, before

    async def retry_dead_letter(self, letter_id: str, actor: str) -> str:
        message_id = await self._router.retry_dead_letter(letter_id, actor)
        self._audit.record(principal=actor, action="retry_dead_letter", subject=letter_id, decision="retried")
        return message_id

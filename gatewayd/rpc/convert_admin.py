"""What an operator sees of the daemon, its parts and its configuration → messages of `gateway.v1`."""

from collections.abc import Mapping, Sequence

from gateway.v1 import admin_service_pb2, channel_pb2, event_service_pb2, status_pb2

from gatewayd.agents.registry import AgentKind
from gatewayd.channels.base import ChannelState, ChannelStatus
from gatewayd.core.frames import Overflow
from gatewayd.core.queues import QueueReport, QueueState
from gatewayd.core.work import ExecutionState
from gatewayd.operations import (
    AgentReport,
    CheckKind,
    CheckReport,
    CheckState,
    ClientReport,
    DaemonState,
    ReloadReport,
    StatusReport,
)
from gatewayd.routing.table import RouteExplanation
from gatewayd.rpc.convert import instant
from gatewayd.wire.values import refuse, valid_text

_DAEMON = {state: status_pb2.DaemonState.Value(f"DAEMON_STATE_{state.name}") for state in DaemonState}
_AGENT = {kind: admin_service_pb2.AgentKind.Value(f"AGENT_KIND_{kind.name}") for kind in AgentKind}
_QUEUE = {state: admin_service_pb2.ClientQueueState.Value(f"CLIENT_QUEUE_STATE_{state.name}") for state in QueueState}
_OVERFLOW = {policy: event_service_pb2.Overflow.Value(f"OVERFLOW_{policy.name}") for policy in Overflow}
_CHECK = {kind: admin_service_pb2.CheckKind.Value(f"CHECK_KIND_{kind.name}") for kind in CheckKind}
_CHECK_BACK = {number: kind for kind, number in _CHECK.items()}
_CHECKED = {state: admin_service_pb2.CheckState.Value(f"CHECK_STATE_{state.name}") for state in CheckState}
_CHANNEL = {state: status_pb2.ChannelState.Value(f"CHANNEL_STATE_{state.name}") for state in ChannelState}


def status_message(report: StatusReport, *, daemon_only: bool) -> status_pb2.GetStatusResponse:
    """How the daemon is."""
    last = report.last_reload
    outcome = status_pb2.ReloadOutcome(time=last.time, ok=last.ok, error=valid_text(last.error))
    status = status_pb2.GetStatusResponse(
        pid=report.pid,
        version=report.version,
        state=_DAEMON[report.state],
        start_time=report.start_time,
        uptime=report.uptime,
        config_digest=report.config_digest,
        last_reload=outcome if last.time else None,
    )
    if not daemon_only:
        _fill_parts(status, report)
    return status


def _fill_parts(status: status_pb2.GetStatusResponse, report: StatusReport) -> None:
    counts = report.executions or {}
    status.connections.open = report.connections
    status.connections.limit = report.max_connections
    status.connections.subscriptions = report.subscriptions
    status.agents.available = report.agents_available
    status.agents.unavailable = report.agents_unavailable
    status.sessions.open = report.sessions
    status.sessions.busy = report.busy_sessions
    status.executions.MergeFrom(
        status_pb2.ExecutionCounts(**{state.value: counts.get(state.value, 0) for state in ExecutionState})
    )
    for channel in sorted(report.channels, key=lambda one: one.name):
        status.channels.add(
            name=channel.name,
            platform=channel.platform,
            state=_CHANNEL[channel.state],
            reason=valid_text(channel.reason),
        )
    for hook in sorted(report.webhooks, key=lambda one: one.source_id):
        status.webhooks.add(
            source_id=hook.source_id,
            path=hook.path,
            accepted=hook.accepted,
            duplicates=hook.duplicates,
            refused=hook.refused,
            put_off=hook.put_off,
            reason=valid_text(hook.reason),
        )
    status.degraded.extend(map(valid_text, report.degraded))
    status.config_path = valid_text(report.config_path)


def channel_message(status: ChannelStatus, routing: Mapping[str, str], dead_letters: int) -> channel_pb2.Channel:
    """One channel with its three clocks."""
    return channel_pb2.Channel(
        name=status.name,
        platform=status.platform,
        state=_CHANNEL[status.state],
        reason=valid_text(status.reason),
        state_time=instant(status.since),
        retry_time=instant(status.retry_time) if status.state is ChannelState.RETRYING else None,
        last_transport_time=instant(status.last_frame),
        last_heartbeat_time=instant(status.last_heartbeat),
        last_message_time=instant(status.last_message),
        account=valid_text(status.account),
        messages_in=status.messages_in,
        messages_out=status.messages_out,
        outbox_pending=status.queued,
        dead_letters=dead_letters,
        routing=routing,
    )


def agent_message(report: AgentReport) -> admin_service_pb2.Agent:
    """One configured agent."""
    available = admin_service_pb2.AGENT_STATE_AVAILABLE
    return admin_service_pb2.Agent(
        id=report.id,
        state=admin_service_pb2.AGENT_STATE_UNAVAILABLE if report.reason else available,
        reason=valid_text(report.reason),
        model=report.model,
        fallback_models=report.fallback_models,
        tools=report.tools,
        role=report.role,
        greeting=report.greeting,
        running=report.running,
        queued=report.queued,
        kind=_AGENT[report.kind],
        workers=report.workers,
    )


def client_message(report: ClientReport) -> admin_service_pb2.Client:
    """One client."""
    connected, away = admin_service_pb2.CLIENT_STATE_CONNECTED, admin_service_pb2.CLIENT_STATE_AWAY
    return admin_service_pb2.Client(
        client_id=report.client_id,
        principal=report.principal,
        state=away if report.away else connected,
        peer=valid_text(report.peer),
        client_version=report.version,
        connect_time=instant(report.connected),
        active_time=instant(report.active),
        subscriptions=report.subscriptions,
        queued_bytes=sum(queue.queued_bytes for queue in report.queues),
        queued_events=sum(queue.queued_events for queue in report.queues),
        oldest_queued_time=instant(min((queue.oldest for queue in report.queues if queue.oldest), default=0.0)),
        dropped=sum(queue.dropped for queue in report.queues),
        delivered=report.delivered,
        pending_replies=report.pending_replies,
        queues=[_queue_message(queue) for queue in report.queues],
    )


def _queue_message(queue: QueueReport) -> admin_service_pb2.ClientQueue:
    return admin_service_pb2.ClientQueue(
        subscription_id=queue.subscription_id,
        state=_QUEUE[queue.state],
        overflow=_OVERFLOW[queue.overflow],
        limit_bytes=queue.limit_bytes,
        queued_bytes=queue.queued_bytes,
        queued_events=queue.queued_events,
        oldest_queued_time=instant(queue.oldest),
        behind=queue.behind,
        dropped=queue.dropped,
    )


def route_message(explanation: RouteExplanation) -> admin_service_pb2.ExplainRouteResponse:
    """Where a message would go; each sentence of the explanation is `RULE: why`."""
    steps = []
    for sentence in explanation.considered:
        rule, _, detail = sentence.partition(": ")
        matched = bool(explanation.rule) and rule == explanation.rule
        steps.append(admin_service_pb2.RouteStep(rule=rule, matched=matched, detail=detail))
    return admin_service_pb2.ExplainRouteResponse(agent=explanation.agent, rule=explanation.rule, steps=steps)


def reload_message(report: ReloadReport) -> admin_service_pb2.ReloadConfigResponse:
    """What a reload did, or would do."""
    return admin_service_pb2.ReloadConfigResponse(
        applied=report.applied,
        digest=report.digest,
        previous_digest=report.previous_digest,
        added=report.added,
        removed=report.removed,
        changed=report.changed,
        restart_required=report.restart_required,
        warnings=map(valid_text, report.warnings),
        reload_time=instant(report.time) if report.applied else None,
    )


def revoked_subject_of(request: admin_service_pb2.RevokeTokenRequest) -> str:
    """The client id or the lower-case SHA-256 whose tokens are to be revoked."""
    kind = request.WhichOneof("subject")
    if kind == "client_id" and request.client_id:
        return request.client_id
    if kind == "token_sha256":
        digest = request.token_sha256.lower()
        if len(digest) != 64 or not set(digest) <= set("0123456789abcdef"):
            raise refuse("token_sha256", "is not a SHA-256 in 64 hexadecimal digits")
        return digest
    raise refuse("subject", "name a client or the SHA-256 of a token")


def check_kinds_of(numbers: Sequence[int]) -> list[CheckKind]:
    """What is to be tried out, each once; everything when nothing is named."""
    for place, number in enumerate(numbers):
        if number not in _CHECK_BACK:
            raise refuse(f"kinds[{place}]", f"{number} is nothing that this gateway can try out")
    wanted = dict.fromkeys(map(admin_service_pb2.CheckKind.ValueType, numbers))
    return [_CHECK_BACK[number] for number in wanted] or list(CheckKind)


def check_message(report: CheckReport) -> admin_service_pb2.Check:
    """One part that was tried out."""
    return admin_service_pb2.Check(
        kind=_CHECK[report.kind],
        name=report.name,
        state=_CHECKED[report.state],
        summary=valid_text(report.summary),
        duration=report.duration,
    )

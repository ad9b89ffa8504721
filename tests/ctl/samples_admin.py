"""One of each thing that an operator asks the fake gateway for: status, checks, channels, agents, clients, topics."""

from typing import Any

from gateway.v1 import admin_service_pb2, channel_pb2, status_pb2, topic_pb2
from gateway.v1 import event_service_pb2 as pb
from google.protobuf.message import Message

from gatewayctl import __version__
from tests.ctl.samples import HOURS, NOW, ago, at


def checks(
    kind: admin_service_pb2.CheckKind.ValueType,
    agent: admin_service_pb2.CheckState.ValueType = admin_service_pb2.CHECK_STATE_HEALTHY,
    channel: admin_service_pb2.CheckState.ValueType = admin_service_pb2.CHECK_STATE_HEALTHY,
) -> admin_service_pb2.RunChecksResponse:
    """What a deep look at each kind of part finds."""
    well = admin_service_pb2.CHECK_STATE_HEALTHY
    found = {
        admin_service_pb2.CHECK_KIND_STORE: [("", well, "a write took 3 ms, a read 1 ms")],
        admin_service_pb2.CHECK_KIND_AGENTS: [("sales", well, "offline/echo"), ("helper", agent, "1 worker")],
        admin_service_pb2.CHECK_KIND_CHANNELS: [("vip", channel, "ready\x1b[2J, 2 pieces wait")],
    }
    return admin_service_pb2.RunChecksResponse(
        checks=[
            admin_service_pb2.Check(kind=kind, name=name, state=state, summary=said, duration=0.0042)
            for name, state, said in found.get(kind, [])
        ]
    )


def status(version: str = __version__, *, daemon_only: bool = False) -> Message:
    answer = status_pb2.GetStatusResponse(
        pid=4711,
        version=version,
        state=status_pb2.DAEMON_STATE_DEGRADED,
        start_time=1_760_000_000.0,
        uptime=93_784.5,
        config_digest="0123456789abcdef" * 4,
        last_reload=status_pb2.ReloadOutcome(time=NOW - 2 * HOURS - 30, ok=False, error="x: unknown key"),
        config_path="/etc/gatewayd/gateway.yaml",
    )
    if not daemon_only:
        answer.connections.CopyFrom(status_pb2.ConnectionCounts(open=3, limit=1000, subscriptions=4))
        answer.agents.CopyFrom(status_pb2.AgentCounts(available=2, unavailable=1))
        answer.sessions.CopyFrom(status_pb2.SessionCounts(open=5, busy=1))
        answer.executions.CopyFrom(status_pb2.ExecutionCounts(running=1, succeeded=7))
        answer.channels.add(name="tg", platform="telegram", state=status_pb2.CHANNEL_STATE_READY)
        answer.channels.add(
            name="vip", platform="telegram", state=status_pb2.CHANNEL_STATE_FAILED, reason="the token is refused"
        )
        answer.degraded.append("channel vip: the token is refused")
        answer.webhooks.add(source_id="repo", path="/hooks/repo", accepted=41, duplicates=2, refused=1)
    return answer


def channel() -> channel_pb2.Channel:
    return channel_pb2.Channel(
        name="vip",
        platform="telegram",
        state=status_pb2.CHANNEL_STATE_RETRYING,
        reason="no route to host",
        state_time=ago(1),
        retry_time=ago(-2),
        last_transport_time=ago(25),
        messages_in=7,
        messages_out=6,
        outbox_pending=1,
        dead_letters=2,
        routing={"dm": "sales", "default": "assistant"},
    )


def agents() -> list[admin_service_pb2.Agent]:
    return [
        admin_service_pb2.Agent(
            id="assistant",
            state=admin_service_pb2.AGENT_STATE_AVAILABLE,
            model="offline/echo",
            tools=["current_time"],
            greeting="What can I do for you?",
            kind=admin_service_pb2.AGENT_KIND_MODEL,
        ),
        admin_service_pb2.Agent(
            id="sales",
            state=admin_service_pb2.AGENT_STATE_UNAVAILABLE,
            reason="${KEY} is not set",
            model="openai/gpt",
            fallback_models=["offline/echo"],
            role="Seller",
            kind=admin_service_pb2.AGENT_KIND_REMOTE,
            workers=2,
        ),
    ]


def queue(name: str, state: int, **more: Any) -> admin_service_pb2.ClientQueue:
    overflow = pb.OVERFLOW_DISCONNECT if name else pb.OVERFLOW_DROP_OLDEST
    oldest = ago(2) if more.get("queued_events") else None
    return admin_service_pb2.ClientQueue(
        subscription_id=name,
        state=state,  # type: ignore[arg-type]
        overflow=overflow,
        limit_bytes=1 << 20,
        oldest_queued_time=oldest,
        **more,
    )


def topic() -> topic_pb2.Topic:
    return topic_pb2.Topic(
        name="orders.eu",
        owner="ci",
        metadata={"about": "orders of the shop"},
        create_time=ago(26),
        member_count=3,
        present_count=2,
        pending_count=7,
    )


def topic_members() -> list[topic_pb2.TopicMember]:
    return [
        topic_pb2.TopicMember(
            client_id="worker",
            principal="ci",
            present=True,
            acknowledged=True,
            status="busy",
            metadata={"desk": 4},
            join_time=ago(2),
            pending_count=7,
        ),
        topic_pb2.TopicMember(client_id="screen", principal="local", present=True, status="online", join_time=ago(1)),
    ]


def topic_dead_letter() -> topic_pb2.TopicDeadLetter:
    return topic_pb2.TopicDeadLetter(
        id="T1",
        client_id="worker",
        principal="ci",
        reason=topic_pb2.TOPIC_DEAD_REASON_RETRIES,
        attempts=4,
        time=ago(3),
        message=topic_pb2.TopicMessage(
            topic="orders.eu",
            message_id="P1",
            client_id="shop",
            principal="local",
            data={"order": 5},
            publish_time=at(0),
        ),
    )

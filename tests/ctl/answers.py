"""What the fake gateway answers, one of each kind, for the golden outputs."""

import time
from typing import Any

from gateway.v1 import (
    admin_service_pb2,
    agent_service_pb2,
    channel_pb2,
    event_pb2,
    execution_pb2,
    goal_pb2,
    message_pb2,
    push_service_pb2,
    runtime_service_pb2,
    session_pb2,
    session_service_pb2,
    state_pb2,
    status_pb2,
    topic_pb2,
)
from gateway.v1 import event_service_pb2 as pb
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from google.protobuf.timestamp_pb2 import Timestamp

from gatewayctl import __version__

HOURS = 3600.0


def ago(hours: float) -> Timestamp:
    """Half a minute more than that ago, so that an age stays the same while a test runs."""
    stamp = Timestamp()
    stamp.FromMilliseconds(int((time.time() - hours * HOURS - 30) * 1000))
    return stamp


def at(seconds: float) -> Timestamp:
    stamp = Timestamp()
    stamp.FromMilliseconds(int(1_760_000_000_000 + seconds * 1000))
    return stamp


def state_entry(*, key: str = "orders.open", value: Any = 2, **more: Any) -> state_pb2.StateEntry:
    entry = state_pb2.StateEntry(key=key, version=7, update_time=ago(2), principal="shop")
    fields = {"scope": state_pb2.STATE_SCOPE_GLOBAL, **more}
    entry.MergeFrom(state_pb2.StateEntry(**fields))
    if entry.scope == state_pb2.STATE_SCOPE_STREAM:
        entry.scope_id = "sales"
    if value is not None:
        json_format.ParseDict(value, entry.value)
    return entry


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


def goal(*, with_evidence: bool = False) -> goal_pb2.GoalProgress:
    evidence = [
        goal_pb2.GoalEvidence(time=ago(1), execution_id="X2", text="knows nothing of news", score=0.0),
        goal_pb2.GoalEvidence(time=ago(2), execution_id="X1", text="asked for the weather", score=1.0),
    ]
    return goal_pb2.GoalProgress(
        id="helpful",
        description="People get an answer that helps them.",
        progress=0.75,
        criteria=[
            goal_pb2.CriterionStatus(
                id="answered",
                measure="reported",
                target="80%",
                weight=1,
                progress=0.5,
                outcomes=2,
                good=1,
                evidence=evidence if with_evidence else [],
            ),
            goal_pb2.CriterionStatus(
                id="reliable", measure="executions", target="95%", weight=1, met=True, progress=1, outcomes=9, good=9
            ),
        ],
        constraints=[
            goal_pb2.ConstraintStatus(
                id="no-secrets",
                hard=True,
                violations=1,
                evidence=[goal_pb2.GoalEvidence(time=ago(30), execution_id="X0", text="told a password")]
                if with_evidence
                else [],
            )
        ],
        metrics=goal_pb2.GoalMetrics(
            decisions=12,
            successful_outcomes=10,
            failed_outcomes=1,
            success_rate=10 / 11,
            executions=9,
            entry_points=["nightly"],
            running=1,
        ),
        recommendation=goal_pb2.GOAL_RECOMMENDATION_CONTINUE,
    )


def status(version: str = __version__, *, daemon_only: bool = False) -> Message:
    answer = status_pb2.GetStatusResponse(
        pid=4711,
        version=version,
        state=status_pb2.DAEMON_STATE_DEGRADED,
        start_time=1_760_000_000.0,
        uptime=93_784.5,
        config_digest="0123456789abcdef" * 4,
        last_reload=status_pb2.ReloadOutcome(time=time.time() - 2 * HOURS - 30, ok=False, error="x: unknown key"),
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


def session() -> session_pb2.Session:
    return session_pb2.Session(
        id="S1",
        agent="sales",
        principal="vip:42",
        channel="vip",
        chat="7",
        peer="42",
        rule="channels.vip.routing.dm",
        create_time=ago(48),
        active_time=ago(1),
        message_count=2,
        history_bytes=2048,
    )


def history() -> list[session_pb2.SessionMessage]:
    return [
        session_pb2.SessionMessage(role=session_pb2.SESSION_ROLE_USER, content="hi\x1b[2J", time=at(0)),
        session_pb2.SessionMessage(role=session_pb2.SESSION_ROLE_AGENT, content="hello", time=at(1.5)),
    ]


def execution(**more: Any) -> execution_pb2.Execution:
    return execution_pb2.Execution(
        id="X1",
        agent="sales",
        session_id="S1",
        message_id="M1",
        principal="local",
        create_time=ago(2),
        start_time=at(0),
        end_time=at(1.25),
        attempts=1,
        **({"origin": execution_pb2.ORIGIN_CLIENT, "state": execution_pb2.EXECUTION_STATE_SUCCEEDED} | more),
    )


def message() -> message_pb2.Message:
    return message_pb2.Message(
        id="M1",
        state=message_pb2.LEDGER_STATE_DEAD_LETTERED,
        origin=execution_pb2.ORIGIN_CHAT,
        channel="vip",
        chat="7",
        peer="42",
        principal="vip:42",
        rule="channels.vip.routing.dm",
        agent="sales",
        session_id="S1",
        execution_id="X1",
        receive_time=ago(1),
        reason="ambiguous",
    )


def story() -> admin_service_pb2.TraceMessageResponse:
    story = admin_service_pb2.TraceMessageResponse(message=message())
    for stage, when, detail in (
        (message_pb2.MESSAGE_STAGE_RECEIVED, at(0), "vip 7 42"),
        (message_pb2.MESSAGE_STAGE_JOURNALED, None, ""),
        (message_pb2.MESSAGE_STAGE_EXECUTED, at(1.25), "succeeded"),
        (message_pb2.MESSAGE_STAGE_ENDED, at(2), "dead_lettered"),
    ):
        story.steps.add(stage=stage, time=when, detail=detail)
    story.parts.add(
        id="P1", channel="vip", chat="7", state=message_pb2.OUTBOUND_STATE_DEAD, attempts=3, error="timed out"
    )
    return story


def event(number: int) -> event_pb2.Event:
    event = event_pb2.Event(
        id=f"E{number}",
        type="EVENT_TYPE_EXECUTION_COMPLETED",
        stream_id="sales",
        execution_id="X1",
        source="gatewayd",
        time=1_760_000_000.0 + number,
        epoch="e1",
        seq=number,
    )
    event.execution_completed.output.update({"text": "hello", "tokens": number})
    return event


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


def everything() -> dict[str, Any]:
    """The answers by method."""
    admin = admin_service_pb2
    session_page = session_service_pb2.ListSessionsResponse(sessions=[session()])
    return {
        "AdminService/GetStatus": lambda request: status(daemon_only=request.daemon_only),
        "AdminService/ListChannels": admin.ListChannelsResponse(channels=[channel()]),
        "AdminService/ListAgents": admin.ListAgentsResponse(agents=agents()),
        "AdminService/ListClients": admin.ListClientsResponse(
            clients=[
                admin.Client(
                    client_id="worker",
                    principal="ci",
                    state=admin.CLIENT_STATE_CONNECTED,
                    peer="unix:",
                    connect_time=ago(5),
                    active_time=ago(1),
                    subscriptions=2,
                    queued_bytes=1536,
                    delivered=9,
                    queued_events=12,
                    oldest_queued_time=ago(2),
                    dropped=3,
                    queues=[
                        queue("", admin.CLIENT_QUEUE_STATE_LIVE),
                        queue("audit", admin.CLIENT_QUEUE_STATE_CATCHING_UP, behind=400),
                        queue("s1", admin.CLIENT_QUEUE_STATE_SLOW, dropped=3, queued_events=12, queued_bytes=1536),
                    ],
                ),
                admin.Client(
                    client_id="laptop",
                    principal="ann",
                    state=admin.CLIENT_STATE_AWAY,
                    connect_time=ago(3),
                    active_time=ago(2),
                    subscriptions=1,
                    queues=[queue("", admin.CLIENT_QUEUE_STATE_AWAY)],
                ),
            ]
        ),
        "AdminService/ListMessages": admin.ListMessagesResponse(messages=[message()]),
        "AdminService/TraceMessage": story(),
        "AdminService/ListDeadLetters": admin.ListDeadLettersResponse(
            dead_letters=[
                message_pb2.DeadLetter(
                    id="D1",
                    message_id="M1",
                    channel="vip",
                    chat="7",
                    reason="ambiguous",
                    error="timed out",
                    attempts=1,
                    create_time=ago(4),
                    preview="hello",
                )
            ]
        ),
        "AdminService/RetryDeadLetter": admin.RetryDeadLetterResponse(message_id="M1"),
        "AdminService/RevokeToken": admin.RevokeTokenResponse(token_sha256=["ab" * 32], connections_closed=1),
        "AdminService/ExplainRoute": admin.ExplainRouteResponse(
            agent="sales",
            rule="channels.vip.routing.dm",
            steps=[
                admin.RouteStep(rule="channels.vip.routing.group", detail="it is a dm"),
                admin.RouteStep(rule="channels.vip.routing.dm", matched=True, detail="the message is a dm"),
            ],
        ),
        "AdminService/ReloadConfig": admin.ReloadConfigResponse(
            digest="b" * 64,
            previous_digest="a" * 64,
            added=["channels.new"],
            changed=["gateway.port"],
            restart_required=["gateway.port"],
            warnings=["channels.new: ${TOKEN} is not set"],
        ),
        "AgentService/SendMessage": agent_service_pb2.SendMessageResponse(
            execution_id="X1",
            message_id="M1",
            session_id="S1",
            agent="sales",
            content="hello\nyou",
            state=execution_pb2.EXECUTION_STATE_SUCCEEDED,
        ),
        "EventService/ListEvents": lambda request: pb.ListEventsResponse(
            events=[event(2), event(3)] if request.since else [event(2), event(1)]
        ),
        "EventService/Publish": lambda request: pb.PublishResponse(cursor="e1:3", event_ids=[request.events[0].id]),
        "PushService/ListTopics": push_service_pb2.ListTopicsResponse(topics=[topic()]),
        "PushService/GetTopic": push_service_pb2.GetTopicResponse(topic=topic()),
        "PushService/GetPresence": push_service_pb2.GetPresenceResponse(members=topic_members()),
        "PushService/CreateTopic": push_service_pb2.CreateTopicResponse(topic=topic()),
        "PushService/DeleteTopic": push_service_pb2.DeleteTopicResponse(member_count=3, dead_letter_count=7),
        "PushService/PublishToTopic": push_service_pb2.PublishToTopicResponse(message_id="P1", recipient_count=3),
        "PushService/ListTopicDeadLetters": push_service_pb2.ListTopicDeadLettersResponse(
            dead_letters=[topic_dead_letter()]
        ),
        "PushService/RetryTopicDeadLetter": push_service_pb2.RetryTopicDeadLetterResponse(message_id="M2"),
        "SessionService/ListSessions": session_page,
        "SessionService/GetSession": session_service_pb2.GetSessionResponse(session=session(), history=history()),
        "SessionService/ExportSession": session_service_pb2.ExportSessionResponse(
            session=session(), messages=history()
        ),
        "SessionService/ResetSession": session_service_pb2.ResetSessionResponse(
            session_id="S1", cancelled_executions=1
        ),
        "SessionService/EraseSession": session_service_pb2.EraseSessionResponse(
            sessions=1, messages=4, executions=2, events=9
        ),
        "RuntimeService/GetState": state_pb2.GetStateResponse(entry=state_entry(scope=state_pb2.STATE_SCOPE_STREAM)),
        "RuntimeService/ListState": state_pb2.ListStateResponse(
            entries=[state_entry(), state_entry(key="orders.seen", value={"ids": [1, 2]})]
        ),
        "RuntimeService/SetState": lambda request: state_pb2.SetStateResponse(
            entries=[state_entry(value=None if request.writes[0].delete else 3, expire_time=at(60))]
        ),
        "RuntimeService/ListExecutions": runtime_service_pb2.ListExecutionsResponse(executions=[execution()]),
        "RuntimeService/GetExecution": runtime_service_pb2.GetExecutionResponse(
            execution=execution(
                output="hello",
                graph=execution_pb2.GraphResult(
                    graph="desk",
                    path=["sort", "answer"],
                    steps=2,
                    retries=1,
                    failures={"sort": 1},
                    latency=Duration(seconds=2),
                    quality=execution_pb2.GRAPH_QUALITY_DEGRADED,
                ),
            ),
            log=[
                execution_pb2.ExecutionLogEntry(
                    time=at(0.5),
                    kind=execution_pb2.EXECUTION_LOG_KIND_STEP,
                    text="1: offline/assistant (stop)",
                    input_tokens=12,
                    output_tokens=3,
                ),
                execution_pb2.ExecutionLogEntry(
                    time=at(1), kind=execution_pb2.EXECUTION_LOG_KIND_CHECKPOINT, text="complete", node_id="n1"
                ),
            ],
        ),
        "RuntimeService/Trigger": runtime_service_pb2.TriggerResponse(execution_id="X1", message_id="M1"),
        "RuntimeService/TriggerAndWait": runtime_service_pb2.TriggerAndWaitResponse(
            outcome=runtime_service_pb2.TRIGGER_OUTCOME_ENDED,
            execution=execution(output="hello", entry_point="nightly", origin=execution_pb2.ORIGIN_TRIGGER),
        ),
        "RuntimeService/ListEntryPoints": runtime_service_pb2.ListEntryPointsResponse(
            entry_points=[
                runtime_service_pb2.EntryPoint(
                    id="nightly",
                    name="Nightly report",
                    agent="sales",
                    trigger=runtime_service_pb2.TRIGGER_KIND_TIMER,
                    priority=-5,
                    max_concurrent=2,
                    running=1,
                    queued=3,
                    next_time=at(3600),
                    goal="helpful",
                    isolation_level=runtime_service_pb2.ISOLATION_LEVEL_SYNCHRONIZED,
                ),
                runtime_service_pb2.EntryPoint(
                    id="support",
                    name="support",
                    trigger=runtime_service_pb2.TRIGGER_KIND_API,
                    max_concurrent=10,
                    graph="desk",
                    entry_node="sort",
                    description="Sorts what people ask for",
                ),
            ]
        ),
        "AdminService/RunChecks": lambda request: checks(request.kinds[0]),
        "RuntimeService/ListGoals": goal_pb2.ListGoalsResponse(goals=[goal()]),
        "RuntimeService/GetGoalProgress": goal_pb2.GetGoalProgressResponse(goal=goal(with_evidence=True)),
        "RuntimeService/GetRuntimeStats": runtime_service_pb2.GetRuntimeStatsResponse(
            running=True,
            entry_points=1,
            queued=3,
            limit=100,
            free=99,
            executions={"running": 1, "succeeded": 7},
            by_entry_point=[runtime_service_pb2.EntryPointStats(id="nightly", executions={"running": 1})],
            goals=[
                runtime_service_pb2.GoalStats(
                    id="helpful", progress=0.75, decisions=12, recommendation=goal_pb2.GOAL_RECOMMENDATION_CONTINUE
                )
            ],
            shared_state=runtime_service_pb2.SharedStateStats(
                keys=5, keys_by_scope={"global": 3, "stream": 2}, bytes=5000, max_bytes=64 << 20
            ),
            bus=runtime_service_pb2.RuntimeBusStats(
                published=1000, delivered=3000, dropped=2, subscriptions=4, slow_consumers=1
            ),
            engine=runtime_service_pb2.EngineStats(
                queued=2, running=1, instances=4, sent=30, published=5, failed=1, dropped=1
            ),
        ),
        "AgentService/ListAgentInstances": agent_service_pb2.ListAgentInstancesResponse(
            instances=[
                agent_service_pb2.AgentInstance(agent="clerk", key="default", running=1, queued=2),
                agent_service_pb2.AgentInstance(agent="writer", key="shop"),
            ]
        ),
        "AgentService/SaveState": agent_service_pb2.SaveStateResponse(
            saved=["clerk/default", "writer/shop"], subscriptions=3
        ),
        "AgentService/LoadState": agent_service_pb2.LoadStateResponse(
            loaded=["clerk/default"], unknown=["writer"], subscriptions=1
        ),
        "RuntimeService/CancelExecution": runtime_service_pb2.CancelExecutionResponse(execution=execution()),
        "RuntimeService/PauseExecution": runtime_service_pb2.PauseExecutionResponse(
            execution=execution(state=execution_pb2.EXECUTION_STATE_PAUSED)
        ),
        "RuntimeService/ResumeExecution": runtime_service_pb2.ResumeExecutionResponse(
            execution=execution(state=execution_pb2.EXECUTION_STATE_QUEUED)
        ),
        "RuntimeService/InjectInput": runtime_service_pb2.InjectInputResponse(
            execution=execution(state=execution_pb2.EXECUTION_STATE_QUEUED)
        ),
    }

"""What the fake gateway answers, by method, for the golden outputs."""

from typing import Any

from gateway.v1 import (
    admin_service_pb2,
    agent_service_pb2,
    execution_pb2,
    goal_pb2,
    message_pb2,
    push_service_pb2,
    runtime_service_pb2,
    session_service_pb2,
    state_pb2,
)
from gateway.v1 import event_service_pb2 as pb
from google.protobuf.duration_pb2 import Duration

from tests.ctl.samples import ago, at, event, execution, goal, history, message, session, state_entry, story
from tests.ctl.samples_admin import agents, channel, checks, queue, status, topic, topic_dead_letter, topic_members


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

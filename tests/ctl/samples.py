"""One of each thing that the fake gateway tells of: sessions, messages, executions, events, goals, state."""

from typing import Any

from gateway.v1 import admin_service_pb2, event_pb2, execution_pb2, goal_pb2, message_pb2, session_pb2, state_pb2
from google.protobuf import json_format
from google.protobuf.timestamp_pb2 import Timestamp

HOURS = 3600.0
NOW = 1_790_000_000.0
"""When all of them are told of. For a test of what is printed it is `now` for the command, too."""


def ago(hours: float) -> Timestamp:
    """Half a minute more than that before NOW."""
    stamp = Timestamp()
    stamp.FromMilliseconds(int((NOW - hours * HOURS - 30) * 1000))
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

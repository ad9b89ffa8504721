"""Executions, sessions and the small values that all services share ↔ messages of `gateway.v1`."""

from gateway.v1 import agent_service_pb2, channel_pb2, execution_pb2, session_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from gatewayd.conversation.asking import Answer
from gatewayd.core.checkpoint import Checkpoint
from gatewayd.core.execution_log import LogEntry
from gatewayd.core.frames import Send
from gatewayd.core.graph_result import GraphResult
from gatewayd.core.message import ChatContext
from gatewayd.core.work import Execution, ExecutionState, Origin
from gatewayd.runtime.lanes import Lanes
from gatewayd.sessions import subject_of
from gatewayd.storage.records import SessionRecord
from gatewayd.storage.views import HistoryLine
from gatewayd.wire.values import fill_time, refuse, span, span_from, valid_text

MAX_NAME = 256
"""Longest id or name in a request, in characters."""

_EXECUTION = {state: execution_pb2.ExecutionState.Value(f"EXECUTION_STATE_{state.name}") for state in ExecutionState}
_EXECUTION_BACK = {value: state for state, value in _EXECUTION.items()}
_ORIGIN = {origin: execution_pb2.Origin.Value(f"ORIGIN_{origin.name}") for origin in Origin}
_CONTEXT_BACK = {channel_pb2.ChatContext.Value(f"CHAT_CONTEXT_{context.name}"): context for context in ChatContext}
_CONTEXT_BACK[channel_pb2.CHAT_CONTEXT_UNSPECIFIED] = ChatContext.DM
_ROLE = {
    "user": session_pb2.SESSION_ROLE_USER,
    "assistant": session_pb2.SESSION_ROLE_AGENT,
    "system": session_pb2.SESSION_ROLE_SYSTEM,
    "tool": session_pb2.SESSION_ROLE_TOOL,
}


def instant(seconds: float) -> Timestamp | None:
    """An instant in Unix seconds; None for 0, which is "never" in every record."""
    if not seconds:
        return None
    timestamp = Timestamp()
    fill_time(timestamp, seconds, "time")
    return timestamp


def name_of(text: str, field: str, *, required: bool = False) -> str:
    """An id or name of a request, within bounds."""
    if required and not text:
        raise refuse(field, "is required")
    if len(text) > MAX_NAME or not text.isprintable():
        raise refuse(field, f"is not a name of at most {MAX_NAME} printable characters")
    return text


def context_of(value: int, field: str) -> ChatContext:
    """The kind of room; unspecified is a direct message."""
    if value not in _CONTEXT_BACK:
        raise refuse(field, f"{value} is no kind of room that this gateway knows")
    return _CONTEXT_BACK[channel_pb2.ChatContext.ValueType(value)]


def execution_state_of(value: int, field: str) -> ExecutionState:
    """A state to look for."""
    state = _EXECUTION_BACK.get(execution_pb2.ExecutionState.ValueType(value))
    if state is None:
        raise refuse(field, f"{value} is no state of an execution")
    return state


def execution_state(state: ExecutionState) -> execution_pb2.ExecutionState.ValueType:
    """The value of the contract."""
    return _EXECUTION[state]


def origin(door: Origin) -> execution_pb2.Origin.ValueType:
    """The value of the contract."""
    return _ORIGIN[door]


def execution_message(
    execution: Execution, *, with_output: bool, graph: GraphResult | None = None
) -> execution_pb2.Execution:
    """An execution; half an answer of one that did not succeed is not its output."""
    queued, succeeded = execution.state is ExecutionState.QUEUED, execution.state is ExecutionState.SUCCEEDED
    return execution_pb2.Execution(
        id=execution.id,
        state=_EXECUTION[execution.state],
        agent=execution.agent,
        session_id=execution.session_id,
        message_id=execution.message_id,
        principal=execution.principal,
        origin=_ORIGIN[execution.origin],
        stream_id=execution.stream_id,
        correlation_id=execution.correlation_id,
        create_time=instant(execution.created),
        start_time=None if queued else instant(execution.started),
        end_time=instant(execution.finished),
        attempts=execution.attempts,
        reason=valid_text(execution.reason),
        output=valid_text(execution.output) if with_output and succeeded else "",
        error=valid_text(execution.error),
        entry_point=execution.entry_point,
        graph=_graph_message(graph, execution.state) if graph is not None else None,
    )


def _graph_message(result: GraphResult, state: ExecutionState) -> execution_pb2.GraphResult:
    return execution_pb2.GraphResult(
        graph=result.graph,
        path=result.path,
        steps=result.steps,
        retries=result.retries,
        failures=result.failures,
        tokens=result.tokens,
        latency=span(result.seconds),
        quality=execution_pb2.GraphQuality.Value(f"GRAPH_QUALITY_{result.quality(state).upper()}"),
    )


def checkpoint_message(checkpoint: Checkpoint) -> execution_pb2.Checkpoint:
    """What is told of a checkpoint."""
    return execution_pb2.Checkpoint(
        id=checkpoint.id,
        node_id=checkpoint.node_id,
        kind=execution_pb2.CheckpointKind.Value(f"CHECKPOINT_KIND_{checkpoint.kind.name}"),
        create_time=instant(checkpoint.created),
        prompt=valid_text(checkpoint.prompt),
    )


def log_message(entry: LogEntry) -> execution_pb2.ExecutionLogEntry:
    """One line of an execution's log."""
    return execution_pb2.ExecutionLogEntry(
        time=instant(entry.time),
        kind=execution_pb2.ExecutionLogKind.Value(f"EXECUTION_LOG_KIND_{entry.kind.name}"),
        text=valid_text(entry.text),
        node_id=entry.node_id,
        input_tokens=entry.input_tokens,
        output_tokens=entry.output_tokens,
    )


def session_message(record: SessionRecord, lanes: Lanes) -> session_pb2.Session:
    """A session, with what runs in it now."""
    subject, running = subject_of(record.key), lanes.running(record.id)
    return session_pb2.Session(
        id=record.id,
        agent=record.agent,
        principal=record.principal,
        channel=subject.channel,
        account=subject.account,
        chat=subject.chat,
        peer=subject.peer,
        thread=subject.thread,
        client_id=subject.client_id,
        rule=record.rule,
        create_time=instant(record.created),
        active_time=instant(record.last_active),
        message_count=record.messages,
        history_bytes=record.bytes,
        execution_id=running.execution.id if running else "",
        queued=lanes.waiting(record.id),
    )


def history_message(line: HistoryLine) -> session_pb2.SessionMessage:
    """One line of a history."""
    return session_pb2.SessionMessage(
        role=_ROLE.get(line.entry.role, session_pb2.SESSION_ROLE_SYSTEM),
        content=valid_text(line.entry.content),
        time=instant(line.entry.time),
        message_id=line.message_id,
        execution_id=line.entry.execution_id,
    )


def send_of(request: agent_service_pb2.SendMessageRequest, left: float | None, traceparent: str = "") -> Send:
    """The send that a request asks for, to be answered within `left` seconds (None: no deadline)."""
    if bool(request.agent) == bool(request.channel):
        raise refuse("agent", "exactly one of `agent` and `channel` must be set")
    if not request.text.strip():
        raise refuse("text", "is required")
    wanted = span_from(request.timeout, "timeout") if request.HasField("timeout") else 0.0
    bounds = [seconds for seconds in (wanted, left) if seconds]
    return Send(
        request_id="",
        text=request.text,
        agent=name_of(request.agent, "agent"),
        channel=name_of(request.channel, "channel"),
        context=context_of(request.context, "context"),
        session_id=name_of(request.session_id, "session_id"),
        correlation_id=name_of(request.correlation_id, "correlation_id"),
        idempotency_key=name_of(request.idempotency_key, "idempotency_key"),
        timeout=min(bounds, default=0.0),
        traceparent=traceparent,
    )


def answer_message(answer: Answer) -> agent_service_pb2.SendMessageResponse:
    """The answer to a send."""
    execution, question = answer.execution, answer.question
    state = ExecutionState.SUCCEEDED if question is None else ExecutionState.INPUT_REQUIRED
    return agent_service_pb2.SendMessageResponse(
        execution_id=execution.id,
        message_id=execution.message_id,
        session_id=execution.session_id,
        agent=execution.agent,
        content=valid_text(answer.content),
        state=_EXECUTION[state],
        prompt=valid_text(question.prompt) if question is not None else "",
        node_id=question.node_id if question is not None else "",
    )

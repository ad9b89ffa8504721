"""Frames of programs that answer for an agent ↔ `core.workers`."""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, Literal, NoReturn

from gateway.internal.v1 import frames_pb2
from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import execution_pb2, session_pb2

from gatewayd.core import workers
from gatewayd.core.agents import TopicFilter
from gatewayd.core.errors import InvalidArgument
from gatewayd.wire.errors import error_to_proto
from gatewayd.wire.names import MAX_ID, name, required
from gatewayd.wire.values import fill_span, fill_time, refuse, valid_text

MAX_CONCURRENT = 1000
"""Calls that a worker may take at a time."""
MAX_TOPICS = 100
"""Topics that a worker may name."""
MAX_ERROR = 4096
"""Longest sentence of what went wrong, in characters."""
MAX_PROMPT = 16 * 1024
"""Longest question to people, in bytes."""

_ROLES = {"user": session_pb2.SESSION_ROLE_USER, "assistant": session_pb2.SESSION_ROLE_AGENT}


def _register_agent(frame: frames_pb2.ConnectRequest) -> workers.RegisterAgent:
    register = frame.register_agent
    if not 0 <= register.max_concurrent <= MAX_CONCURRENT:
        raise refuse("register_agent.max_concurrent", f"is not from 0 to {MAX_CONCURRENT}")
    agent = required(register.agent, "register_agent.agent")
    if len(register.topics) > MAX_TOPICS:
        raise refuse("register_agent.topics", f"are more than {MAX_TOPICS}")
    topics = tuple(_topic(topic, number) for number, topic in enumerate(register.topics))
    return workers.RegisterAgent(
        frame.request_id, agent, register.max_concurrent, register.history, topics, register.notify_end
    )


def _topic(text: str, number: int) -> str:
    try:
        return str(TopicFilter.parse(text))
    except InvalidArgument as error:
        raise refuse(f"register_agent.topics[{number}]", error.message) from None


def _unregister_agent(frame: frames_pb2.ConnectRequest) -> workers.UnregisterAgent:
    return workers.UnregisterAgent(frame.request_id, required(frame.unregister_agent.agent, "unregister_agent.agent"))


def _call_reply(frame: frames_pb2.ConnectRequest) -> workers.CallReply:
    reply = frame.call_reply
    if reply.offset < 0:
        raise refuse("call_reply.offset", "is negative")
    if len(reply.error) > MAX_ERROR:
        raise refuse("call_reply.error", f"is longer than {MAX_ERROR} characters")
    return workers.CallReply(
        request_id=frame.request_id,
        call_id=required(reply.call_id, "call_reply.call_id", MAX_ID),
        content=reply.content,
        offset=reply.offset if reply.HasField("offset") else None,
        final=reply.final,
        error=reply.error,
    )


_PLACES: Final[Mapping[int, Literal["start", "complete"]]] = MappingProxyType(
    {
        execution_pb2.CHECKPOINT_KIND_UNSPECIFIED: "complete",
        execution_pb2.CHECKPOINT_KIND_START: "start",
        execution_pb2.CHECKPOINT_KIND_COMPLETE: "complete",
    }
)


def _save_checkpoint(frame: frames_pb2.ConnectRequest) -> workers.SaveCheckpoint:
    saved, path = frame.save_checkpoint, "save_checkpoint."
    at = _PLACES.get(saved.at)
    if at is None:
        raise refuse(f"{path}at", "is neither START nor COMPLETE")
    return workers.SaveCheckpoint(
        request_id=frame.request_id,
        call_id=required(saved.call_id, f"{path}call_id", MAX_ID),
        state=saved.state,
        values=_object(saved.state, f"{path}state"),
        node_id=name(saved.node_id, f"{path}node_id"),
        at=at,
        idempotency_key=name(saved.idempotency_key, f"{path}idempotency_key"),
    )


def _wait_for_input(frame: frames_pb2.ConnectRequest) -> workers.WaitForInput:
    wait, path = frame.wait_for_input, "wait_for_input."
    if not wait.prompt.strip():
        raise refuse(f"{path}prompt", "is required")
    if len(wait.prompt.encode()) > MAX_PROMPT:
        raise refuse(f"{path}prompt", f"is longer than {MAX_PROMPT} bytes")
    if wait.internal and not wait.node_id:
        raise refuse(f"{path}node_id", "is required where `internal` is set")
    return workers.WaitForInput(
        request_id=frame.request_id,
        call_id=required(wait.call_id, f"{path}call_id", MAX_ID),
        prompt=wait.prompt,
        state=wait.state,
        values=_object(wait.state, f"{path}state"),
        node_id=name(wait.node_id, f"{path}node_id"),
        internal=wait.internal,
        idempotency_key=name(wait.idempotency_key, f"{path}idempotency_key"),
    )


def _object(text: str, path: str) -> Mapping[str, Any]:
    try:
        found = json.loads(text, parse_constant=_no_number)
    except (ValueError, RecursionError) as error:
        raise refuse(path, f"is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise refuse(path, "is not a JSON object")
    return found


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number there")


READERS: Mapping[str, Callable[[frames_pb2.ConnectRequest], workers.WorkerRequest]] = MappingProxyType(
    {
        "register_agent": _register_agent,
        "unregister_agent": _unregister_agent,
        "call_reply": _call_reply,
        "save_checkpoint": _save_checkpoint,
        "wait_for_input": _wait_for_input,
    }
)

_SELDOM = ("session_id", "channel", "redelivered", "offset", "topic", "sender", "data_type", "traceparent", "state")
"""What a call often says nothing in."""


def call(frame: workers.Call) -> pb.ConnectResponse:
    response = pb.ConnectResponse()
    message = response.call
    message.call_id = frame.call_id
    message.agent = frame.agent
    message.execution_id = frame.execution_id
    message.text = valid_text(frame.text)
    message.principal = valid_text(frame.principal)
    fill_span(message.timeout, frame.timeout)
    for field in _SELDOM:
        if value := getattr(frame, field):
            setattr(message, field, value)
    for node, input_ in frame.inputs.items():
        message.inputs[node] = valid_text(input_)
    for said in frame.history:
        entry = message.history.add(
            role=_ROLES.get(said.role, session_pb2.SESSION_ROLE_UNSPECIFIED), content=valid_text(said.content)
        )
        fill_time(entry.time, said.time, "time")
    return response


def cancel_call(frame: workers.CancelCall) -> pb.ConnectResponse:
    return pb.ConnectResponse(cancel_call=pb.CancelCall(call_id=frame.call_id, reason=frame.reason))


def registration_ended(frame: workers.RegistrationEnded) -> pb.ConnectResponse:
    ended = pb.RegistrationEnded(agent=frame.agent, error=error_to_proto(frame.error))
    return pb.ConnectResponse(registration_ended=ended)

"""Starting entry points: on the stream, over as many connections as it takes; by single calls to an older daemon."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from gateway.v1 import event_service_pb2, execution_pb2
from gateway.v1 import runtime_service_pb2 as pb
from google.protobuf.message import Message

from gatewayctl.plain import enum_name
from gatewayctl.sdk.asked import GRACE, Asked
from gatewayctl.sdk.conversation import Conversation
from gatewayctl.sdk.errors import from_frame
from gatewayctl.sdk.objects import fill
from gatewayctl.sdk.pace import Ids
from gatewayctl.sdk.repeat import repeated
from gatewayctl.system import Clock

__all__ = ["Result", "Triggered", "Triggers", "trigger_request"]

_Answer = TypeVar("_Answer", bound=Message)
FOREVER = 86_400.0
"""Seconds that a call without a timeout of its own may take."""
FEATURE = "trigger"
"""How a daemon says that it takes them on the stream."""
_ENDED = (
    execution_pb2.EXECUTION_STATE_SUCCEEDED,
    execution_pb2.EXECUTION_STATE_FAILED,
    execution_pb2.EXECUTION_STATE_CANCELLED,
)


class _Calls(Protocol):
    _conversation: Conversation
    _ids: Ids
    _clock: Clock
    _timeout: float

    def _need_open(self) -> None: ...

    async def call(
        self, method: str, request: Message, answer: type[_Answer], *, timeout: float | None = None
    ) -> _Answer: ...


@dataclass(frozen=True, slots=True)
class Triggered:
    """What was started."""

    execution_id: str
    message_id: str
    """In the ledger; `gatewayctl trace` takes it."""
    duplicate: bool
    """Whether the idempotency key was known, and this is the execution of the first call.

    After a lost connection that may have been this call itself.
    """


@dataclass(frozen=True, slots=True)
class Result:
    """What became of an execution that was waited for."""

    execution_id: str
    state: str
    """`succeeded`, `failed`, `cancelled`; with `timed_out` also `queued`, `running`, `paused` or `input_required`."""
    output: str
    error: str
    """Why it has failed, or was cancelled."""
    timed_out: bool
    """Whether the time was over before its end; it goes on, and the same idempotency key waits for it again."""
    duplicate: bool


class Triggers:
    """A part of `Client`."""

    async def trigger(
        self: _Calls,
        entry_point: str,
        input: str | Mapping[str, Any] | None = None,  # noqa: A002 - the contract's word
        *,
        correlation_id: str = "",
        idempotency_key: str = "",
        memory: Mapping[str, Any] | None = None,
        paused_at: str = "",
    ) -> Triggered:
        """Start an entry point; returns once its execution is on disk. A lost connection does not lose it.

        `input` is text, or a JSON object of which the agent reads the text. The same key with the same input gives the
        first execution; with another input it is Conflict. NotFound for an unknown entry point, LimitExceeded when too
        much waits, DeadlineExceeded when the daemon has not answered within the client's `timeout`. With `memory`
        (a JSON object) or `paused_at` (a node) it begins with that instead of with nothing.
        """
        self._need_open()
        request = trigger_request(
            entry_point, input, correlation_id, idempotency_key, memory=memory, paused_at=paused_at
        )
        if FEATURE not in self._conversation.features:
            answer = await self.call("RuntimeService/Trigger", request, pb.TriggerResponse)
            return Triggered(answer.execution_id, answer.message_id, answer.duplicate)
        frame = _frame(request, self._ids)
        frame.trigger.no_reply = True
        accepted = await repeated(self._conversation, frame, self._timeout)
        return Triggered(accepted.execution_id, accepted.message_id, accepted.duplicate and bool(idempotency_key))

    async def trigger_and_wait(
        self: _Calls,
        entry_point: str,
        input: str | Mapping[str, Any] | None = None,  # noqa: A002 - the contract's word
        *,
        correlation_id: str = "",
        idempotency_key: str = "",
        memory: Mapping[str, Any] | None = None,
        paused_at: str = "",
        timeout: float | None = None,
    ) -> Result:
        """Start an entry point and wait for its result; an execution that fails is a result, no exception.

        `timeout` in seconds; None for as long as the agent may take. Errors as for `trigger`. A lost connection does
        not lose it: the execution goes on, also over a restart of the daemon, and so does the waiting.
        """
        self._need_open()
        request = trigger_request(
            entry_point, input, correlation_id, idempotency_key, memory=memory, paused_at=paused_at
        )
        if FEATURE in self._conversation.features:
            asked = Asked(self._conversation, _frame(request, self._ids), self._clock, timeout)
            return await _result(asked, keyed=bool(idempotency_key))
        wanted = pb.TriggerAndWaitRequest(trigger=request)
        if timeout is not None:
            wanted.timeout.FromMilliseconds(max(1, int(timeout * 1000)))
        limit = FOREVER if timeout is None else timeout + GRACE
        answer = await self.call("RuntimeService/TriggerAndWait", wanted, pb.TriggerAndWaitResponse, timeout=limit)
        execution = answer.execution
        return Result(
            execution.id,
            enum_name(execution_pb2.ExecutionState.DESCRIPTOR, execution.state),
            execution.output,
            execution.error or execution.reason,
            answer.outcome == pb.TRIGGER_OUTCOME_TIMED_OUT,
            answer.duplicate,
        )


def _frame(request: pb.TriggerRequest, ids: Ids) -> event_service_pb2.ConnectRequest:
    """The same for the stream, where whatever is sent can be sent again."""
    frame = event_service_pb2.ConnectRequest()
    trigger = frame.trigger
    trigger.entry_point, trigger.correlation_id = request.entry_point, request.correlation_id
    trigger.idempotency_key = request.idempotency_key or ids.new()
    if request.HasField("text"):
        trigger.text = request.text
    elif request.HasField("json"):
        trigger.json.CopyFrom(request.json)
    if request.HasField("session_state"):
        trigger.session_state.CopyFrom(request.session_state)
    return frame


async def _result(asked: Asked, *, keyed: bool) -> Result:
    """What its final reply says; raises the error of a reply that tells of no execution."""
    replies: list[event_service_pb2.Reply] = []
    try:
        await asked.replies(replies.append)
    except TimeoutError:
        raise asked.late() from None
    reply = replies[-1]
    if not reply.state:
        raise from_frame(reply.error)
    failed = reply.state == execution_pb2.EXECUTION_STATE_FAILED
    return Result(
        reply.execution_id,
        enum_name(execution_pb2.ExecutionState.DESCRIPTOR, reply.state),
        reply.content if reply.state == execution_pb2.EXECUTION_STATE_SUCCEEDED else "",
        (reply.error.message if failed else "") or reply.reason,
        reply.state not in _ENDED,
        asked.duplicate and keyed,
    )


def trigger_request(
    entry_point: str,
    input: str | Mapping[str, Any] | None = None,  # noqa: A002 - the contract's word
    correlation_id: str = "",
    idempotency_key: str = "",
    *,
    memory: Mapping[str, Any] | None = None,
    paused_at: str = "",
) -> pb.TriggerRequest:
    """The request that starts an entry point."""
    request = pb.TriggerRequest(entry_point=entry_point, correlation_id=correlation_id, idempotency_key=idempotency_key)
    if isinstance(input, str):
        request.text = input
    elif input is not None:
        fill(request.json, input, "json")
    if memory is not None or paused_at:
        fill(request.session_state.memory, memory or {}, "session_state.memory")
        request.session_state.paused_at = paused_at
    return request

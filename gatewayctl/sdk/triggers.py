"""Starting entry points: single calls; with an idempotency key, one whose answer was lost can be made again."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from gateway.v1 import execution_pb2
from gateway.v1 import runtime_service_pb2 as pb
from google.protobuf.message import Message

from gatewayctl.plain import enum_name
from gatewayctl.sdk.objects import fill

__all__ = ["Result", "Triggered", "Triggers", "trigger_request"]

_Answer = TypeVar("_Answer", bound=Message)
FOREVER = 86_400.0
"""Seconds that a call without a timeout of its own may take."""
GRACE = 5.0
"""Seconds that the call may take longer than the daemon was asked to wait."""


class _Calls(Protocol):
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
    """Whether the idempotency key was known, and this is the execution of the first call."""


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
        """Start an entry point; returns once its execution is on disk.

        `input` is text, or a JSON object of which the agent reads the text. The same key with the same input gives the
        first execution; with another input it is Conflict. NotFound for an unknown entry point, LimitExceeded when too
        much waits. With `memory` (a JSON object) or `paused_at` (a node) it begins with that instead of with nothing.
        """
        request = trigger_request(
            entry_point, input, correlation_id, idempotency_key, memory=memory, paused_at=paused_at
        )
        answer = await self.call("RuntimeService/Trigger", request, pb.TriggerResponse)
        return Triggered(answer.execution_id, answer.message_id, answer.duplicate)

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

        `timeout` in seconds; None for as long as the agent may take. Errors as for `trigger`, and Unavailable when the
        daemon stops meanwhile: the execution goes on after its next start.
        """
        request = trigger_request(
            entry_point, input, correlation_id, idempotency_key, memory=memory, paused_at=paused_at
        )
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

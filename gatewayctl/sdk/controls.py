"""Acting on executions that are under way: single calls."""

from __future__ import annotations

from typing import Protocol, TypeVar

from gateway.v1 import execution_pb2
from gateway.v1 import runtime_service_pb2 as pb
from google.protobuf.message import Message

from gatewayctl.plain import enum_name
from gatewayctl.sdk.asked import GRACE
from gatewayctl.sdk.triggers import FOREVER, Triggers

__all__ = ["Controls"]

_Answer = TypeVar("_Answer", bound=Message)


class _Calls(Protocol):
    async def call(
        self, method: str, request: Message, answer: type[_Answer], *, timeout: float | None = None
    ) -> _Answer: ...


class Controls(Triggers):
    """A part of `Client`, with what starts executions.

    Each call here returns the state that the execution is in then, such as `paused`.

    NotFound for an execution that there is not, or that this client may not see; GatewayError with reason
    EXECUTION_FINISHED for one that has ended.
    """

    async def pause(self: _Calls, execution_id: str, *, reason: str = "", timeout: float | None = None) -> str:
        """Have it leave at its next step, to go on when it is resumed, and wait until it has.

        `timeout` in seconds, after which it is `running` still and pauses later; None for as long as it takes.
        """
        request = pb.PauseExecutionRequest(execution_id=execution_id, reason=reason)
        if timeout is not None:
            request.timeout.FromMilliseconds(max(1, int(timeout * 1000)))
        limit = FOREVER if timeout is None else timeout + GRACE
        answer = await self.call("RuntimeService/PauseExecution", request, pb.PauseExecutionResponse, timeout=limit)
        return _state(answer.execution)

    async def resume(self: _Calls, execution_id: str, *, reason: str = "") -> str:
        """Queue one that is paused, to go on from its last checkpoint; reason NOT_PAUSED for another."""
        request = pb.ResumeExecutionRequest(execution_id=execution_id, reason=reason)
        answer = await self.call("RuntimeService/ResumeExecution", request, pb.ResumeExecutionResponse)
        return _state(answer.execution)

    async def inject_input(self: _Calls, execution_id: str, content: str, *, node_id: str = "") -> str:
        """Give input to the node that waits for it, and queue the execution; reason NOT_WAITING if it does not wait."""
        request = pb.InjectInputRequest(execution_id=execution_id, node_id=node_id, content=content)
        return _state((await self.call("RuntimeService/InjectInput", request, pb.InjectInputResponse)).execution)


def _state(execution: execution_pb2.Execution) -> str:
    return enum_name(execution_pb2.ExecutionState.DESCRIPTOR, execution.state)

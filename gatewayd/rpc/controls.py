"""The part of `RuntimeService` that acts on executions that are under way."""

from gateway.v1 import runtime_service_pb2 as pb

from gatewayd.access.principals import Principal
from gatewayd.core.checkpoint import MAX_INPUT
from gatewayd.core.clock import Clock
from gatewayd.core.errors import ExecutionFinished
from gatewayd.routing.router import Caller, Router
from gatewayd.rpc.convert import execution_message, name_of
from gatewayd.rpc.guard import Context, Guard
from gatewayd.rpc.patience import Rates, time_left
from gatewayd.runtime.live import LiveExecution
from gatewayd.wire.values import refuse, span_from

MAX_REASON = 256
"""Longest reason of whoever acts, in bytes."""

_NAME = "/gateway.v1.RuntimeService/"


class ControlCalls:
    """Serves `CancelExecution`, `PauseExecution`, `ResumeExecution` and `InjectInput`."""

    def __init__(self, *, guard: Guard, router: Router, rates: Rates, clock: Clock) -> None:
        self._guard = guard
        self._router = router
        self._rates = rates
        self._clock = clock

    async def CancelExecution(  # noqa: N802
        self, request: pb.CancelExecutionRequest, context: Context
    ) -> pb.CancelExecutionResponse:
        async def run(principal: Principal) -> pb.CancelExecutionResponse:
            execution_id = name_of(request.execution_id, "execution_id", required=True)
            controls = self._router.controls
            await controls.cancel(execution_id, Caller(principal, ""), _reason_of(request.reason))
            execution = await controls.visible(execution_id, principal)
            return pb.CancelExecutionResponse(execution=execution_message(execution, with_output=True))

        return await self._guard.unary(f"{_NAME}CancelExecution", context, run)

    async def PauseExecution(  # noqa: N802
        self, request: pb.PauseExecutionRequest, context: Context
    ) -> pb.PauseExecutionResponse:
        async def run(principal: Principal) -> pb.PauseExecutionResponse:
            execution_id = name_of(request.execution_id, "execution_id", required=True)
            wanted = span_from(request.timeout, "timeout") if request.HasField("timeout") else None
            reason, controls = _reason_of(request.reason), self._router.controls
            live = await controls.pause(execution_id, Caller(principal, ""), reason)
            if live is not None:
                bounds = [seconds for seconds in (wanted, time_left(context)) if seconds is not None]
                await self._rest(live, min(bounds, default=None))
            execution = await controls.visible(execution_id, principal)
            if execution.state.terminal:
                raise ExecutionFinished(f"execution {execution_id} ended before it paused: {execution.state.value}")
            return pb.PauseExecutionResponse(execution=execution_message(execution, with_output=False))

        return await self._guard.unary(f"{_NAME}PauseExecution", context, run)

    async def ResumeExecution(  # noqa: N802
        self, request: pb.ResumeExecutionRequest, context: Context
    ) -> pb.ResumeExecutionResponse:
        async def run(principal: Principal) -> pb.ResumeExecutionResponse:
            execution_id = name_of(request.execution_id, "execution_id", required=True)
            reason, controls = _reason_of(request.reason), self._router.controls
            self._rates.send(principal.id)
            await controls.resume(execution_id, Caller(principal, ""), reason)
            execution = await controls.visible(execution_id, principal)
            return pb.ResumeExecutionResponse(execution=execution_message(execution, with_output=False))

        return await self._guard.unary(f"{_NAME}ResumeExecution", context, run)

    async def InjectInput(  # noqa: N802
        self, request: pb.InjectInputRequest, context: Context
    ) -> pb.InjectInputResponse:
        async def run(principal: Principal) -> pb.InjectInputResponse:
            execution_id = name_of(request.execution_id, "execution_id", required=True)
            node_id = name_of(request.node_id, "node_id")
            if len(request.content.encode()) > MAX_INPUT:
                raise refuse("content", f"is longer than {MAX_INPUT} bytes")
            self._rates.send(principal.id)
            controls = self._router.controls
            await controls.give_input(execution_id, node_id, request.content, Caller(principal, ""))
            execution = await controls.visible(execution_id, principal)
            return pb.InjectInputResponse(execution=execution_message(execution, with_output=False))

        return await self._guard.unary(f"{_NAME}InjectInput", context, run)

    async def _rest(self, live: LiveExecution, timeout: float | None) -> None:
        try:
            async with self._clock.timeout(timeout):
                await live.rests.wait()
        except TimeoutError:
            return


def _reason_of(reason: str) -> str:
    if len(reason.encode()) > MAX_REASON or not reason.isprintable():
        raise refuse("reason", f"is not one line of at most {MAX_REASON} bytes")
    return reason

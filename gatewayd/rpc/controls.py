"""The part of `RuntimeService` that acts on executions that are under way."""

from gateway.v1 import runtime_service_pb2 as pb

from gatewayd.access.principals import Principal
from gatewayd.conversation.controlling import Controlling
from gatewayd.core.clock import Clock
from gatewayd.core.controls import ControlRequest
from gatewayd.core.errors import ExecutionFinished
from gatewayd.core.work import Execution
from gatewayd.routing.router import Router
from gatewayd.rpc.convert import execution_message
from gatewayd.rpc.guard import Context, Guard
from gatewayd.rpc.patience import Rates, time_left
from gatewayd.runtime.live import LiveExecution
from gatewayd.wire.controls import cancel_from, input_from, pause_from, resume_from
from gatewayd.wire.values import span_from

_NAME = "/gateway.v1.RuntimeService/"


class ControlCalls:
    """Serves `CancelExecution`, `PauseExecution`, `ResumeExecution` and `InjectInput`."""

    def __init__(self, *, guard: Guard, router: Router, rates: Rates, clock: Clock) -> None:
        self._guard = guard
        self._router = router
        self._controlling = Controlling(router=router, rates=rates)
        self._clock = clock

    async def CancelExecution(  # noqa: N802
        self, request: pb.CancelExecutionRequest, context: Context
    ) -> pb.CancelExecutionResponse:
        async def run(principal: Principal) -> pb.CancelExecutionResponse:
            execution = await self._act(cancel_from(request), principal)
            return pb.CancelExecutionResponse(execution=execution_message(execution, with_output=True))

        return await self._guard.unary(f"{_NAME}CancelExecution", context, run)

    async def PauseExecution(  # noqa: N802
        self, request: pb.PauseExecutionRequest, context: Context
    ) -> pb.PauseExecutionResponse:
        async def run(principal: Principal) -> pb.PauseExecutionResponse:
            pause = pause_from(request)
            wanted = span_from(request.timeout, "timeout") if request.HasField("timeout") else None
            live = await self._controlling.act(pause, principal)
            if live is not None:
                bounds = [seconds for seconds in (wanted, time_left(context)) if seconds is not None]
                await self._rest(live, min(bounds, default=None))
            execution = await self._router.controls.visible(pause.execution_id, principal)
            if execution.state.terminal:
                raise ExecutionFinished(f"execution {execution.id} ended before it paused: {execution.state.value}")
            return pb.PauseExecutionResponse(execution=execution_message(execution, with_output=False))

        return await self._guard.unary(f"{_NAME}PauseExecution", context, run)

    async def ResumeExecution(  # noqa: N802
        self, request: pb.ResumeExecutionRequest, context: Context
    ) -> pb.ResumeExecutionResponse:
        async def run(principal: Principal) -> pb.ResumeExecutionResponse:
            execution = await self._act(resume_from(request), principal)
            return pb.ResumeExecutionResponse(execution=execution_message(execution, with_output=False))

        return await self._guard.unary(f"{_NAME}ResumeExecution", context, run)

    async def InjectInput(  # noqa: N802
        self, request: pb.InjectInputRequest, context: Context
    ) -> pb.InjectInputResponse:
        async def run(principal: Principal) -> pb.InjectInputResponse:
            execution = await self._act(input_from(request), principal)
            return pb.InjectInputResponse(execution=execution_message(execution, with_output=False))

        return await self._guard.unary(f"{_NAME}InjectInput", context, run)

    async def _act(self, wanted: ControlRequest, principal: Principal) -> Execution:
        """Do it; the execution as it is then."""
        await self._controlling.act(wanted, principal)
        return await self._router.controls.visible(wanted.execution_id, principal)

    async def _rest(self, live: LiveExecution, timeout: float | None) -> None:
        try:
            async with self._clock.timeout(timeout):
                await live.rests.wait()
        except TimeoutError:
            return

"""What clients want of executions that are under way: by a frame of their stream, or by a call; under one rate."""

from gatewayd.access.principals import Principal
from gatewayd.access.rates import Rates
from gatewayd.core.controls import Cancel, ControlRequest, InjectInput, Pause, Resume
from gatewayd.routing.router import Caller, Router
from gatewayd.runtime.live import LiveExecution


class Controlling:
    """Keeps nothing: two of them with the same `rates` are one."""

    def __init__(self, *, router: Router, rates: Rates) -> None:
        self._router = router
        self._rates = rates

    async def act(self, wanted: ControlRequest, principal: Principal) -> LiveExecution | None:
        """Do it; what is written is on disk then. For a pause, the execution that has left or will (`rests`).

        Raises `NotFound` also for an execution of others, `ExecutionFinished`, `NotPaused`, `NotWaiting`, `Draining`,
        and `LimitExceeded` when what queues again comes too fast (`gateway.limits.send_rate`), or too much waits.
        """
        controls, caller = self._router.controls, Caller(principal, "")
        match wanted:
            case Cancel():
                await controls.cancel(wanted.execution_id, caller, wanted.reason)
            case Pause():
                return await controls.pause(wanted.execution_id, caller, wanted.reason)
            case Resume():
                self._rates.send(principal.id)
                await controls.resume(wanted.execution_id, caller, wanted.reason)
            case InjectInput():
                self._rates.send(principal.id)
                await controls.give_input(wanted.execution_id, wanted.node_id, wanted.content, caller)
        return None

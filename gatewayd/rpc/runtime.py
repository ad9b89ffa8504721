"""`RuntimeService`: looks at executions and cancels them; its other parts have files of their own."""

from collections.abc import Callable, Sequence
from dataclasses import replace

from gateway.v1 import runtime_service_pb2 as pb

from gatewayd.access.principals import Principal
from gatewayd.bus.base import EventBus
from gatewayd.core.clock import Clock
from gatewayd.core.execution_log import MAX_ENTRIES, LogEntry
from gatewayd.core.work import Execution
from gatewayd.engine.engine import MessageEngine
from gatewayd.routing.router import Router
from gatewayd.rpc.controls import ControlCalls
from gatewayd.rpc.convert import checkpoint_message, execution_message, execution_state_of, log_message, name_of
from gatewayd.rpc.goals import GoalCalls
from gatewayd.rpc.guard import Context, Guard
from gatewayd.rpc.paging import gather, page_of
from gatewayd.rpc.patience import Rates
from gatewayd.rpc.runtime_stats import StatsCalls
from gatewayd.rpc.state import StateCalls
from gatewayd.rpc.triggers import EntryPointCalls
from gatewayd.runtime.entry_points import EntryPointFeeds
from gatewayd.runtime.goals import Goals
from gatewayd.runtime.state import SharedState
from gatewayd.runtime.state_watch import StateWatches
from gatewayd.storage.base import Store

_NAME = "/gateway.v1.RuntimeService/"


class RuntimeService(ControlCalls, EntryPointCalls, GoalCalls, StatsCalls, StateCalls):
    """Serves the whole service. An execution of somebody else is answered like one that is not there."""

    def __init__(
        self,
        *,
        guard: Guard,
        router: Router,
        store: Store,
        entry_points: EntryPointFeeds,
        state: SharedState,
        watches: StateWatches,
        goals: Goals,
        works_on: Callable[[str, str], bool],
        bus: EventBus,
        engine: MessageEngine,
        rates: Rates,
        clock: Clock,
    ) -> None:
        ControlCalls.__init__(self, guard=guard, router=router, rates=rates, clock=clock)
        EntryPointCalls.__init__(
            self, guard=guard, router=router, store=store, entry_points=entry_points, rates=rates, clock=clock
        )
        GoalCalls.__init__(self, guard=guard, goals=goals, store=store, rates=rates, works_on=works_on)
        StatsCalls.__init__(self, guard=guard, router=router, goals=goals, state=state, bus=bus, engine=engine)
        StateCalls.__init__(self, guard=guard, store=store, state=state, watches=watches, rates=rates, clock=clock)

    async def GetExecution(  # noqa: N802
        self, request: pb.GetExecutionRequest, context: Context
    ) -> pb.GetExecutionResponse:
        async def run(principal: Principal) -> pb.GetExecutionResponse:
            execution_id = name_of(request.execution_id, "execution_id", required=True)
            execution = await self._router.controls.visible(execution_id, principal)
            ended = execution.state.terminal
            kept = [] if ended else await self._store.list_checkpoints(execution_id)
            graph = await self._store.graph_result(execution_id) if ended else None
            return pb.GetExecutionResponse(
                execution=execution_message(self._now(execution), with_output=True, graph=graph),
                checkpoints=[checkpoint_message(one) for one in kept],
                log=[log_message(one) for one in await self._log_of(execution_id)],
            )

        return await self._guard.unary(f"{_NAME}GetExecution", context, run)

    async def ListExecutions(  # noqa: N802
        self, request: pb.ListExecutionsRequest, context: Context
    ) -> pb.ListExecutionsResponse:
        async def run(principal: Principal) -> pb.ListExecutionsResponse:
            states = [execution_state_of(value, "states") for value in request.states]
            session_id, agent = name_of(request.session_id, "session_id"), name_of(request.agent, "agent")
            entry_point = name_of(request.entry_point, "entry_point")
            conditions = (sorted(states), session_id, agent, entry_point)
            page = page_of(request.page_size, request.page_token, "ListExecutions", *conditions)

            async def read(before: str, limit: int) -> Sequence[Execution]:
                return await self._store.list_executions(
                    states=states, session_id=session_id, agent=agent, before=before, limit=limit
                )

            def keep(row: Execution) -> bool:
                return principal.may_see(row.principal) and (not entry_point or row.entry_point == entry_point)

            rows, token = await gather(read, lambda row: row.id, page, keep)
            executions = [execution_message(self._now(row), with_output=False) for row in rows]
            return pb.ListExecutionsResponse(executions=executions, next_page_token=token)

        return await self._guard.unary(f"{_NAME}ListExecutions", context, run)

    def _now(self, execution: Execution) -> Execution:
        """With what it waits for, which is in no row."""
        live = None if execution.state.terminal else self._router.runtime.live(execution.id)
        waits = self._router.runtime.lanes.waits_for(live) if live is not None else ""
        return replace(execution, reason=waits) if waits else execution

    async def _log_of(self, execution_id: str) -> Sequence[LogEntry]:
        """What is on disk, and what a run that goes on has not written yet."""
        live = self._router.runtime.live(execution_id)
        waiting = list(live.log) if live is not None else []
        stored = await self._store.execution_log(execution_id)
        known = set(stored)
        return [*stored, *(one for one in waiting if one not in known)][-MAX_ENTRIES:]

"""The part of `RuntimeService` that serves its figures."""

from gateway.v1 import goal_pb2
from gateway.v1 import runtime_service_pb2 as pb

from gatewayd.access.principals import Principal
from gatewayd.bus.base import EventBus
from gatewayd.engine.engine import MessageEngine
from gatewayd.routing.router import Router
from gatewayd.rpc.guard import Context, Guard
from gatewayd.runtime.goals import Goals
from gatewayd.runtime.state import SharedState


class StatsCalls:
    """Serves `GetRuntimeStats`."""

    def __init__(
        self,
        *,
        guard: Guard,
        router: Router,
        goals: Goals,
        state: SharedState,
        bus: EventBus,
        engine: MessageEngine,
    ) -> None:
        self._guard = guard
        self._router = router
        self._goals = goals
        self._state = state
        self._bus = bus
        self._engine = engine

    async def GetRuntimeStats(  # noqa: N802
        self, _request: pb.GetRuntimeStatsRequest, context: Context
    ) -> pb.GetRuntimeStatsResponse:
        async def run(_principal: Principal) -> pb.GetRuntimeStatsResponse:
            runtime = self._router.runtime
            by_entry_point = runtime.per_entry_point()
            return pb.GetRuntimeStatsResponse(
                running=self._router.is_open,
                entry_points=len(self._router.config.entry_points),
                queued=runtime.lanes.queued,
                limit=runtime.lanes.limit,
                free=runtime.lanes.free,
                executions=runtime.counts(),
                by_entry_point=[
                    pb.EntryPointStats(id=name, executions=by_entry_point[name]) for name in sorted(by_entry_point)
                ],
                goals=map(self._goal, sorted(self._goals.ids)),
                shared_state=await self._shared_state(),
                bus=self._figures_of_the_bus(),
                engine=self._figures_of_the_engine(),
            )

        return await self._guard.unary("/gateway.v1.RuntimeService/GetRuntimeStats", context, run)

    def _goal(self, goal_id: str) -> pb.GoalStats:
        found = self._goals.progress(goal_id)
        return pb.GoalStats(
            id=goal_id,
            progress=found.progress,
            recommendation=goal_pb2.GoalRecommendation.Value(f"GOAL_RECOMMENDATION_{found.recommendation.name}"),
            decisions=found.metrics.decisions,
        )

    async def _shared_state(self) -> pb.SharedStateStats:
        totals = await self._state.totals()
        return pb.SharedStateStats(
            keys=sum(totals.keys.values()),
            keys_by_scope={str(scope): count for scope, count in totals.keys.items()},
            bytes=totals.size,
            max_bytes=self._state.limits.total_bytes,
        )

    def _figures_of_the_bus(self) -> pb.RuntimeBusStats:
        figures = self._bus.stats()
        return pb.RuntimeBusStats(
            published=figures.published,
            delivered=figures.delivered,
            dropped=figures.dropped,
            subscriptions=figures.subscriptions,
            slow_consumers=figures.slow_consumers,
        )

    def _figures_of_the_engine(self) -> pb.EngineStats:
        figures = self._engine.stats()
        return pb.EngineStats(
            queued=figures.queued,
            running=figures.running,
            instances=figures.instances,
            sent=figures.sent,
            published=figures.published,
            failed=figures.failed,
            dropped=figures.dropped,
        )

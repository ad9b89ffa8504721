"""The half of `RuntimeService` that starts entry points."""

from collections.abc import Mapping

from gateway.v1 import runtime_service_pb2 as pb

from gatewayd.access.principals import Principal
from gatewayd.access.scopes import Action
from gatewayd.config.model import EntryPointSection
from gatewayd.conversation.triggering import Triggering
from gatewayd.core.clock import Clock
from gatewayd.routing.router import Router
from gatewayd.routing.waiting import wait_for_end
from gatewayd.rpc.convert import execution_message, instant
from gatewayd.rpc.guard import Context, Guard, traceparent_of
from gatewayd.rpc.paging import cut, page_of
from gatewayd.rpc.patience import Rates, time_left
from gatewayd.runtime.entry_points import EntryPointFeeds
from gatewayd.storage.base import Store
from gatewayd.wire.triggers import trigger_from
from gatewayd.wire.values import span_from

_NAME = "/gateway.v1.RuntimeService/"


class EntryPointCalls:
    """Serves `ListEntryPoints`, `Trigger` and `TriggerAndWait`."""

    def __init__(
        self, *, guard: Guard, router: Router, store: Store, entry_points: EntryPointFeeds, rates: Rates, clock: Clock
    ) -> None:
        self._guard = guard
        self._router = router
        self._store = store
        self._entry_points = entry_points
        self._triggering = Triggering(router=router, rates=rates, clock=clock)
        self._clock = clock

    async def ListEntryPoints(  # noqa: N802
        self, request: pb.ListEntryPointsRequest, context: Context
    ) -> pb.ListEntryPointsResponse:
        async def run(principal: Principal) -> pb.ListEntryPointsResponse:
            page = page_of(request.page_size, request.page_token, "ListEntryPoints")
            configured = self._router.config.entry_points
            mine = [(name, one) for name, one in configured.items() if principal.scopes.allows(Action.RUNTIME, name)]
            rows, token = cut(mine, lambda row: row[0], page)
            counts = self._router.runtime.per_entry_point()
            found = [self._entry_point(name, one, counts.get(name, {})) for name, one in rows]
            return pb.ListEntryPointsResponse(entry_points=found, next_page_token=token)

        return await self._guard.unary(f"{_NAME}ListEntryPoints", context, run)

    def _entry_point(self, name: str, section: EntryPointSection, counts: Mapping[str, int]) -> pb.EntryPoint:
        graph = self._router.config.graphs.get(section.graph or "")
        return pb.EntryPoint(
            id=name,
            name=section.name or name,
            agent=section.agent or "",
            graph=section.graph or "",
            entry_node=(section.entry_node or graph.entry) if graph is not None else "",
            description=graph.description if graph is not None else "",
            trigger=pb.TriggerKind.Value(f"TRIGGER_KIND_{section.trigger.upper()}"),
            priority=section.priority,
            max_concurrent=section.max_concurrent,
            running=counts.get("running", 0),
            queued=counts.get("queued", 0),
            next_time=instant(self._entry_points.next_time(name)),
            goal=section.goal or "",
            isolation_level=pb.IsolationLevel.Value(f"ISOLATION_LEVEL_{section.isolation_level.upper()}"),
        )

    async def Trigger(self, request: pb.TriggerRequest, context: Context) -> pb.TriggerResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.TriggerResponse:
            wanted = trigger_from(request, traceparent=traceparent_of(context))
            accepted = (await self._triggering.start(wanted, principal)).accepted
            return pb.TriggerResponse(
                execution_id=accepted.execution_id, message_id=accepted.message_id, duplicate=accepted.duplicate
            )

        return await self._guard.unary(f"{_NAME}Trigger", context, run)

    async def TriggerAndWait(  # noqa: N802
        self, request: pb.TriggerAndWaitRequest, context: Context
    ) -> pb.TriggerAndWaitResponse:
        async def run(principal: Principal) -> pb.TriggerAndWaitResponse:
            wanted = span_from(request.timeout, "timeout") if request.HasField("timeout") else None
            trigger = trigger_from(request.trigger, "trigger.", traceparent=traceparent_of(context))
            with self._guard.waits.of(principal) as wait:
                submitted = await self._triggering.start(trigger, principal)
                wait.goes_on(submitted.accepted.execution_id)
                bounds = [seconds for seconds in (wanted, time_left(context)) if seconds is not None]
                timeout = min(bounds, default=None)
                execution, graph = await wait_for_end(submitted, self._store, self._clock, timeout)
            ended = execution.state.terminal
            return pb.TriggerAndWaitResponse(
                outcome=pb.TRIGGER_OUTCOME_ENDED if ended else pb.TRIGGER_OUTCOME_TIMED_OUT,
                execution=execution_message(execution, with_output=True, graph=graph),
                duplicate=submitted.accepted.duplicate,
            )

        return await self._guard.unary(f"{_NAME}TriggerAndWait", context, run)

"""The half of `RuntimeService` that starts entry points."""

import json
from collections.abc import Mapping

from gateway.v1 import runtime_service_pb2 as pb

from gatewayd.access.principals import Principal
from gatewayd.access.scopes import Action
from gatewayd.config.model import EntryPointSection
from gatewayd.core.checkpoint import state_text
from gatewayd.core.clock import Clock
from gatewayd.core.work import Origin, Trigger
from gatewayd.routing.router import Caller, Router, Submitted
from gatewayd.routing.waiting import wait_for_end
from gatewayd.rpc.convert import execution_message, instant, name_of
from gatewayd.rpc.guard import Context, Guard
from gatewayd.rpc.paging import cut, page_of
from gatewayd.rpc.patience import Rates, time_left
from gatewayd.runtime.entry_points import EntryPointFeeds
from gatewayd.storage.base import Store
from gatewayd.wire.values import check_struct, object_from, refuse, span_from

_NAME = "/gateway.v1.RuntimeService/"


class EntryPointCalls:
    """Serves `ListEntryPoints`, `Trigger`, `TriggerAndWait` and `GetRuntimeStats`."""

    def __init__(
        self, *, guard: Guard, router: Router, store: Store, entry_points: EntryPointFeeds, rates: Rates, clock: Clock
    ) -> None:
        self._guard = guard
        self._router = router
        self._store = store
        self._entry_points = entry_points
        self._rates = rates
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
        )

    async def Trigger(self, request: pb.TriggerRequest, context: Context) -> pb.TriggerResponse:  # noqa: N802
        async def run(principal: Principal) -> pb.TriggerResponse:
            accepted = (await self._trigger(request, principal)).accepted
            return pb.TriggerResponse(
                execution_id=accepted.execution_id, message_id=accepted.message_id, duplicate=accepted.duplicate
            )

        return await self._guard.unary(f"{_NAME}Trigger", context, run)

    async def TriggerAndWait(  # noqa: N802
        self, request: pb.TriggerAndWaitRequest, context: Context
    ) -> pb.TriggerAndWaitResponse:
        async def run(principal: Principal) -> pb.TriggerAndWaitResponse:
            wanted = span_from(request.timeout, "timeout") if request.HasField("timeout") else None
            submitted = await self._trigger(request.trigger, principal, "trigger.")
            bounds = [seconds for seconds in (wanted, time_left(context)) if seconds is not None]
            timeout = min(bounds, default=None)
            execution = await wait_for_end(submitted, self._store, self._clock, timeout)
            ended = execution.state.terminal
            graph = await self._store.graph_result(execution.id) if ended else None
            return pb.TriggerAndWaitResponse(
                outcome=pb.TRIGGER_OUTCOME_ENDED if ended else pb.TRIGGER_OUTCOME_TIMED_OUT,
                execution=execution_message(execution, with_output=True, graph=graph),
                duplicate=submitted.accepted.duplicate,
            )

        return await self._guard.unary(f"{_NAME}TriggerAndWait", context, run)

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
            )

        return await self._guard.unary(f"{_NAME}GetRuntimeStats", context, run)

    async def _trigger(self, request: pb.TriggerRequest, principal: Principal, path: str = "") -> Submitted:
        trigger = Trigger(
            entry_point=name_of(request.entry_point, f"{path}entry_point", required=True),
            text=_input_of(request, path),
            origin=Origin.TRIGGER,
            principal=principal.id,
            correlation_id=name_of(request.correlation_id, f"{path}correlation_id"),
            idempotency_key=name_of(request.idempotency_key, f"{path}idempotency_key"),
            given=_given(request, path),
        )
        self._rates.send(principal.id)
        return await self._router.accept_trigger(trigger, Caller(principal, ""))


def _given(request: pb.TriggerRequest, path: str) -> str:
    if not request.HasField("session_state"):
        return ""
    state, path = request.session_state, f"{path}session_state."
    check_struct(state.memory, f"{path}memory")
    paused_at = name_of(state.paused_at, f"{path}paused_at")
    return state_text({"memory": object_from(state.memory), "paused_at": paused_at})


def _input_of(request: pb.TriggerRequest, path: str) -> str:
    kind = request.WhichOneof("input")
    if kind == "text":
        if not request.text.strip():
            raise refuse(f"{path}text", "is blank; leave the input out instead")
        return request.text
    check_struct(request.json, f"{path}json")
    return json.dumps(object_from(request.json), ensure_ascii=False, sort_keys=True)

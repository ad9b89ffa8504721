"""The part of `RuntimeService` that serves the shared state."""

from collections.abc import Callable
from contextlib import aclosing
from functools import partial

from gateway.v1 import state_pb2

from gatewayd.access.principals import Principal, rescoped
from gatewayd.access.scopes import Action
from gatewayd.core.clock import Clock
from gatewayd.core.errors import NotFound, SlowConsumer
from gatewayd.core.state import EVERYWHERE, Isolation, Place, StateScope, check_key, read_order
from gatewayd.core.topic import TopicPattern
from gatewayd.core.work import Execution
from gatewayd.rpc.contract import RuntimeServiceServicer
from gatewayd.rpc.convert_state import change_of, entry_message, parts, scope_of
from gatewayd.rpc.guard import Context, Guard
from gatewayd.rpc.paging import page_of
from gatewayd.rpc.patience import Rates
from gatewayd.runtime.state import SharedState
from gatewayd.runtime.state_watch import PAGE, StateWatch, StateWatches
from gatewayd.storage.base import Store
from gatewayd.wire.names import MAX_KEY, name, required
from gatewayd.wire.values import refuse

MAX_PAGE_BYTES = 1 << 20
"""A page of keys ends here, unless its first key alone is larger."""
STALL = 10.0
"""Seconds that a reader may leave a response of its watch unread."""

_NAME = "/gateway.v1.RuntimeService/"


class StateCalls(RuntimeServiceServicer):
    """The state of somebody else's execution is answered like that of one that is not there."""

    def __init__(
        self,
        *,
        guard: Guard,
        store: Store,
        state: SharedState,
        watches: StateWatches,
        rates: Rates,
        clock: Clock,
    ) -> None:
        self._guard = guard
        self._store = store
        self._state = state
        self._watches = watches
        self._rates = rates
        self._clock = clock

    async def GetState(  # noqa: N802
        self, request: state_pb2.GetStateRequest, context: Context
    ) -> state_pb2.GetStateResponse:
        async def run(principal: Principal) -> state_pb2.GetStateResponse:
            key = check_key(required(request.key, "key"))
            principal.require(Action.STATE_READ, key)
            found = await self._state.find(await self._places(request, principal), key)
            return state_pb2.GetStateResponse(entry=entry_message(found) if found is not None else None)

        return await self._guard.unary(f"{_NAME}GetState", context, run)

    async def ListState(  # noqa: N802
        self, request: state_pb2.ListStateRequest, context: Context
    ) -> state_pb2.ListStateResponse:
        async def run(principal: Principal) -> state_pb2.ListStateResponse:
            place = await self._place(scope_of(request.scope, "scope"), request.scope_id, principal, "scope_id")
            selects = _selecting(request.key_pattern, principal)
            page = page_of(request.page_size, request.page_token, "ListState", str(place), request.key_pattern)
            found: list[state_pb2.StateEntry] = []
            size, after, now = 0, page.place, self._clock.now()
            while rows := await self._state.page(place, after, PAGE):
                for row in rows:
                    if not (row.is_there(now) and selects(row.key)):
                        continue
                    one = entry_message(row)
                    size += one.ByteSize()
                    if len(found) == page.size or (found and size > MAX_PAGE_BYTES):
                        # Not the last key that was looked at: the token would tell its name to who may not read it.
                        return state_pb2.ListStateResponse(entries=found, next_page_token=page.next(found[-1].key))
                    found.append(one)
                after = rows[-1].key
            return state_pb2.ListStateResponse(entries=found)

        return await self._guard.unary(f"{_NAME}ListState", context, run)

    async def SetState(  # noqa: N802
        self, request: state_pb2.SetStateRequest, context: Context
    ) -> state_pb2.SetStateResponse:
        async def run(principal: Principal) -> state_pb2.SetStateResponse:
            self._rates.publish(principal.id, len(request.writes))
            executions: dict[str, Execution] = {}
            changes = []
            for number, one in enumerate(request.writes):
                path = f"writes[{number}]"
                principal.require(Action.STATE_WRITE, check_key(required(one.key, f"{path}.key")))
                scope = scope_of(one.scope, f"{path}.scope")
                place = await self._place(scope, one.scope_id, principal, f"{path}.scope_id", executions)
                changes.append(change_of(one, place, path, self._state.limits))
            done = await self._state.write(changes, writer=principal.id, executions=executions)
            return state_pb2.SetStateResponse(entries=[entry_message(entry) for entry in done])

        return await self._guard.unary(f"{_NAME}SetState", context, run)

    async def WatchState(  # type: ignore[override]  # noqa: N802 - it writes its answers itself
        self, request: state_pb2.WatchStateRequest, context: Context
    ) -> None:
        async def run(principal: Principal) -> None:
            place = await self._place(scope_of(request.scope, "scope"), request.scope_id, principal, "scope_id")
            selects = _selecting(request.key_pattern, principal)
            # Once more: from here on a watch hears what its token has lost, which may have been since it was asked.
            now = self._guard.admit(f"{_NAME}WatchState", context)
            if (now.id, now.scopes) != (principal.id, principal.scopes):
                raise rescoped()
            watch = self._watches.open(place, None, selects, principal.token_sha256)
            try:
                await self._tell(watch, context)
            finally:
                watch.close()

        await self._guard.unary(f"{_NAME}WatchState", context, run)

    async def _tell(self, watch: StateWatch, context: Context) -> None:
        async with aclosing(watch.news()) as all_news:
            async for news in all_news:
                for response in parts(news, MAX_PAGE_BYTES):
                    await self._write(response, context)

    async def _write(self, response: state_pb2.WatchStateResponse, context: Context) -> None:
        try:
            async with self._clock.timeout(STALL):
                await context.write(response)
        except TimeoutError:
            raise SlowConsumer(f"the client did not read for {STALL:g} s", retry_after=1.0) from None

    # Places

    async def _places(self, request: state_pb2.GetStateRequest, principal: Principal) -> tuple[Place, ...]:
        if request.scope != state_pb2.STATE_SCOPE_UNSPECIFIED:
            scope = scope_of(request.scope, "scope")
            return (await self._place(scope, request.scope_id, principal, "scope_id"),)
        execution = await self._execution(required(request.scope_id, "scope_id"), principal)
        principal.require(Action.RUNTIME, execution.stream_id)
        return read_order(Isolation.SHARED, execution.id, execution.stream_id)

    async def _place(
        self,
        scope: StateScope,
        scope_id: str,
        principal: Principal,
        path: str,
        executions: dict[str, Execution] | None = None,
    ) -> Place:
        """The place, if the caller may be there at all; what keys it may touch is another question."""
        name(scope_id, path, MAX_KEY)
        if scope is StateScope.GLOBAL:
            if scope_id:
                raise refuse(path, "must be empty for the scope global")
            return EVERYWHERE
        required(scope_id, path)
        if scope is StateScope.STREAM:
            principal.require(Action.RUNTIME, scope_id)
        elif executions is None or scope_id not in executions:
            execution = await self._execution(scope_id, principal)
            if executions is not None:
                executions[scope_id] = execution
        return Place(scope, scope_id)

    async def _execution(self, execution_id: str, principal: Principal) -> Execution:
        execution = await self._store.get_execution(execution_id)
        if execution is None or not principal.may_see(execution.principal):
            raise NotFound(f"no execution {execution_id!r}")
        return execution


def _selecting(pattern: str, principal: Principal) -> Callable[[str], bool]:
    """Whether a key is one that was asked for and may be read."""
    parsed = TopicPattern.parse(pattern) if pattern else None
    allowed = partial(principal.scopes.allows, Action.STATE_READ)
    return lambda key: (parsed is None or parsed.matches(key)) and allowed(key)

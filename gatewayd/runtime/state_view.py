"""The shared state as one execution sees it, by its isolation."""

from collections.abc import Sequence
from typing import Any

from gatewayd.agents.state import AgentState, StateSet
from gatewayd.core.errors import InvalidArgument
from gatewayd.core.state import EVERYWHERE, Isolation, Place, StateEntry, StateScope, read_order, text_of
from gatewayd.core.work import Execution
from gatewayd.runtime.state import Change, SharedState


class StateView(AgentState):
    """See `agents.state.AgentState`."""

    def __init__(self, state: SharedState, execution: Execution, isolation: Isolation = Isolation.SHARED) -> None:
        self._state = state
        self._execution = execution
        self._isolation = isolation
        self._order = read_order(isolation, execution.id, execution.stream_id)
        self._seen: dict[tuple[Place, str], int] = {}

    async def get(self, key: str, default: Any = None) -> Any:
        found = await self.entry(key)
        return default if found is None else found.value

    async def entry(self, key: str, scope: StateScope | None = None) -> StateEntry | None:
        places = self._order if scope is None else (self._place(scope),)
        found = await self._state.find(places, key)
        for place in places:
            # What stands behind the place where it was found was not seen.
            self._seen[place, key] = found.version if found is not None and found.place == place else 0
            if found is not None and found.place == place:
                break
        return found

    async def set(
        self, key: str, value: Any, *, scope: StateScope = StateScope.EXECUTION, ttl: float | None = None
    ) -> int:
        return (await self.transact([StateSet(key, _there(value), scope, None, ttl)]))[0]

    async def compare_and_set(
        self,
        key: str,
        value: Any,
        expected: int,
        *,
        scope: StateScope = StateScope.EXECUTION,
        ttl: float | None = None,
    ) -> int:
        return (await self.transact([StateSet(key, _there(value), scope, expected, ttl)]))[0]

    async def delete(self, key: str, *, scope: StateScope = StateScope.EXECUTION) -> None:
        await self.transact([StateSet(key, None, scope)])

    async def transact(self, writes: Sequence[StateSet]) -> list[int]:
        changes = [self._change(one) for one in writes]
        execution = self._execution
        done = await self._state.write(
            changes,
            writer=execution.principal,
            executions={execution.id: execution},
            by=execution,
        )
        for entry in done:
            self._seen[entry.place, entry.key] = entry.version if entry.text else 0
        return [entry.version for entry in done]

    def _change(self, one: StateSet) -> Change:
        place = self._place(one.scope)
        expected = one.expected
        if expected is None and self._isolation is Isolation.SYNCHRONIZED and one.scope is not StateScope.EXECUTION:
            expected = self._seen.get((place, one.key), 0)
        text = "" if one.value is None else text_of(one.value, self._state.limits)
        return Change(place, one.key, text, expected, one.ttl)

    def _place(self, scope: StateScope) -> Place:
        if scope is StateScope.EXECUTION:
            return Place(scope, self._execution.id)
        if self._isolation is Isolation.ISOLATED:
            raise InvalidArgument(f"an isolated execution has its own state alone, not that of scope {scope}")
        return EVERYWHERE if scope is StateScope.GLOBAL else Place(scope, self._execution.stream_id)


def _there(held: Any) -> Any:
    if held is None:
        raise InvalidArgument("None is what a key holds that is not there: delete it")
    return held

"""A shared state for running an agent by itself: in memory, for one execution, without a bound."""

from collections.abc import Sequence
from typing import Any

from gatewayd.agents.state import AgentState, StateSet
from gatewayd.core.errors import StateConflict
from gatewayd.core.state import Place, StateEntry, StateLimits, StateScope, check_key, text_of

_ORDER = (StateScope.EXECUTION, StateScope.STREAM, StateScope.GLOBAL)


class FakeState(AgentState):
    """An `AgentState`; what time does to keys is left out."""

    def __init__(self) -> None:
        self.entries: dict[tuple[StateScope, str], StateEntry] = {}
        self._versions = 0

    async def get(self, key: str, default: Any = None) -> Any:
        found = await self.entry(key)
        return default if found is None else found.value

    async def entry(self, key: str, scope: StateScope | None = None) -> StateEntry | None:
        for one in _ORDER if scope is None else (scope,):
            if (found := self.entries.get((one, key))) is not None:
                return found
        return None

    async def set(
        self, key: str, value: Any, *, scope: StateScope = StateScope.EXECUTION, ttl: float | None = None
    ) -> int:
        return (await self.transact([StateSet(key, value, scope, None, ttl)]))[0]

    async def compare_and_set(
        self,
        key: str,
        value: Any,
        expected: int,
        *,
        scope: StateScope = StateScope.EXECUTION,
        ttl: float | None = None,
    ) -> int:
        return (await self.transact([StateSet(key, value, scope, expected, ttl)]))[0]

    async def delete(self, key: str, *, scope: StateScope = StateScope.EXECUTION) -> None:
        await self.transact([StateSet(key, None, scope)])

    async def transact(self, writes: Sequence[StateSet]) -> list[int]:
        for one in writes:
            check_key(one.key)
            old = self.entries.get((one.scope, one.key))
            if one.expected is not None and one.expected != (old.version if old else 0):
                raise StateConflict(f"{one.key!r} is not at version {one.expected}")
        return [self._write(one) for one in writes]

    def _write(self, one: StateSet) -> int:
        self._versions += 1
        if one.value is None:
            return self._versions if self.entries.pop((one.scope, one.key), None) else 0
        text = text_of(one.value, StateLimits())
        self.entries[one.scope, one.key] = StateEntry(Place(one.scope), one.key, text, self._versions)
        return self._versions

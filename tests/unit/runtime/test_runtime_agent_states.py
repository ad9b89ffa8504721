"""States of instances in the store: an empty one takes no room there."""

from typing import Any, cast

import pytest

from gatewayd.core.errors import StoreBusy
from gatewayd.runtime.messaging import AgentStates
from gatewayd.testing.fakes import FakeClock


class Table:
    """States by key; refuses to write while `busy`."""

    def __init__(self) -> None:
        self.states: dict[str, str] = {}
        self.busy = False

    async def save_agent_state(self, key: str, state: str, now: float) -> None:
        del now
        if self.busy:
            raise StoreBusy("busy")
        self.states[key] = state

    async def agent_state(self, key: str) -> str:
        return self.states.get(key, "")


async def test_a_state_that_became_empty_goes_also_where_the_store_was_busy_first() -> None:
    table = Table()
    states = AgentStates(cast(Any, table), FakeClock())
    await states.save("k", b'{"n": 1}')
    assert await states.load("k") == b'{"n": 1}'
    table.busy = True
    with pytest.raises(StoreBusy):
        await states.save("k", b"{}")
    table.busy = False
    await states.save("k", b"{}")
    assert await states.load("k") is None

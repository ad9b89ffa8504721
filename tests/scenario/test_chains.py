"""Entry points that start each other: bounded, told, and no bound for one that shall start itself."""

from pathlib import Path

import pytest

from gatewayd.core.chains import MAX_HOPS
from gatewayd.core.event import Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.wire import data_of
from tests.rigs.house import eventually
from tests.rigs.in_process import InProcess

AGENTS = "agents: {nod: {class: 'counter:Nod'}, counter: {class: 'counter:Counter'}}\n"
ERRORS = EventFilter(frozenset({EventType.ERROR}))
COUNTER = """
from gatewayd.agents.base import *
from gatewayd.core.state import StateScope

class Nod:
    def __init__(self, name, options): ...

    async def run(self, turn, ctx):
        yield TextOutput("yes")

class Counter:
    '''Counts in what everybody shares.'''

    def __init__(self, name, options): ...

    async def run(self, turn, ctx):
        number = await ctx.state.get("count", 0)
        await ctx.state.set("count", number + 1, scope=StateScope.GLOBAL)
        yield TextOutput(str(number))
"""


def on_end_of(other: str, agent: str = "nod", **more: str) -> str:
    wanted = "".join(f", {key}: {text}" for key, text in more.items())
    config = f"{{event_types: [execution_completed], filter_stream: {other}{wanted}}}"
    return f"{{agent: {agent}, trigger: event, trigger_config: {config}}}"


@pytest.fixture(autouse=True)
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "counter.py").write_text(COUNTER)
    monkeypatch.syspath_prepend(str(tmp_path))


async def told(gateway: InProcess) -> Event:
    """The error that the log has, once it is there."""

    async def there() -> Event | None:
        page = await gateway.house.store.read_forward(0, ERRORS, 10)
        return page.events[0] if page.events else None

    return await eventually(there)


async def test_two_that_start_each_other_come_to_an_end_and_it_is_told(tmp_path: Path) -> None:
    config = AGENTS + (
        f"entry_points:\n  ping: {on_end_of('pong')}\n  pong: {on_end_of('ping')}\n"
        "  watching: {agent: nod, trigger: event, trigger_config: {event_types: [error]}}\n"
    )
    async with InProcess(tmp_path, config) as gateway, gateway.client("c") as client:
        first = await client.trigger("ping", "go", correlation_id="order-7")
        event = await told(gateway)

        said = data_of(event)
        assert said["reason"] == "CHAIN_TOO_LONG"
        assert "the chain order-7" in said["message"]
        assert "ping" in said["message"]
        assert "pong" in said["message"]
        found = await gateway.house.store.list_executions(states=(), session_id="", agent="", before="", limit=500)
        # Who waits for errors belongs to the chain, and cannot make it go on.
        assert {one.entry_point for one in found} == {"ping", "pong"}
        assert len(found) == MAX_HOPS + 1
        links = {one.correlation_id for one in found}
        assert links == {"order-7", *(f"order-7~{hop}" for hop in range(1, MAX_HOPS + 1))}
        assert next(one.correlation_id for one in found if one.id == first.execution_id) == "order-7"
        assert (await client.trigger_and_wait("ping", "go", correlation_id="order-8")).state == "succeeded"


async def test_a_chain_over_the_shared_state_ends_too(tmp_path: Path) -> None:
    """Changes of what is shared belong to the chain of the one that has written; two count, each after the other."""
    on_count = "{agent: counter, trigger: event, trigger_config: {event_types: [state_changed], filter_topic: count}}"
    config = f"{AGENTS}entry_points:\n  odd: {on_count}\n  even: {on_count}\n"
    async with InProcess(tmp_path, config) as gateway, gateway.client("c") as client:
        await client.trigger("odd", "go")
        event = await told(gateway)

        said = data_of(event)
        assert said["reason"] == "CHAIN_TOO_LONG"
        held = await client.state.get("count")
        assert held is not None
        assert held.value == MAX_HOPS + 1


async def test_one_that_shall_start_itself_goes_on(tmp_path: Path) -> None:
    """`include_own` is said by somebody who wants it."""
    config = f"{AGENTS}entry_points:\n  self: {on_end_of('self', include_own='true')}\n"
    async with InProcess(tmp_path, config) as gateway, gateway.client("c") as client:
        first = await client.trigger("self", "x")

        async def many() -> bool | None:
            return gateway.house.runtime.per_entry_point()["self"].get("succeeded", 0) > 2 * MAX_HOPS or None

        await eventually(many)
        await gateway.reload(AGENTS)
        kept = await gateway.house.store.list_executions(states=(), session_id="", agent="", before="", limit=500)
        assert {one.correlation_id for one in kept} == {first.execution_id}
        page = await gateway.house.store.read_forward(0, ERRORS, 10)
        assert page.events == ()

"""The shared state as agents see it: by their isolation, over executions, and in what is told of it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from state_rig import DEADLINE, Rig

from gatewayd.agents.base import AgentContext, Output, TextOutput, Turn
from gatewayd.agents.state import StateSet
from gatewayd.core.clock import SystemClock
from gatewayd.core.errors import InvalidArgument, StateConflict
from gatewayd.core.event import EventType
from gatewayd.core.state import Isolation, Place, StateScope
from gatewayd.runtime.state import NOBODY
from gatewayd.testing.store_cases import samples
from tests.rigs.middle import HandAgent, Middle

GLOBAL, STREAM = StateScope.GLOBAL, StateScope.STREAM


async def test_shared_reads_its_own_then_the_streams_then_the_gateways(rig: Rig) -> None:
    one, two = await rig.view(1), await rig.view(2)
    await one.set("k", "everybody's", scope=GLOBAL)
    assert (await one.get("k"), await two.get("k")) == ("everybody's", "everybody's")
    await one.set("k", "the stream's", scope=STREAM)
    await one.set("k", "mine")
    assert (await one.get("k"), await two.get("k")) == ("mine", "the stream's")
    entry = await two.entry("k", GLOBAL)
    assert entry is not None
    assert entry.value == "everybody's"
    await one.delete("k")
    assert (await one.get("k"), await one.get("none", 5)) == ("the stream's", 5)


async def test_isolated_sees_and_writes_its_own_alone(rig: Rig) -> None:
    await (await rig.view(1)).set("k", 1, scope=GLOBAL)
    alone = await rig.view(2, Isolation.ISOLATED)
    assert await alone.get("k") is None
    await alone.set("k", 2)
    assert await alone.get("k") == 2
    for scope in (GLOBAL, STREAM):
        with pytest.raises(InvalidArgument):
            await alone.set("k", 3, scope=scope)
        with pytest.raises(InvalidArgument):
            await alone.entry("k", scope)
    assert await (await rig.view(1)).get("k") == 1


async def test_synchronized_overwrites_nothing_that_it_has_not_seen(rig: Rig) -> None:
    one, two = await rig.view(1, Isolation.SYNCHRONIZED), await rig.view(2, Isolation.SYNCHRONIZED)
    await one.set("n", 1, scope=GLOBAL)
    with pytest.raises(StateConflict):
        await two.set("n", 5, scope=GLOBAL)
    assert await two.get("n") == 1
    await two.set("n", 2, scope=GLOBAL)
    with pytest.raises(StateConflict):
        await one.transact([StateSet("m", 1, GLOBAL), StateSet("n", 3, GLOBAL)])
    assert await one.get("m") is None
    assert await one.get("n") == 2
    await one.transact([StateSet("m", 1, GLOBAL), StateSet("n", 3, GLOBAL)])
    await one.delete("n", scope=GLOBAL)
    await one.set("n", 4, scope=GLOBAL)
    # What is its own it writes as it likes.
    await one.set("own", 1)
    await one.set("own", 2)


async def test_an_agent_compares_and_sets_and_none_is_no_value(rig: Rig) -> None:
    view = await rig.view(1)
    version = await view.compare_and_set("n", {"a": 1}, 0, scope=STREAM)
    with pytest.raises(StateConflict):
        await view.compare_and_set("n", 2, 0, scope=STREAM)
    assert await view.compare_and_set("n", 2, version, scope=STREAM) > version
    with pytest.raises(InvalidArgument):
        await view.set("n", None)


async def test_what_is_told_belongs_to_the_executions_owner_and_what_is_shared_to_nobody(rig: Rig) -> None:
    view = await rig.view(1)
    await view.set("own", 1)
    await view.set("all", 1, scope=GLOBAL)
    page = await rig.store.read_forward(0, samples.ALL, 99)
    own, shared = [event for event in page.events if event.type is EventType.STATE_CHANGED]
    assert (own.owner, own.execution_id, own.session_id, own.topic) == ("ann", "x0001", "s1", "own")
    assert (shared.owner, shared.execution_id, shared.stream_id, shared.topic) == (NOBODY, "x0001", "state", "all")


class Counting(HandAgent):
    """Counts its turns in what all executions of its stream share."""

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        turns = await ctx.state.get("turns", 0) + 1
        await ctx.state.set("turns", turns, scope=STREAM)
        await ctx.state.set("asked", turn.text)
        yield TextOutput(f"{turns}: {await ctx.state.get('asked')}")


async def test_an_agent_finds_what_an_earlier_execution_left(tmp_path: Path) -> None:
    async with Middle(tmp_path, {}, SystemClock()) as middle:
        middle.agents["a"] = Counting()
        outputs, executions = [], []
        for text in ("one", "two"):
            submitted = await middle.send(text)
            async with asyncio.timeout(DEADLINE):
                outputs.append((await submitted.live.done).output)
            executions.append(submitted.accepted.execution_id)
        assert outputs == ["1: one", "2: two"]
        own = [await middle.store.list_state(Place(StateScope.EXECUTION, one), "", 9) for one in executions]
        assert [[row.value for row in rows] for rows in own] == [["one"], ["two"]]


async def test_a_conflict_that_an_agent_does_not_handle_ends_its_turn_with_what_it_was(tmp_path: Path) -> None:
    class Careless(HandAgent):
        async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
            await ctx.state.compare_and_set("k", turn.text, 7)
            yield TextOutput("never said")

    async with Middle(tmp_path, {}, SystemClock()) as middle:
        middle.agents["a"] = Careless()
        async with asyncio.timeout(DEADLINE):
            outcome = await (await middle.send("one")).live.done
        assert (outcome.state.value, outcome.output) == ("failed", "")
        assert "is at version 0, not at 7" in outcome.error

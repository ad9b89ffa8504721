"""Runs that do not end when they are told to: whoever waits for them hears of it, and their places are given back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatewayd.agents.base import AgentContext, Output, TextOutput, Turn
from gatewayd.core.checkpoint import Restart
from gatewayd.core.clock import SystemClock
from gatewayd.core.event import EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.work import ExecutionState
from gatewayd.runtime import overdue
from tests.rigs.middle import Middle


class Stubborn:
    """Swallows every cancellation, and what it is told by `Suspended`, until it may end."""

    def __init__(self, timeout: float) -> None:
        self.timeout = timeout
        self.begun = 0
        self.ended = 0
        self.heard: list[str] = []
        self.spoke: list[str] = []
        self.leaves = False
        self.may_end = asyncio.Event()

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        self.begun += 1
        yield TextOutput("half")
        if self.leaves and not ctx.resumed:
            try:
                await ctx.wait_for_input("what?", {"asked": True})
            except BaseException:
                self.heard.append("left")
        while not self.may_end.is_set():
            try:
                await self.may_end.wait()
            except asyncio.CancelledError:
                self.heard.append("cancelled")
        self.ended += 1
        try:
            ctx.emit_custom("late", {})
        except BaseException as error:
            self.heard.append(type(error).__name__)
        node = ctx.as_agent("b")
        for speak in (
            lambda: ctx.send("b", "x"),
            lambda: ctx.publish("news", "x"),
            lambda: node.send("b", "x"),
            lambda: node.publish("news", "x"),
            lambda: node.as_agent("c").send("b", "x"),
        ):
            try:
                await speak()
            except BaseException as error:
                self.spoke.append(type(error).__name__)
        yield TextOutput("late")


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(overdue, "GRACE", 0.05)
    monkeypatch.setattr(overdue, "_LOOK_EVERY", 0.01)


@pytest.fixture
async def middle(tmp_path: Path) -> AsyncIterator[Middle]:
    async with Middle(tmp_path, None, SystemClock()) as middle:
        middle.runtime.lanes.configure(1, {})
        yield middle


def stubborn(middle: Middle, timeout: float = 0.05) -> Stubborn:
    agent = Stubborn(timeout)
    middle.agents["a"] = agent  # type: ignore[assignment]
    return agent


async def until_ended(agent: Stubborn, count: int) -> None:
    agent.may_end.set()
    async with asyncio.timeout(60):
        while agent.ended < count:
            await asyncio.sleep(0.001)
        await asyncio.sleep(0)


async def test_one_that_outlives_its_time_fails_and_gives_its_place_back(middle: Middle) -> None:
    """The next of the session runs, another agent runs, and what the old one says later is heard by nobody."""
    agent = stubborn(middle)
    first = await middle.send("one")
    middle.agents["b"].may_end.set()
    other = await middle.send("two", agent="b")

    ended = await asyncio.wait_for(first.live.done, 60)
    answered = await asyncio.wait_for(other.live.done, 60)

    assert (ended.state, ended.output, ended.error) == (ExecutionState.FAILED, "half", "a did not finish in time")
    assert answered.state is ExecutionState.SUCCEEDED
    await until_ended(agent, 1)
    async with asyncio.timeout(60):
        while "Suspended" not in agent.heard or len(agent.spoke) < 5:
            await asyncio.sleep(0.001)
    assert agent.spoke == ["Suspended"] * 5, "nor does it speak to others, as itself or as a node of it"
    events = (await middle.store.read_forward(0, EventFilter(execution_id=first.live.execution.id), 99)).events
    labels = [event.type for event in events]
    assert labels[-2:] == [EventType.ERROR, EventType.EXECUTION_FAILED]
    assert (middle.runtime.lanes.busy, middle.runtime.lanes.free) == (0, 1)
    again = await middle.send("three")
    assert (await asyncio.wait_for(again.live.done, 60)).output == "halflate"


async def test_one_that_is_cancelled_ends_as_cancelled(middle: Middle) -> None:
    agent = stubborn(middle, timeout=60.0)
    submitted = await middle.send("one")
    async with asyncio.timeout(60):
        while not agent.begun:
            await asyncio.sleep(0.001)
        await middle.runtime.cancel(submitted.live.execution.id, "enough")

    assert (await submitted.live.done).state is ExecutionState.CANCELLED
    assert middle.runtime.lanes.free == 1
    await until_ended(agent, 1)


async def test_one_that_swallows_its_leaving_has_left_all_the_same(middle: Middle) -> None:
    """It rests on disk, so it rests; and it comes back beside the old run, which cannot disturb it."""
    agent = stubborn(middle)
    agent.leaves = True
    submitted = await middle.send("one")
    execution = submitted.live.execution.id
    await asyncio.wait_for(submitted.live.rests.wait(), 60)

    stored = await middle.store.get_execution(execution)
    assert stored is not None
    assert stored.state is ExecutionState.INPUT_REQUIRED
    assert middle.runtime.lanes.free == 1
    agent.timeout = 60.0
    await middle.runtime.suspending.give_input(execution, "", "this", "ann")
    async with asyncio.timeout(60):
        while agent.begun < 2:
            await asyncio.sleep(0.001)
    await until_ended(agent, 2)
    assert (await asyncio.wait_for(submitted.live.done, 60)).state is ExecutionState.SUCCEEDED
    assert await middle.store.restart_of(execution) == Restart()
    assert (middle.runtime.lanes.busy, middle.runtime.lanes.free) == (0, 1)


async def test_there_are_so_many_of_one_agent_and_no_more(middle: Middle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then it is not run; once one of them has ended it is."""
    monkeypatch.setattr(overdue, "MAX_BEHIND", 2)
    agent = stubborn(middle)
    outcomes = []
    for number in range(4):
        live = (await middle.send(str(number))).live
        outcomes.append(await asyncio.wait_for(live.done, 60))

    assert agent.begun == 2
    assert [one.reason for one in outcomes] == ["", "", "UNAVAILABLE", "UNAVAILABLE"]
    assert "do not end" in outcomes[-1].error
    await until_ended(agent, 2)
    again = await middle.send("again")
    assert (await asyncio.wait_for(again.live.done, 60)).state is ExecutionState.SUCCEEDED

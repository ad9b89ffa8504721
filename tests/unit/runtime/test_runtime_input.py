"""Executions that wait for input, and what else may happen to those that rest."""

import asyncio
from pathlib import Path

import pytest
from leaving_rig import Steps, house, in_state, stored, told

from gatewayd.access.principals import Principal
from gatewayd.access.scopes import Scopes
from gatewayd.core.errors import (
    ExecutionFinished,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    NotPaused,
    NotWaiting,
    StoreCorrupt,
)
from gatewayd.core.event import EventType
from gatewayd.core.work import ExecutionState
from gatewayd.storage.records import Finish
from gatewayd.wire.data import data_of
from tests.rigs.middle import Middle


async def test_input_goes_to_the_execution_that_is_named(both: tuple[Middle, Steps]) -> None:
    """Of two at the same node the other one goes on waiting; a node that waits for nothing is told so."""
    middle, steps = both
    steps.asks_at = {"one": 2, "two": 3}
    ids = []
    for text in ("one", "two"):
        ids.append((await middle.send(text)).accepted.execution_id)
        await in_state(middle, ids[-1], ExecutionState.INPUT_REQUIRED)
    async with asyncio.timeout(60):
        while middle.runtime.counts() != {"input_required": 2}:  # it is on disk a step before it is out of memory
            await asyncio.sleep(0.001)
    asked = await told(middle, EventType.CLIENT_INPUT_REQUESTED)
    assert [(data_of(event)["prompt"], event.node_id, event.execution_id) for event in asked] == [
        ("one?", "ask", ids[0]),
        ("two?", "ask", ids[1]),
    ]
    controls = middle.router.controls
    with pytest.raises(NotPaused):
        await controls.resume(ids[0], middle.caller())
    with pytest.raises(NotWaiting) as wrong:
        await controls.give_input(ids[0], "other", "x", middle.caller())
    assert wrong.value.metadata == {"node_id": "ask"}
    with pytest.raises(NotFound):
        await controls.give_input("nowhere", "ask", "x", middle.caller())
    with pytest.raises(InvalidArgument):
        await controls.give_input(ids[0], "ask", "x" * 70_000, middle.caller())

    await controls.give_input(ids[1], "ask", "for two", middle.caller())

    found = await in_state(middle, ids[1], ExecutionState.SUCCEEDED)
    assert found.output == "1 2 (for two) 3 4 "
    assert steps.inputs == [{"ask": "for two"}]
    assert (await stored(middle, ids[0])).state is ExecutionState.INPUT_REQUIRED
    with pytest.raises(ExecutionFinished):
        await controls.give_input(ids[1], "ask", "again", middle.caller())


async def test_input_survives_a_restart_before_it_is_read(tmp_path: Path) -> None:
    """It is with the execution until a checkpoint takes it as read."""
    middle, steps = house(tmp_path)
    async with middle:
        steps.asks_at = {"one": 2}
        steps.hold(2)
        execution_id = (await middle.send("one")).accepted.execution_id
        await in_state(middle, execution_id, ExecutionState.INPUT_REQUIRED)
        await middle.router.controls.give_input(execution_id, "ask", "yes", middle.caller())
        await steps.at(2)

    again, after = house(tmp_path)
    async with again:
        assert await again.router.recover() == 1
        assert (await in_state(again, execution_id, ExecutionState.SUCCEEDED)).output == "1 (yes) 2 3 4 "
        assert after.inputs == [{"ask": "yes"}]


async def test_who_waits_for_what_it_asks_is_told_once_it_rests(both: tuple[Middle, Steps]) -> None:
    """Not of a pause; each time that it asks; and at once while it waits."""
    middle, steps = both
    steps.asks_at = {"go": 3}
    gate = steps.hold(1)
    submitted = await middle.send("go")
    live, execution_id = submitted.live, submitted.accepted.execution_id
    asked = live.asks()
    await steps.at(1)
    await middle.router.controls.pause(execution_id, middle.caller())
    gate.set()
    await in_state(middle, execution_id, ExecutionState.PAUSED)
    await live.rests.wait()
    assert not asked.done()
    await middle.router.controls.resume(execution_id, middle.caller())

    question = await asyncio.wait_for(asked, 60)
    assert (question.execution_id, question.node_id, question.prompt) == (execution_id, "ask", "go?")
    assert (await live.asks()) == question
    await middle.router.controls.give_input(execution_id, "ask", "yes", middle.caller())
    again = live.asks()
    assert (await asyncio.wait_for(live.done, 60)).state is ExecutionState.SUCCEEDED
    assert not again.done()


async def test_what_rests_for_too_long_fails(both: tuple[Middle, Steps]) -> None:
    """By the age of its last checkpoint; the text that it had put out is a partial answer."""
    middle, steps = both
    steps.asks_at = {"go": 2}
    submitted = await middle.send("go")
    await in_state(middle, submitted.accepted.execution_id, ExecutionState.INPUT_REQUIRED)
    assert await middle.runtime.suspending.expire(middle.clock.now() - 1000) == 0

    assert await middle.runtime.suspending.expire(middle.clock.now() + 1) == 1

    outcome = await asyncio.wait_for(submitted.live.done, 60)
    assert (outcome.state, outcome.output) == (ExecutionState.FAILED, "1 ")
    assert "max_age_days" in outcome.error
    assert middle.runtime.counts() == {"failed": 1}


async def test_resumed_and_cancelled_at_once_it_has_one_end(both: tuple[Middle, Steps]) -> None:
    """Each sees what the one before has done; nobody waits for ever."""
    middle, steps = both
    steps.asks_at = {"go": 2}
    for _ in range(10):
        submitted = await middle.send("go")
        execution_id = submitted.accepted.execution_id
        await in_state(middle, execution_id, ExecutionState.INPUT_REQUIRED)
        controls = middle.router.controls
        async with asyncio.timeout(60):
            await asyncio.gather(
                controls.give_input(execution_id, "ask", "x", middle.caller()),
                controls.cancel(execution_id, middle.caller()),
                controls.give_input(execution_id, "ask", "y", middle.caller()),
                return_exceptions=True,
            )
            outcome = await submitted.live.done
        assert outcome.state in (ExecutionState.CANCELLED, ExecutionState.SUCCEEDED)
        assert (await stored(middle, execution_id)).state is outcome.state
    assert middle.runtime.lanes.busy == 0
    assert "input_required" not in middle.runtime.counts()


async def test_no_more_rest_than_may(both: tuple[Middle, Steps], monkeypatch: pytest.MonkeyPatch) -> None:
    """What would wait for input fails and says why; what would be paused goes on."""
    middle, steps = both
    monkeypatch.setattr("gatewayd.runtime.suspending.MAX_RESTING", 1)
    steps.asks_at = {"one": 2, "two": 2}
    first = (await middle.send("one")).accepted.execution_id
    await in_state(middle, first, ExecutionState.INPUT_REQUIRED)
    second = await asyncio.wait_for((await middle.send("two")).live.done, 60)
    assert (second.state, "wait for input already" in second.error) == (ExecutionState.FAILED, True)
    gate = steps.hold(1)
    third = await middle.send("three")
    await steps.at(1)
    with pytest.raises(LimitExceeded):
        await middle.router.controls.pause(third.accepted.execution_id, middle.caller())
    gate.set()
    assert (await asyncio.wait_for(third.live.done, 60)).state is ExecutionState.SUCCEEDED


async def test_an_agent_that_left_the_configuration_meanwhile_is_named(both: tuple[Middle, Steps]) -> None:
    """What rests is answered by the agents of the configuration that it comes back to."""
    middle, steps = both
    steps.asks_at = {"go": 2}
    submitted = await middle.send("go")
    await in_state(middle, submitted.accepted.execution_id, ExecutionState.INPUT_REQUIRED)
    del middle.agents["a"]
    await middle.router.controls.give_input(submitted.accepted.execution_id, "ask", "x", middle.caller())
    outcome = await asyncio.wait_for(submitted.live.done, 60)
    assert (outcome.state, outcome.error) == (ExecutionState.FAILED, "a")


async def test_who_comes_later_to_wait_for_what_rests_hears_its_end(both: tuple[Middle, Steps]) -> None:
    """A send that is repeated under its key, also from the text so far on."""
    middle, steps = both
    steps.asks_at = {"go": 2}
    first = await middle.send("go", idempotency_key="k")
    execution_id = first.accepted.execution_id
    await in_state(middle, execution_id, ExecutionState.INPUT_REQUIRED)
    del first
    again = await middle.send("go", idempotency_key="k")
    assert again.accepted.duplicate
    heard: list[str] = []
    again.live.listen(lambda piece, _offset: heard.append(piece))
    await middle.router.controls.give_input(execution_id, "ask", "x", middle.caller())
    assert (await asyncio.wait_for(again.live.done, 60)).output == "1 (x) 2 3 4 "
    assert "".join(heard) == "1 (x) 2 3 4 "


async def test_a_stranger_hears_that_there_is_no_such_execution(both: tuple[Middle, Steps]) -> None:
    """While it runs, and while it rests."""
    middle, steps = both
    steps.asks_at = {"go": 2}
    gate = steps.hold(1)
    submitted = await middle.send("go")
    execution_id = submitted.accepted.execution_id
    stranger = middle.caller(principal=Principal("bob", Scopes.parse(["agents.send:*", "runtime:*"])))
    controls = middle.router.controls
    await steps.at(1)
    for resting in (False, True):
        if resting:
            gate.set()
            await in_state(middle, execution_id, ExecutionState.INPUT_REQUIRED)
        with pytest.raises(NotFound):
            await controls.pause(execution_id, stranger)
        with pytest.raises(NotFound):
            await controls.resume(execution_id, stranger)
        with pytest.raises(NotFound):
            await controls.give_input(execution_id, "ask", "x", stranger)
        with pytest.raises(NotFound):
            await controls.cancel(execution_id, stranger)
    assert (await stored(middle, execution_id)).state is ExecutionState.INPUT_REQUIRED


async def test_what_ends_at_rest_counts_as_resting_until_its_end_is_on_disk(
    both: tuple[Middle, Steps], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its session does not end before; and who is cut off, or cannot write it, leaves it at rest."""
    middle, steps = both
    steps.asks_at = {"go": 2}
    submitted = await middle.send("go")
    execution_id, session_id = submitted.accepted.execution_id, submitted.live.execution.session_id
    await asyncio.wait_for(submitted.live.rests.wait(), 60)
    finish, begun, go_on = middle.store.finish, asyncio.Event(), asyncio.Event()

    async def held(unit: Finish) -> object:
        begun.set()
        await go_on.wait()
        return await finish(unit)

    async def refused(unit: Finish) -> object:
        raise StoreCorrupt("a page is damaged")

    monkeypatch.setattr(middle.store, "finish", refused)
    await middle.router.controls.cancel(execution_id, middle.caller())
    assert middle.runtime.counts()["input_required"] == 1
    assert middle.runtime.suspending.rests_in(session_id)

    monkeypatch.setattr(middle.store, "finish", held)
    cancelling = asyncio.create_task(middle.router.controls.cancel(execution_id, middle.caller()))
    await asyncio.wait_for(begun.wait(), 60)
    assert middle.runtime.counts()["input_required"] == 1
    assert middle.runtime.suspending.rests_in(session_id)

    go_on.set()
    await asyncio.wait_for(cancelling, 60)
    assert "input_required" not in middle.runtime.counts()
    assert not middle.runtime.suspending.rests_in(session_id)
    assert (await stored(middle, execution_id)).state is ExecutionState.CANCELLED

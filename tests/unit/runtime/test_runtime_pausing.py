"""Executions that are paused, and go on where they were."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from leaving_rig import Steps, house, in_state, stored, told, until

from gatewayd.agents.base import AgentContext, Output, TextOutput, Turn
from gatewayd.core.errors import ExecutionFinished, StoreFull
from gatewayd.core.event import EventType
from gatewayd.core.work import ExecutionState
from gatewayd.wire.data import data_of
from tests.rigs.middle import Middle, message

STEERED = {"channels": {"chat": {"platform": "sim", "routing": {"dm": "a"}, "busy_mode": "steer"}}}


async def test_a_paused_execution_goes_on_where_it_was_and_repeats_nothing(both: tuple[Middle, Steps]) -> None:
    """It leaves at its next checkpoint; who waits for its end waits through the pause."""
    middle, steps = both
    gate = steps.hold(2)
    submitted = await middle.send("go")
    execution_id, heard = submitted.accepted.execution_id, list[tuple[str, int]]()
    submitted.live.listen(lambda piece, offset: heard.append((piece, offset)))
    await steps.at(2)
    live = await middle.router.controls.pause(execution_id, middle.caller(), "lunch")
    assert live is submitted.live
    assert not live.rests.is_set()
    gate.set()
    await asyncio.wait_for(live.rests.wait(), 60)

    found = await stored(middle, execution_id)
    assert (found.state, found.reason) == (ExecutionState.PAUSED, "paused by local: lunch")
    assert (middle.runtime.lanes.free, middle.runtime.lanes.busy) == (middle.runtime.lanes.limit, 0)
    assert middle.runtime.counts() == {"paused": 1}
    assert not submitted.live.done.done()
    await asyncio.wait_for(middle.runtime.idle(), 60)
    assert await middle.router.controls.pause(execution_id, middle.caller()) is None

    await middle.router.controls.resume(execution_id, middle.caller(), "back")
    outcome = await asyncio.wait_for(submitted.live.done, 60)

    assert (outcome.state, outcome.output) == (ExecutionState.SUCCEEDED, "1 2 3 4 ")
    assert steps.ran == [1, 2, 3, 4]
    assert heard == [("1 ", 0), ("2 ", 2), ("3 ", 4), ("4 ", 6)]
    assert middle.runtime.counts() == {"succeeded": 1}
    pauses = await told(middle, EventType.EXECUTION_PAUSED, EventType.EXECUTION_RESUMED)
    assert [data_of(event)["reason"] for event in pauses] == ["paused by local: lunch", "resumed by local: back"]
    with pytest.raises(ExecutionFinished):
        await middle.router.controls.resume(execution_id, middle.caller())
    assert await middle.store.list_checkpoints(execution_id) == []


async def test_one_that_is_queued_pauses_at_once_and_is_cancelled_while_paused(both: tuple[Middle, Steps]) -> None:
    """What waits behind it in its session goes on."""
    middle, steps = both
    gate = steps.hold(1)
    first, second, third = [await middle.send(text) for text in ("one", "two", "three")]
    await steps.at(1)
    live = await middle.router.controls.pause(second.accepted.execution_id, middle.caller())
    assert live is not None
    assert live.rests.is_set()
    gate.set()
    assert (await asyncio.wait_for(third.live.done, 60)).state is ExecutionState.SUCCEEDED
    assert first.live.done.done()
    assert (await stored(middle, second.accepted.execution_id)).state is ExecutionState.PAUSED

    await middle.router.controls.cancel(second.accepted.execution_id, middle.caller(), "no more")

    outcome = await asyncio.wait_for(second.live.done, 60)
    assert (outcome.state, outcome.reason) == (ExecutionState.CANCELLED, "cancelled by local: no more")
    found = await stored(middle, second.accepted.execution_id)
    assert (found.state, found.output) == (ExecutionState.CANCELLED, "")
    with pytest.raises(ExecutionFinished):
        await middle.router.controls.cancel(second.accepted.execution_id, middle.caller())
    assert middle.runtime.counts() == {"succeeded": 2, "cancelled": 1}


async def test_a_restart_changes_nothing_of_what_is_paused(tmp_path: Path) -> None:
    """The next daemon leaves it alone until it is resumed, and then goes on from the checkpoint."""
    middle, steps = house(tmp_path)
    async with middle:
        gate = steps.hold(2)
        submitted = await middle.send("go")
        await steps.at(2)
        live = await middle.router.controls.pause(submitted.accepted.execution_id, middle.caller())
        assert live is not None
        gate.set()
        await asyncio.wait_for(live.rests.wait(), 60)
    assert not submitted.live.done.result().state.terminal

    again, after = house(tmp_path)
    async with again:
        assert await again.router.recover() == 0
        assert again.runtime.counts() == {"paused": 1}
        assert after.ran == []
        await again.router.controls.resume(submitted.accepted.execution_id, again.caller())
        found = await in_state(again, submitted.accepted.execution_id, ExecutionState.SUCCEEDED)
        assert (found.output, found.attempts, after.ran) == ("1 2 3 4 ", 1, [3, 4])
        assert await told(again, EventType.EXECUTION_INTERRUPTED) == []


async def test_what_a_turn_had_taken_in_is_answered_by_itself_when_the_turn_pauses(tmp_path: Path) -> None:
    """Steered messages do not wait for a pause to end."""
    middle, steps = house(tmp_path, STEERED)
    async with middle:
        seen: list[str] = []

        async def run(turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
            seen.append(turn.text)
            if turn.text == "first":
                await steps.gates[1].wait()
                seen.extend(f"steered {text}" for text in ctx.take_steering())
                await ctx.checkpoint({})
            yield TextOutput(f"to {turn.text}")

        steps.run = run  # type: ignore[method-assign]
        gate = steps.hold(1)
        await middle.router.accept_chat(message("first", 1))
        await until(lambda: seen == ["first"])
        await middle.router.accept_chat(message("second", 2))
        await middle.router.accept_chat(message("third", 3))
        (first,) = [one for one in await middle.store.unfinished() if one.text == "first"]
        await middle.router.controls.pause(first.id, middle.caller())
        gate.set()
        await until(lambda: len(middle.offered) == 2)

        assert seen == ["first", "steered second", "steered third", "second", "third"]
        assert [row.text for row in middle.offered] == ["to second", "to third"]
        await asyncio.wait_for(middle.runtime.answered("chat"), 60)
        assert (await stored(middle, first.id)).state is ExecutionState.PAUSED


async def test_an_agent_that_does_not_let_it_pass_has_left_all_the_same(both: tuple[Middle, Steps]) -> None:
    """What it does afterwards is not heard of."""
    middle, steps = both
    steps.stubborn = True
    gate = steps.hold(1)
    submitted = await middle.send("go")
    await steps.at(1)
    live = await middle.router.controls.pause(submitted.accepted.execution_id, middle.caller())
    assert live is not None
    gate.set()
    await asyncio.wait_for(live.rests.wait(), 60)
    assert (await stored(middle, submitted.accepted.execution_id)).state is ExecutionState.PAUSED
    assert live.text == "1 "
    await middle.router.controls.resume(submitted.accepted.execution_id, middle.caller())
    assert (await asyncio.wait_for(submitted.live.done, 60)).output == "1 2 3 4 "


async def test_what_ends_before_its_next_checkpoint_does_not_pause(both: tuple[Middle, Steps]) -> None:
    """Who waits for the pause hears of the end; a pause that nobody granted is not left behind."""
    middle, _ = both
    hand = middle.agents["b"]
    submitted = await middle.send("go", "b")
    await until(lambda: bool(hand.turns))
    live = await middle.router.controls.pause(submitted.accepted.execution_id, middle.caller())
    assert live is not None
    hand.may_end.set()
    await asyncio.wait_for(live.rests.wait(), 60)
    assert (await submitted.live.done).state is ExecutionState.SUCCEEDED


async def test_an_interrupted_pause_is_a_cancellation(both: tuple[Middle, Steps]) -> None:
    """A cancel that comes while it is asked to pause wins."""
    middle, steps = both
    steps.hold(1)
    submitted = await middle.send("go")
    await steps.at(1)
    live = await middle.router.controls.pause(submitted.accepted.execution_id, middle.caller())
    assert live is not None
    await middle.router.controls.cancel(submitted.accepted.execution_id, middle.caller())
    await asyncio.wait_for(live.rests.wait(), 60)
    assert (await submitted.live.done).state is ExecutionState.CANCELLED


async def test_it_comes_back_only_when_the_run_before_is_gone(both: tuple[Middle, Steps]) -> None:
    """The store says PAUSED while the agent is still putting things away; who resumes it then waits for that."""
    middle, steps = both
    runs: list[str] = []
    put_away = asyncio.Event()

    async def run(_turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        runs.append("began")
        if ctx.resumed is not None:
            yield TextOutput("back")
            return
        try:
            await steps.gates[1].wait()
            await ctx.checkpoint({})
        finally:
            await put_away.wait()
            runs.append("left")
        yield TextOutput("never")

    steps.run = run  # type: ignore[method-assign]
    gate = steps.hold(1)
    submitted = await middle.send("go")
    execution_id = submitted.accepted.execution_id
    await until(lambda: bool(runs))
    await middle.router.controls.pause(execution_id, middle.caller())
    gate.set()
    await in_state(middle, execution_id, ExecutionState.PAUSED)
    resuming = asyncio.create_task(middle.router.controls.resume(execution_id, middle.caller()))
    await asyncio.sleep(0)
    assert not resuming.done()
    put_away.set()
    await asyncio.wait_for(resuming, 60)

    assert (await asyncio.wait_for(submitted.live.done, 60)).output == "back"
    assert runs == ["began", "left", "began"]
    assert middle.runtime.counts() == {"succeeded": 1}


async def test_a_pause_that_could_not_be_written_is_none(
    both: tuple[Middle, Steps], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is cut off while it leaves, and then the disk refuses: it ends, and nobody waits for ever."""
    middle, steps = both
    unit: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    monkeypatch.setattr(middle.store, "save_checkpoint", lambda _write: unit)
    cut = asyncio.Event()

    async def run(_turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        steps.ran.append(1)
        await steps.gates[1].wait()
        try:
            await ctx.checkpoint({})
        finally:
            cut.set()
        yield TextOutput("never")

    steps.run = run  # type: ignore[method-assign]
    steps.timeout = 2.0
    gate = steps.hold(1)
    submitted = await middle.send("go")
    await steps.at(1)
    await middle.router.controls.pause(submitted.accepted.execution_id, middle.caller())
    gate.set()
    await asyncio.wait_for(cut.wait(), 60)
    assert submitted.live.leaving is ExecutionState.PAUSED
    assert not submitted.live.rests.is_set()

    unit.set_exception(StoreFull("no space"))

    outcome = await asyncio.wait_for(submitted.live.done, 60)
    assert (outcome.state, outcome.error) == (ExecutionState.FAILED, "no space")

"""The checkpoints of executions: which are written, what they may hold, and what a crash leaves to them."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from leaving_rig import Steps, house, in_state, told

from gatewayd.agents.base import AgentContext, Output, TextOutput, ToolCompleted, ToolStarted, Turn
from gatewayd.config.checking import read
from gatewayd.config.entry_points import RuntimeSection
from gatewayd.core.checkpoint import MAX_STATE, CheckpointKind
from gatewayd.core.event import EventType
from gatewayd.core.work import ExecutionState
from gatewayd.wire.data import data_of
from tests.rigs.middle import Middle


async def test_after_a_crash_it_goes_on_from_its_checkpoint_and_names_the_call_that_was_cut_off(
    tmp_path: Path,
) -> None:
    """`execution_interrupted` says from where it goes on and which call may have had its effect."""
    middle, steps = house(tmp_path)
    async with middle:

        async def calls(_turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
            yield TextOutput("1 ")
            yield ToolStarted("c1", "mail", {})
            yield ToolCompleted("c1", "mail", "sent", False)
            await ctx.checkpoint({"done": 1}, node_id="n")
            yield ToolStarted("c2", "mail", {})
            steps.ran.append(9)
            await asyncio.Event().wait()

        steps.run = calls  # type: ignore[method-assign]
        execution_id = (await middle.send("go")).accepted.execution_id
        await steps.at(9)
        assert [str(call) for call in (await middle.store.restart_of(execution_id)).begun] == ["mail (c2)"]
        (kept,) = await middle.store.list_checkpoints(execution_id)
        assert (kept.node_id, kept.kind) == ("n", CheckpointKind.COMPLETE)

    again, after = house(tmp_path)
    async with again:
        assert await again.router.recover() == 1
        assert (await in_state(again, execution_id, ExecutionState.SUCCEEDED)).output == "1 2 3 4 "
        (event,) = await told(again, EventType.EXECUTION_INTERRUPTED)
        assert data_of(event)["checkpoint_id"] == kept.id
        assert data_of(event)["begun_calls"] == ["mail (c2)"]
        assert "which may have had its effect" in str(data_of(event)["reason"])
        assert after.ran == [2, 3, 4]


async def test_a_state_that_is_too_large_or_no_json_fails_the_execution_with_a_clear_error(
    both: tuple[Middle, Steps],
) -> None:
    """Nothing of it is kept."""
    middle, steps = both
    steps.state = {"x": "y" * MAX_STATE}
    large = await asyncio.wait_for((await middle.send("go")).live.done, 60)
    steps.state = {"x": object()}
    strange = await asyncio.wait_for((await middle.send("go")).live.done, 60)

    assert large.state is strange.state is ExecutionState.FAILED
    assert f"at most {MAX_STATE} are kept" in large.error
    assert "is not JSON" in strange.error


@pytest.mark.parametrize(
    ("settings", "kept"),
    [
        ({}, ["start", "complete", "start"]),
        ({"max_count": 1}, ["start"]),
        ({"on_node_start": False}, ["complete"]),
        ({"on_node_complete": False}, ["start", "start"]),
        ({"enabled": False}, []),
    ],
)
async def test_the_settings_say_which_checkpoints_are_written(
    both: tuple[Middle, Steps], settings: dict[str, Any], kept: list[str]
) -> None:
    """`runtime.checkpoints`: and a pause writes its own whatever they say."""
    middle, steps = both
    middle.runtime.performer.settings = read(RuntimeSection, {"checkpoints": settings})

    async def run(_turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        yield TextOutput("x")
        await ctx.checkpoint({}, at="start")
        await ctx.checkpoint({}, at="complete")
        await ctx.checkpoint({}, at="start")
        steps.ran.append(1)
        await steps.gates[1].wait()
        await ctx.checkpoint({}, node_id="last", at="start")

    steps.run = run  # type: ignore[method-assign]
    gate = steps.hold(1)
    execution_id = (await middle.send("go")).accepted.execution_id
    await steps.at(1)
    assert [str(one.kind) for one in await middle.store.list_checkpoints(execution_id)] == kept
    live = await middle.router.controls.pause(execution_id, middle.caller())
    assert live is not None
    gate.set()
    await asyncio.wait_for(live.rests.wait(), 60)
    assert (await middle.store.list_checkpoints(execution_id))[-1].node_id == "last"

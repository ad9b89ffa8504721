"""Agents that end by what is no error: an exit, a cancellation of their own, a group of what they began."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from leaving_rig import house, in_state

from gatewayd.agents.base import AgentContext, Output, TextOutput, Turn
from gatewayd.core.work import ExecutionState


class Odd(BaseException):
    """Neither an error nor the interpreter's own."""


async def _exit() -> None:
    raise SystemExit("secret")


async def _odd() -> None:
    raise Odd


async def _group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(_odd())


async def _cancel() -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel()
    await asyncio.Event().wait()


async def _cancelled() -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize("end", [_exit, _odd, _group, _cancel, _cancelled])
async def test_its_execution_fails_at_once_and_the_next_one_runs(
    tmp_path: Path, end: Callable[[], Awaitable[None]]
) -> None:
    middle, steps = house(tmp_path)

    async def run(turn: Turn, _ctx: AgentContext) -> AsyncIterator[Output]:
        yield TextOutput("well ")
        if turn.text == "end":
            await end()

    steps.run = run  # type: ignore[method-assign]
    async with middle:
        ended = await asyncio.wait_for((await middle.send("end")).live.done, 60)
        after = await asyncio.wait_for((await middle.send("go on")).live.done, 60)
        assert middle.runtime.counts() == {"failed": 1, "succeeded": 1}
        assert middle.runtime.lanes.busy == 0

    assert (ended.state, after.state) == (ExecutionState.FAILED, ExecutionState.SUCCEEDED)
    assert "Something went wrong" in ended.error
    assert "secret" not in ended.error


@pytest.mark.parametrize("fails", [False, True])
async def test_one_that_cancels_itself_in_its_last_step_ends_as_it_has_ended(tmp_path: Path, *, fails: bool) -> None:
    """It hears of that at its next await, which is none of its own."""
    middle, steps = house(tmp_path)

    async def run(_turn: Turn, _ctx: AgentContext) -> AsyncIterator[Output]:
        yield TextOutput("well")
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        if fails:
            raise Odd

    steps.run = run  # type: ignore[method-assign]
    async with middle:
        submitted = await middle.send("end")
        ended = await asyncio.wait_for(submitted.live.done, 60)
        kept = await middle.store.get_execution(submitted.accepted.execution_id)

    assert ended.state is (ExecutionState.FAILED if fails else ExecutionState.SUCCEEDED)
    assert kept is not None
    assert kept.state is ended.state


async def test_an_agent_that_leaves_in_a_group_of_tasks_has_left(tmp_path: Path) -> None:
    """What it is told by comes in a group then."""
    middle, steps = house(tmp_path)

    async def run(_turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        if ctx.resumed:
            yield TextOutput(f"hello {ctx.inputs['name']}")
            return
        async with asyncio.TaskGroup() as group:
            waits: Any = ctx.wait_for_input("Who?", {"asked": 1}, node_id="name")
            group.create_task(waits)

    steps.run = run  # type: ignore[method-assign]
    async with middle:
        execution_id = (await middle.send("go")).accepted.execution_id
        await in_state(middle, execution_id, ExecutionState.INPUT_REQUIRED)
        async with asyncio.timeout(60):
            while middle.runtime.lanes.busy:
                await asyncio.sleep(0.001)
        assert middle.runtime.counts() == {"input_required": 1}
        await middle.runtime.suspending.give_input(execution_id, "name", "Ann", "me")
        assert (await in_state(middle, execution_id, ExecutionState.SUCCEEDED)).output == "hello Ann"

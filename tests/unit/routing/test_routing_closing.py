"""Resetting and erasing sessions with executions that rest, while whoever asked is cut off."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gatewayd.agents.base import AgentContext, Output, TextOutput, Turn
from gatewayd.core.work import ExecutionState
from gatewayd.routing.closing import Closing
from gatewayd.storage.records import Finish
from tests.rigs.middle import Middle


class Asks:
    """Asks for something, and may be held behind the answer."""

    timeout = 60.0

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gate.set()

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        if not ctx.inputs:
            await ctx.wait_for_input(f"{turn.text}?", {"kept": True})
        await self.gate.wait()
        yield TextOutput(f"{turn.text}! {ctx.inputs['']}")


class Held:
    """Ends are on their way to the disk, and whoever writes one hears of it late."""

    def __init__(self, middle: Middle, monkeypatch: pytest.MonkeyPatch) -> None:
        self.begun = asyncio.Event()
        self.go_on = asyncio.Event()
        self._finish = middle.store.finish
        monkeypatch.setattr(middle.store, "finish", self._held)

    async def _held(self, unit: Finish) -> Any:
        receipt = self._finish(unit)
        self.begun.set()
        await self.go_on.wait()
        return await receipt


@pytest.fixture
async def middle(tmp_path: Path) -> AsyncIterator[Middle]:
    async with Middle(tmp_path) as middle:
        middle.agents["a"] = Asks()  # type: ignore[assignment]
        yield middle


def closing_of(middle: Middle) -> Closing:
    return Closing(middle.sessions, middle.router, middle.store)


@pytest.mark.parametrize("how", ["reset", "erase"])
async def test_who_waits_hears_of_the_end_though_the_operator_was_cut_off(
    middle: Middle, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    submitted = await middle.send("go")
    await asyncio.wait_for(submitted.live.rests.wait(), 60)
    held = Held(middle, monkeypatch)
    call = asyncio.create_task(getattr(closing_of(middle), how)(submitted.live.execution.session_id, "by hand"))
    await asyncio.wait_for(held.begun.wait(), 60)

    call.cancel()
    await asyncio.wait([call])
    held.go_on.set()

    outcome = await asyncio.wait_for(submitted.live.done, 60)
    assert (outcome.state, outcome.reason) == (ExecutionState.CANCELLED, "by hand")

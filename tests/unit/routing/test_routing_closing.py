"""Resetting and erasing sessions with executions that wait for input, at moments that are none too good."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest

from gatewayd.agents.base import AgentContext, Output, TextOutput, Turn
from gatewayd.core.errors import Draining, StoreBusy
from gatewayd.core.work import ExecutionState, LedgerState
from gatewayd.routing.closing import Closing
from gatewayd.routing.erasing import MARKS, Erasing, Words
from gatewayd.storage.records import Finish
from tests.rigs.middle import Middle, message

CHANNELS = {"channels": {"chat": {"platform": "sim", "routing": {"dm": "a"}}}}


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


def erasing_of(middle: Middle, forget: Any = None) -> Erasing:
    return Erasing(middle.sessions, middle.router, middle.store, forget=forget or AsyncMock(), reread=AsyncMock())


def closing_of(middle: Middle) -> Closing:
    return Closing(middle.sessions, middle.router, middle.store, erasing_of(middle))


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


async def test_what_cannot_be_ended_before_the_stop_is_not_erased_and_its_stories_end_after_it(tmp_path: Path) -> None:
    """The gateway stops while the answer to a question is being worked on, and somebody erases the session."""
    async with Middle(tmp_path, CHANNELS) as middle:
        agent = Asks()
        middle.agents["a"] = agent  # type: ignore[assignment]
        await middle.router.accept_chat(message("go", 1))
        await middle.runtime.idle()
        agent.gate.clear()
        await middle.router.accept_chat(message("ann", 2))
        asked = await middle.store.story("p1")
        assert asked is not None
        await middle.runtime.stop()

        with pytest.raises(Draining):
            await closing_of(middle).erase(asked.session_id, "by hand")

    async with Middle(tmp_path, CHANNELS) as after:
        after.agents["a"] = Asks()  # type: ignore[assignment]
        await after.router.recover()
        await asyncio.wait_for(after.runtime.idle(), 60)
        stories = [await after.store.story(name) for name in ("p1", "p2")]
        assert [story.state for story in stories if story is not None] == [LedgerState.EXECUTED, LedgerState.ANSWERED]
        erased = await closing_of(after).erase(asked.session_id, "by hand")
        assert erased.executions == 1


async def test_an_erasure_that_is_asked_for_again_takes_over_what_the_first_one_has_left(middle: Middle) -> None:
    """What led to an execution may be gone by then: only the note tells of it."""
    forget = AsyncMock(side_effect=[StoreBusy("busy"), None])
    erasing = erasing_of(middle, forget)
    with pytest.raises(StoreBusy):
        await erasing.erase("ann", Words(execution_ids=("one",)))

    erased, _ = await erasing.erase("ann", Words(execution_ids=("two",)))

    assert set(erased) == {"one", "two"}
    assert set(forget.await_args_list[-1].args[0]) == {"one", "two"}
    assert not await middle.store.marks(MARKS)

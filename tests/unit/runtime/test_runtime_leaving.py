"""Executions that leave in the middle and come back: paused, waiting for input, after a restart."""

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from gatewayd.access.principals import Principal
from gatewayd.access.scopes import Scopes
from gatewayd.agents.base import AgentContext, Output, Suspended, TextOutput, ToolCompleted, ToolStarted, Turn
from gatewayd.config.checking import read
from gatewayd.config.entry_points import RuntimeSection
from gatewayd.core.checkpoint import MAX_STATE, CheckpointKind
from gatewayd.core.clock import SystemClock
from gatewayd.core.errors import (
    ExecutionFinished,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    NotPaused,
    NotWaiting,
    StoreFull,
)
from gatewayd.core.event import Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.work import Execution, ExecutionState
from gatewayd.wire.data import data_of
from tests.rigs.middle import Middle, message

STEERED = {"channels": {"chat": {"platform": "sim", "routing": {"dm": "a"}, "busy_mode": "steer"}}}


class Steps:
    """An agent of four steps, each a word, with a checkpoint behind each; it may be held before a step."""

    timeout = 60.0

    def __init__(self) -> None:
        self.ran: list[int] = []
        self.inputs: list[dict[str, str]] = []
        self.gates: dict[int, asyncio.Event] = {}
        self.reached = asyncio.Condition()
        self.asks_at: dict[str, int] = {}
        """By what it is asked, the step before which it waits for input."""
        self.state: dict[str, Any] = {}
        self.stubborn = False

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        done = int((ctx.resumed or {}).get("done", 0))
        assert ctx.deadline is not None
        for step in range(done + 1, 5):
            if step == self.asks_at.get(turn.text) and not ctx.inputs:
                await ctx.wait_for_input(f"{turn.text}?", {"done": step - 1}, node_id="ask")
            if ctx.inputs:
                self.inputs.append(dict(ctx.inputs))
                yield TextOutput(f"({ctx.inputs['ask']}) ")
            self.ran.append(step)
            if step in self.gates:
                await self.gates[step].wait()
            yield TextOutput(f"{step} ")
            try:
                await ctx.checkpoint({"done": step, **self.state})
            except Suspended:
                if not self.stubborn:
                    raise
                yield TextOutput("goes on all the same")

    def hold(self, step: int) -> asyncio.Event:
        self.gates[step] = asyncio.Event()
        return self.gates[step]

    async def at(self, step: int) -> None:
        await until(lambda: bool(self.ran) and self.ran[-1] == step)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.001)


def house(place: Path, config: dict[str, Any] | None = None) -> tuple[Middle, Steps]:
    middle = Middle(place, config, SystemClock())
    steps = Steps()
    middle.agents["a"] = steps  # type: ignore[assignment]
    return middle, steps


@pytest.fixture
async def both(tmp_path: Path) -> AsyncIterator[tuple[Middle, Steps]]:
    middle, steps = house(tmp_path)
    async with middle:
        yield middle, steps


async def stored(middle: Middle, execution_id: str) -> Execution:
    found = await middle.store.get_execution(execution_id)
    assert found is not None
    return found


async def in_state(middle: Middle, execution_id: str, state: ExecutionState) -> Execution:
    async with asyncio.timeout(60):
        while (found := await stored(middle, execution_id)).state is not state:
            await asyncio.sleep(0.001)
    return found


async def told(middle: Middle, *kinds: EventType) -> list[Event]:
    return list((await middle.store.read_forward(0, EventFilter(frozenset(kinds)), 100)).events)


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

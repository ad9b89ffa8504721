"""How executions end: answered, failed, cancelled in every moment, cut off; and that every waiter always wakes."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatewayd.agents.base import AgentFailed
from gatewayd.core.clock import SystemClock
from gatewayd.core.errors import ExecutionFinished, NotFound
from gatewayd.core.event import EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.work import ExecutionState, LedgerState
from gatewayd.runtime.live import Outcome
from tests.rigs.middle import Middle, message

CHAT = {"channels": {"chat": {"platform": "sim", "routing": {"dm": "a"}}}}


def chat(**more: object) -> dict[str, object]:
    return {"channels": {"chat": {"platform": "sim", "routing": {"dm": "a"}, **more}}}


@pytest.fixture
async def middle(tmp_path: Path) -> AsyncIterator[Middle]:
    async with Middle(tmp_path, CHAT, SystemClock()) as middle:
        yield middle


async def started(middle: Middle, count: int = 1) -> None:
    async with asyncio.timeout(60):
        while len(middle.agents["a"].turns) < count:
            await asyncio.sleep(0.001)


async def test_an_answer_is_written_before_anybody_is_told(middle: Middle) -> None:
    """The row holds the answer when the waiter wakes."""
    submitted = await middle.send("the question")
    middle.agents["a"].may_end.set()

    outcome = await submitted.live.done

    assert (outcome.state, outcome.output) == (ExecutionState.SUCCEEDED, "half of the question")
    stored = await middle.store.get_execution(submitted.accepted.execution_id)
    assert stored is not None
    assert (stored.state, stored.output, stored.attempts) == (ExecutionState.SUCCEEDED, "half of the question", 1)
    assert middle.runtime.counts() == {"succeeded": 1}


async def test_a_failed_agent_ends_its_execution_with_words_for_the_user(middle: Middle) -> None:
    """AgentFailed speaks for itself; any other exception is not shown."""
    middle.agents["a"].may_end.set()
    middle.agents["a"].fails = AgentFailed("The model was out.", cause="inside")
    told = await (await middle.send("one")).live.done
    middle.agents["a"].fails = ValueError("a secret of the inside")
    hidden = await (await middle.send("two")).live.done

    assert (told.state, told.error) == (ExecutionState.FAILED, "The model was out.")
    assert "secret" not in hidden.error
    assert hidden.state is ExecutionState.FAILED


async def test_a_time_limit_of_an_agents_own_is_not_told_as_that_of_the_agent(
    middle: Middle, caplog: pytest.LogCaptureFixture
) -> None:
    """Such as that of its database: the log has where it was, and nobody looks for a slow agent."""
    middle.agents["a"].may_end.set()
    middle.agents["a"].fails = TimeoutError("the database")
    outcome = await (await middle.send("one")).live.done

    assert outcome.state is ExecutionState.FAILED
    assert "in time" not in outcome.error
    assert "agent_crashed" in caplog.messages


async def test_a_cancel_before_the_first_step_ends_it_and_frees_the_lane(middle: Middle) -> None:
    """The task of an execution that was just launched has not begun: cancelling it must not lose its end."""
    submitted = await middle.send("one")
    middle.runtime.interrupt(submitted.live, "at once")

    outcome = await asyncio.wait_for(submitted.live.done, 60)

    assert (outcome.state, outcome.reason) == (ExecutionState.CANCELLED, "at once")
    assert middle.runtime.lanes.busy == 0
    middle.agents["a"].may_end.set()
    assert (await (await middle.send("two")).live.done).state is ExecutionState.SUCCEEDED


async def test_a_cancel_while_the_end_is_written_comes_too_late(middle: Middle) -> None:
    """From the outcome on nothing interrupts; the canceller learns how it ended."""
    submitted = await middle.send("one")
    await started(middle)
    middle.agents["a"].may_end.set()
    while not submitted.live.ending:
        await asyncio.sleep(0)

    with pytest.raises(ExecutionFinished, match="succeeded"):
        await middle.runtime.cancel(submitted.accepted.execution_id, "too late")

    assert submitted.live.done.result().state is ExecutionState.SUCCEEDED


async def test_a_running_one_is_cancelled_with_what_it_had_said(middle: Middle) -> None:
    """CANCELLED keeps the text so far; its story ends as silent."""
    submitted = await middle.send("one")
    await started(middle)

    await middle.runtime.cancel(submitted.accepted.execution_id, "enough")

    stored = await middle.store.get_execution(submitted.accepted.execution_id)
    story = await middle.store.story(submitted.accepted.message_id)
    assert stored is not None
    assert story is not None
    assert (stored.state, stored.reason, stored.output) == (ExecutionState.CANCELLED, "enough", "half ")
    assert story.state is LedgerState.SILENT
    with pytest.raises(ExecutionFinished):
        await middle.runtime.cancel(submitted.accepted.execution_id, "again")
    with pytest.raises(NotFound):
        await middle.runtime.cancel("nothing", "x")


async def test_interrupt_mode_ends_the_turn_that_runs(tmp_path: Path) -> None:
    """busy_mode: interrupt; the newer message is answered in the lane that it freed."""
    async with Middle(tmp_path, chat(busy_mode="interrupt"), SystemClock()) as middle:
        await middle.router.accept_chat(message("first", 1))
        await started(middle)
        await middle.router.accept_chat(message("second", 2))
        await started(middle, 2)
        middle.agents["a"].may_end.set()
        await middle.runtime.idle()

        assert [row.text for row in middle.offered] == ["half of second"]
        first = await middle.store.story("p1")
        assert first is not None
        assert first.state is LedgerState.SILENT


async def test_messages_of_one_commit_interrupt_each_other_without_harm(tmp_path: Path) -> None:
    """Whoever is interrupted before its first step still ends, and the last one is answered."""
    async with Middle(tmp_path, chat(busy_mode="interrupt"), SystemClock()) as middle:
        middle.agents["a"].may_end.set()
        await asyncio.gather(*(middle.router.accept_chat(message(f"m{number}", number)) for number in range(30)))
        async with asyncio.timeout(60):
            await middle.runtime.idle()

        assert middle.offered[-1].text == "half of m29"
        stories = [await middle.store.story(f"p{number}") for number in range(30)]
        assert all(story is not None and story.state is not LedgerState.QUEUED for story in stories)


async def test_steering_gives_what_waits_to_the_turn_that_runs(tmp_path: Path) -> None:
    """busy_mode: steer; one answer, every message has its end, and the history has every question."""
    async with Middle(tmp_path, chat(busy_mode="steer"), SystemClock()) as middle:
        await middle.router.accept_chat(message("first", 1))
        await started(middle)
        await middle.router.accept_chat(message("second", 2))
        await middle.router.accept_chat(message("third", 3))
        middle.agents["a"].may_end.set()
        await middle.runtime.idle()

        assert middle.agents["a"].steered == ["second", "third"]
        assert [row.text for row in middle.offered] == ["half of first"]
        assert middle.runtime.counts() == {"succeeded": 3}
        stories = [await middle.store.story(f"p{number}") for number in (2, 3)]
        assert [story.state for story in stories if story] == [LedgerState.ANSWERED] * 2
        assert stories[0] is not None
        history = await middle.sessions.history(stories[0].session_id)
        assert [entry.content for entry in history] == ["first", "second", "third", "half of first"]


async def test_an_end_that_cannot_be_written_wakes_its_waiters(middle: Middle) -> None:
    """Whatever happens to an end, nobody waits for ever, and the lane is free for the next one."""
    submitted = await middle.send("one")
    await started(middle)
    await middle.store.finish(
        middle.router._endings.finish(
            middle.config, submitted.live, Outcome(ExecutionState.CANCELLED, reason="elsewhere"), middle.clock.now()
        )
    )
    middle.agents["a"].may_end.set()

    outcome = await asyncio.wait_for(submitted.live.done, 60)

    assert outcome.state is ExecutionState.QUEUED
    assert (await (await middle.send("two")).live.done).state is ExecutionState.SUCCEEDED


async def test_a_stop_puts_running_work_back_and_the_next_start_takes_it_up(tmp_path: Path) -> None:
    """What is cut off is QUEUED again, told as interrupted, and answered after the restart, in order."""
    async with Middle(tmp_path, CHAT, SystemClock()) as middle:
        first = await middle.send("one")
        second = await middle.send("two")
        await started(middle)
    assert (await first.live.done).state is ExecutionState.QUEUED
    assert (await second.live.done).state is ExecutionState.QUEUED

    async with Middle(tmp_path, CHAT, SystemClock()) as middle:
        middle.agents["a"].may_end.set()
        assert await middle.router.recover() == 2
        await middle.runtime.idle()

        assert [turn.text for turn in middle.agents["a"].turns] == ["one", "two"]
        stored = await middle.store.get_execution(first.accepted.execution_id)
        assert stored is not None
        assert (stored.state, stored.attempts) == (ExecutionState.SUCCEEDED, 2)
        told = await middle.store.read_forward(0, EventFilter(frozenset({EventType.EXECUTION_INTERRUPTED})), 10)
        assert [event.execution_id for event in told.events] == [first.accepted.execution_id]


async def test_work_that_is_cut_off_again_and_again_becomes_a_dead_letter(tmp_path: Path) -> None:
    """F81: after three crashes in its middle it is poison; an operator may run it again."""
    execution_id = ""
    for _ in range(3):
        middle = Middle(tmp_path, CHAT, SystemClock())
        await middle.__aenter__()
        if execution_id:
            await middle.router.recover()
        else:
            execution_id = (await middle.send("poison")).accepted.execution_id
        await started(middle)
        await middle.store.close()  # a crash: nothing is put back
        await middle.tasks.close()

    async with Middle(tmp_path, CHAT, SystemClock()) as middle:
        await middle.router.recover()
        (letter,) = await middle.store.list_dead_letters(channel="", before="", limit=10)
        assert letter.reference == execution_id
        assert "cut off 3 times" in letter.reason
        middle.agents["a"].may_end.set()

        await middle.router.retry_dead_letter(letter.id, "operator")
        await middle.runtime.idle()

        stored = await middle.store.get_execution(execution_id)
        assert stored is not None
        assert stored.state is ExecutionState.SUCCEEDED


async def test_a_message_whose_bringer_is_cut_off_is_answered_all_the_same(middle: Middle) -> None:
    """Cancelled between submission and commit: the unit is written, so the work goes on without its bringer."""
    middle.agents["a"].may_end.set()
    for number in range(20):
        bringer = asyncio.create_task(middle.router.accept_chat(message(f"m{number}", number)))
        while "chat" not in middle.bus._order._streams:  # until the unit is submitted
            await asyncio.sleep(0)
        bringer.cancel()
        await asyncio.wait([bringer])
        async with asyncio.timeout(60):
            while len(middle.offered) <= number:
                await asyncio.sleep(0.001)

    assert [row.text for row in middle.offered] == [f"half of m{number}" for number in range(20)]
    stories = [await middle.store.story(f"p{number}") for number in range(20)]
    assert {story.state for story in stories if story is not None} == {LedgerState.EXECUTED}

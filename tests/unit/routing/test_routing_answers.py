"""Answers in chats at their edges: long after the question, when somebody was faster, and when nobody answers."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest

from gatewayd.agents.base import AgentContext, Output, TextOutput, Turn
from gatewayd.core.checkpoint import Question
from gatewayd.core.errors import StoreCorrupt
from gatewayd.core.work import ExecutionState, LedgerState
from gatewayd.storage.base import Store
from gatewayd.storage.records import Finish, LedgerRecord, OutboxRow
from gatewayd.testing.fakes import FakeClock
from tests.rigs.middle import Middle, message

HOUR = 3600.0
CHANNELS = {"chat": {"platform": "sim", "routing": {"dm": "a"}, "session": {"reset": "idle", "idle_minutes": 5}}}


class Asks:
    timeout = 60.0

    def __init__(self) -> None:
        self.turns: list[Turn] = []

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        self.turns.append(turn)
        if not ctx.inputs:
            await ctx.wait_for_input(f"{turn.text}?", {"kept": True})
        yield TextOutput(f"{turn.text}! {ctx.inputs['']}")


@pytest.fixture
async def middle(tmp_path: Path) -> AsyncIterator[Middle]:
    async with Middle(tmp_path, {"channels": CHANNELS}) as middle:
        middle.agents["a"] = Asks()  # type: ignore[assignment]
        yield middle


def clock_of(middle: Middle) -> FakeClock:
    assert isinstance(middle.clock, FakeClock)
    return middle.clock


async def story(store: Store, reference: str) -> LedgerRecord:
    found = await store.story(reference)
    assert found is not None
    return found


async def asked(middle: Middle, text: str = "x", number: int = 1) -> str:
    """The execution that waits."""
    await middle.router.accept_chat(message(text, number))
    await middle.runtime.idle()
    return (await story(middle.store, f"p{number}")).execution_id


async def test_an_answer_may_come_long_after_the_session_would_have_ended(middle: Middle) -> None:
    """A session with something that waits is not idle, and is not reset."""
    execution_id = await asked(middle)
    await clock_of(middle).advance(48 * HOUR)
    await middle.sessions.expire()

    await middle.router.accept_chat(message("two days later", 2))
    await middle.runtime.idle()

    assert [row.text for row in middle.offered] == ["x?", "x! two days later"]
    answer, begun = await story(middle.store, "p2"), await story(middle.store, "p1")
    assert (answer.execution_id, answer.session_id) == (execution_id, begun.session_id)
    assert begun.state is LedgerState.EXECUTED, "its answer waits in the outbox"
    assert answer.state is LedgerState.ANSWERED


async def test_a_repeat_of_an_answer_is_none(middle: Middle) -> None:
    """The platform gives it out again after the execution went on, and asks once more."""
    await asked(middle)
    await middle.router.accept_chat(message("ann", 2))
    await middle.runtime.idle()
    await asked(middle, "y", 3)

    await middle.router.accept_chat(message("ann", 2))
    await middle.runtime.idle()

    assert [row.text for row in middle.offered] == ["x?", "x! ann", "y?"]


async def test_who_comes_second_begins_a_turn(middle: Middle, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else gives the input between the look and the answer: the message is no answer any more."""
    execution_id = await asked(middle)
    look = middle.store.open_question

    async def and_then(session_id: str) -> object:
        found = await look(session_id)
        await middle.router.controls.give_input(execution_id, "", "by hand", middle.caller())
        return found

    monkeypatch.setattr(middle.store, "open_question", and_then)
    await middle.router.accept_chat(message("late", 2))
    monkeypatch.undo()
    await middle.runtime.idle()

    assert [row.text for row in middle.offered] == ["x?", "x! by hand", "late?"]


async def test_who_is_never_answered_fails_and_says_so(middle: Middle) -> None:
    """After `max_age_days`; the person is told, and the session remembers the question."""
    execution_id = await asked(middle)

    assert await middle.runtime.suspending.expire(clock_of(middle).now() + 1) == 1

    ended = await middle.store.get_execution(execution_id)
    assert ended is not None
    assert ended.state is ExecutionState.FAILED
    first, *rest = [row.text for row in middle.offered]
    assert first == "x?"
    assert " ".join(rest).startswith("Sorry, this did not work")
    history = await middle.store.history(ended.session_id, 0, 0)
    assert [entry.content for entry in history] == ["x", "x?"]
    assert not middle.runtime.suspending.rests_in(ended.session_id)


async def test_poison_ends_the_stories_of_its_answers_too(middle: Middle) -> None:
    """An execution that is given up takes no message with it that nobody hears of."""
    execution_id = await asked(middle)
    await middle.router.accept_chat(message("ann", 2))
    await middle.runtime.idle()
    again = await asked(middle, "y", 3)
    middle.runtime.lanes.close()
    await middle.router.accept_chat(message("bob", 4))
    for number in range(3):
        await middle.store.start(again, float(number + 1), ())

    middle.runtime.lanes = type(middle.runtime.lanes)(lambda _live: None)
    await middle.router.recover()

    assert (await story(middle.store, "p4")).state is LedgerState.DEAD_LETTERED
    assert (await story(middle.store, "p3")).state is LedgerState.DEAD_LETTERED
    assert (await story(middle.store, "p2")).execution_id == execution_id


async def test_keys_of_what_is_asked_and_answered_differ(middle: Middle) -> None:
    """Platforms that know a message by its key take both."""
    await asked(middle)
    await middle.router.accept_chat(message("ann", 2))
    await middle.runtime.idle()

    rows: list[OutboxRow] = middle.offered
    assert len({row.key for row in rows}) == 2
    assert {row.message_id for row in rows} == {(await story(middle.store, "p1")).message_id}


async def cut_at_its_end(middle: Middle, monkeypatch: pytest.MonkeyPatch, asking: Coroutine[Any, Any, None]) -> None:
    """Cut the caller off while the end of an execution is on its way to the disk."""
    submitted, finish = asyncio.Event(), middle.store.finish

    def told(end: Finish) -> object:
        submitted.set()
        return finish(end)

    with monkeypatch.context() as patched:
        patched.setattr(middle.store, "finish", told)
        caller = asyncio.ensure_future(asking)
        async with asyncio.timeout(60):
            await submitted.wait()
        caller.cancel()
        with pytest.raises(asyncio.CancelledError):
            await caller


async def test_a_repeat_of_a_stop_stops_nothing_more(middle: Middle) -> None:
    """The platform gives it out again when something else has been asked."""
    await asked(middle)
    stop = message("/stop", 2, command=True)
    await middle.router.accept_chat(stop)
    again = await asked(middle, "y", 3)

    await middle.router.accept_chat(stop)
    await middle.runtime.idle()

    found = await middle.store.get_execution(again)
    assert found is not None
    assert found.state is ExecutionState.INPUT_REQUIRED
    assert [row.text for row in middle.offered] == ["x?", "Stopped.", "y?"]


async def test_a_stop_whose_caller_is_cut_off_is_carried_out_and_told(
    middle: Middle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Said again, it is known: no agent is asked what it means."""
    execution_id = await asked(middle)
    stop = message("/stop", 2, command=True)
    await cut_at_its_end(middle, monkeypatch, middle.router.accept_chat(stop))

    async with asyncio.timeout(60):
        await middle.router._commits._tasks.wait()
    await middle.router.accept_chat(stop)
    await middle.runtime.idle()

    ended = await middle.store.get_execution(execution_id)
    assert ended is not None
    assert ended.state is ExecutionState.CANCELLED
    assert [row.text for row in middle.offered] == ["x?", "Stopped."]


async def test_a_stop_does_not_try_for_ever_what_cannot_be_written(
    middle: Middle, monkeypatch: pytest.MonkeyPatch
) -> None:
    await asked(middle)

    async def damaged(_execution_id: str) -> list[Question]:
        raise StoreCorrupt("a question is damaged")

    monkeypatch.setattr(middle.store, "questions_of", damaged)
    async with asyncio.timeout(60):
        await middle.router.accept_chat(message("/stop", 2, command=True))


async def test_a_cancellation_whose_caller_is_cut_off_wakes_who_waits_for_the_end(
    middle: Middle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The end is on disk all the same."""
    sent = await middle.send("x")
    await sent.live.rests.wait()
    execution_id = sent.accepted.execution_id
    await cut_at_its_end(middle, monkeypatch, middle.router.controls.cancel(execution_id, middle.caller()))

    async with asyncio.timeout(60):
        assert (await sent.live.done).state is ExecutionState.CANCELLED

"""Questions of executions to their chats: one unit with the wait and with the answer, and gone with the end."""

from dataclasses import replace
from typing import Any

import pytest

from gatewayd.core.checkpoint import MAX_QUESTIONS, Checkpoint, CheckpointKind, Question
from gatewayd.core.errors import LimitExceeded, NotWaiting
from gatewayd.core.work import ExecutionState
from gatewayd.storage.checkpoints import CheckpointWrite
from gatewayd.storage.records import Acceptance, Answer
from gatewayd.testing.store_cases.samples import NOW, Harness, acceptance, event, finish, piece, session


class QuestionCases:
    async def test_a_question_is_one_unit_with_the_wait_and_its_message(self, harness: Harness) -> None:
        await _running(harness)
        rows = (replace(piece(1), id="ask-1", key="m0001/ask/0"),)
        await harness.store.save_checkpoint(_asks(1, outbox=rows))
        await harness.reopen()
        assert await harness.store.open_question("s1") == _question(1)
        assert await harness.store.open_question("s2") is None
        assert [row.id for row in await harness.store.pending_outbox("tg")] == ["ask-1"]
        with pytest.raises(Exception, match=r".+"):  # the id is taken: nothing of the unit is written
            await harness.store.save_checkpoint(_asks(1, outbox=(replace(rows[0], id="ask-2", key="m0001/ask/1"),)))
        assert await harness.store.questions_of("x0001") == [_question(1)]
        assert [row.id for row in await harness.store.pending_outbox("tg")] == ["ask-1"]

    async def test_a_message_is_the_answer_as_one_unit(self, harness: Harness) -> None:
        await _running(harness)
        await harness.store.save_checkpoint(_asks(1))
        accepted = await harness.store.accept(_answer(2, "x0001", "n1", events=(event("e1"),)))
        assert (accepted.message_id, accepted.execution_id, accepted.duplicate) == ("m0002", "x0001", False)
        again = await harness.store.accept(_answer(2, "x0001", "n1", events=(event("e2"),)))
        assert (again.message_id, again.execution_id, again.duplicate) == ("m0002", "x0001", True)
        await harness.reopen()
        assert (await harness.store.restart_of("x0001")).inputs == {"n1": "question 2"}
        assert await harness.store.open_question("s1") is None
        told = Question("x0001", "n1", "a name?", NOW + 1, "question 2", "m0002", NOW + 2)
        assert await harness.store.questions_of("x0001") == [told]
        found, story = await harness.store.get_execution("x0001"), await harness.store.story("m0002")
        assert found is not None
        assert found.state is ExecutionState.QUEUED
        assert story is not None
        assert story.execution_id == "x0001"

    async def test_what_does_not_wait_takes_no_answer(self, harness: Harness) -> None:
        await _running(harness)
        with pytest.raises(NotWaiting):
            await harness.store.accept(_answer(2, "x0001", "n1", events=(event("e1"),)))
        await harness.store.save_checkpoint(_asks(1))
        with pytest.raises(NotWaiting):
            await harness.store.accept(_answer(2, "x0001", "n2", events=(event("e2"),)))
        assert await harness.store.story("m0002") is None
        assert not (await harness.store.accept(_answer(2, "x0001", "n1"))).duplicate
        with pytest.raises(NotWaiting):
            await harness.store.accept(_answer(3, "x0001", "n1"))

    async def test_who_has_asked_last_is_found_first(self, harness: Harness) -> None:
        for number in (1, 2):
            await _running(harness, number)
            await harness.store.save_checkpoint(_asks(number, f"x{number:04}"))
        newest = await harness.store.open_question("s1")
        assert newest is not None
        assert newest.execution_id == "x0002"
        await harness.store.give_input("x0002", "n2", "by hand", NOW + 9, ())
        left = await harness.store.open_question("s1")
        assert left is not None
        assert left.execution_id == "x0001"
        (by_hand,) = await harness.store.questions_of("x0002")
        assert (by_hand.answer, by_hand.message_id, by_hand.answered) == ("by hand", "", NOW + 9)

    async def test_questions_go_with_the_end_and_with_what_is_erased(self, harness: Harness) -> None:
        for number in (1, 2):
            await _running(harness, number)
            await harness.store.save_checkpoint(_asks(number, f"x{number:04}"))
        await harness.store.finish(finish(1))
        assert await harness.store.questions_of("x0001") == []
        assert len(await harness.store.questions_of("x0002")) == 1
        assert await harness.store.erase_session("s1") is True
        assert await harness.store.questions_of("x0002") == []

    async def test_an_execution_does_not_ask_for_ever(self, harness: Harness) -> None:
        await _running(harness)
        for number in range(MAX_QUESTIONS):
            await harness.store.save_checkpoint(_asks(number, keep=1))
        with pytest.raises(LimitExceeded):
            await harness.store.save_checkpoint(_asks(MAX_QUESTIONS))
        assert len(await harness.store.questions_of("x0001")) == MAX_QUESTIONS


async def _running(harness: Harness, number: int = 1) -> None:
    await harness.store.accept(acceptance(number))
    await harness.store.start(f"x{number:04}", NOW, ())


def _question(number: int, execution: str = "x0001") -> Question:
    return Question(execution, f"n{number}", "a name?", NOW + number)


def _asks(number: int, execution: str = "x0001", *, keep: int = 0, **more: Any) -> CheckpointWrite:
    made = Checkpoint(f"c{number}", execution, f"n{number}", CheckpointKind.WAIT, "{}", "", NOW + number, "a name?")
    question = _question(number, execution)
    return CheckpointWrite(made, keep, leaves_as=ExecutionState.INPUT_REQUIRED, question=question, **more)


def _answer(number: int, execution: str, node_id: str, **more: Any) -> Acceptance:
    return replace(acceptance(number), session=session(), execution=None, answer=Answer(execution, node_id), **more)

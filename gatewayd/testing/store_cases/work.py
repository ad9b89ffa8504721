"""Messages and executions: taken in once, ended once, and told truly."""

from dataclasses import replace

import pytest

from gatewayd.core.errors import AlreadyExists, ExecutionFinished, IdConflict, NotFound
from gatewayd.core.work import ExecutionState, LedgerState
from gatewayd.storage.records import DeadLetter, DeadLetterKind, Finish, LedgerChange, Ran, Step
from gatewayd.testing.store_cases.samples import (
    NOW,
    Harness,
    acceptance,
    answered,
    event,
    execution,
    finish,
    session,
    turn,
)


class WorkCases:
    async def test_an_accepted_message_is_wholly_there(self, harness: Harness) -> None:
        given = acceptance(1, events=(event("e1"),))
        accepted = await harness.store.accept(given)
        assert (accepted.message_id, accepted.execution_id, accepted.duplicate) == ("m0001", "x0001", False)
        await harness.reopen()
        assert await harness.store.get_execution("x0001") == given.execution
        assert await harness.store.unfinished() == [given.execution]
        story = await harness.store.story("m0001")
        assert story is not None
        assert story.inbound == given.inbound
        assert story.steps == given.steps
        assert (story.state, story.rule, story.agent) == (LedgerState.QUEUED, "tg.dm", "helper")
        assert await harness.store.get_session("s1") == given.session
        assert harness.store.log.last_seq == 1

    async def test_a_message_that_comes_twice_is_taken_in_once(self, harness: Harness) -> None:
        first = harness.store.accept(acceptance(1, dedupe="id", events=(event("e1"),)))
        again = harness.store.accept(acceptance(2, dedupe="id", events=(event("e2"),)))
        assert await again == replace(await first, duplicate=True)
        await harness.reopen()
        later = await harness.store.accept(acceptance(3, dedupe="id"))
        assert later == replace(await first, duplicate=True)
        assert [kept.id for kept in await harness.store.unfinished()] == ["x0001"]
        assert harness.store.log.last_seq == 1

    async def test_another_message_under_a_used_key_is_a_conflict(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1, dedupe="id", digest=b"one"))
        with pytest.raises(IdConflict):
            await harness.store.accept(acceptance(2, dedupe="id", digest=b"two"))
        again = await harness.store.accept(acceptance(3, dedupe="id", digest=b"one"))
        assert again.duplicate

    async def test_a_silent_message_has_a_story_and_no_execution(self, harness: Harness) -> None:
        given = replace(acceptance(1), session=None, execution=None, state=LedgerState.SILENT)
        await harness.store.accept(given)
        story = await harness.store.story("tg-1")
        assert story is not None
        assert story.state is LedgerState.SILENT
        assert await harness.store.unfinished() == []

    async def test_one_session_of_a_key_is_active(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1))
        with pytest.raises(AlreadyExists):
            await harness.store.accept(acceptance(2, record=session("s2")))
        assert await harness.store.story("m0002") is None
        assert await harness.store.end_session("s1", "reset", NOW, ()) is True
        await harness.store.accept(acceptance(3, record=session("s2")))
        active = await harness.store.active_session("chat/1")
        assert active is not None
        assert active.id == "s2"

    async def test_two_new_sessions_of_a_key_at_once_are_told_apart(self, harness: Harness) -> None:
        first = harness.store.accept(acceptance(1))
        second = harness.store.accept(acceptance(2, record=session("s2")))
        ended = harness.store.end_session("s1", "reset", NOW, ())
        third = harness.store.accept(acceptance(3, record=session("s3")))
        with pytest.raises(AlreadyExists):
            await second
        assert not (await first).duplicate
        assert await ended is True
        assert not (await third).duplicate

    async def test_an_id_that_exists_is_refused_alone(self, harness: Harness) -> None:
        waiting = [
            harness.store.accept(acceptance(1)),
            harness.store.accept(replace(acceptance(1), dedupe_id="other")),
            harness.store.accept(acceptance(2)),
        ]
        assert not (await waiting[0]).duplicate
        with pytest.raises(Exception, match=r".+"):
            await waiting[1]
        assert not (await waiting[2]).duplicate
        assert [kept.id for kept in await harness.store.unfinished()] == ["x0001", "x0002"]

    async def test_starting_counts_attempts_and_requeueing_keeps_them(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1))
        await harness.store.start("x0001", NOW + 1, (event("e1"),))
        await harness.store.requeue("x0001", "crash", ())
        await harness.store.start("x0001", NOW + 2, ())
        found = await harness.store.get_execution("x0001")
        assert found is not None
        assert (found.state, found.attempts, found.started) == (ExecutionState.RUNNING, 2, NOW + 1)
        assert await harness.store.finish(finish(1)) == Ran(2, NOW + 1, finish(1).finished)

    async def test_a_trace_is_kept_with_its_execution(self, harness: Harness) -> None:
        given = acceptance(1)
        assert given.execution is not None
        trace, later = f"00-{'1' * 32}-{'2' * 16}-01", f"00-{'3' * 32}-{'4' * 16}-01"
        await harness.store.accept(replace(given, execution=replace(given.execution, trace=f"{trace}-more")))
        await harness.store.accept(acceptance(2))
        await harness.store.accept(acceptance(3))
        await harness.store.start("x0001", NOW + 1, ())
        await harness.store.start("x0002", NOW + 1, (), later)
        await harness.reopen()
        assert [one.trace for one in await harness.store.unfinished()] == [trace, later, ""]
        for name, kept in (("x0001", trace), ("x0002", later), ("x0003", "")):
            found = await harness.store.get_execution(name)
            assert found is not None
            assert found.trace == kept

    async def test_an_execution_ends_exactly_once(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1))
        first = harness.store.finish(finish(1, events=(event("e1"),)))
        second = harness.store.finish(replace(finish(1), state=ExecutionState.CANCELLED))
        await first
        with pytest.raises(ExecutionFinished):
            await second
        with pytest.raises(ExecutionFinished):
            await harness.store.start("x0001", NOW, ())
        found = await harness.store.get_execution("x0001")
        assert found is not None
        assert (found.state, found.output) == (ExecutionState.SUCCEEDED, "answer")
        assert await harness.store.unfinished() == []
        assert len(await harness.store.pending_outbox("tg")) == 1

    async def test_what_is_not_there_is_not_found(self, harness: Harness) -> None:
        with pytest.raises(NotFound):
            await harness.store.finish(finish(9))
        with pytest.raises(NotFound):
            await harness.store.mark_sent("o9", "p", NOW)
        with pytest.raises(NotFound):
            await harness.store.retry_dead_letter("d9", NOW, "ann")
        assert await harness.store.get_execution("x9") is None
        assert await harness.store.story("m9") is None
        assert await harness.store.end_session("s9", "reset", NOW, ()) is False

    async def test_absorbed_executions_end_with_the_one_that_answered(self, harness: Harness) -> None:
        for number in (1, 2):
            await harness.store.accept(acceptance(number))
        silent = LedgerChange("m0002", LedgerState.ANSWERED, Step("executed", NOW, "with x0001"))
        end = finish(1)
        await harness.store.finish(replace(end, absorbed=("x0002",), ledger=(*end.ledger, silent)))
        found = await harness.store.get_execution("x0002")
        assert found is not None
        assert found.state is ExecutionState.SUCCEEDED
        story = await harness.store.story("x0002")
        assert story is not None
        assert story.state is LedgerState.ANSWERED

    async def test_history_is_capped_in_the_unit_that_adds_to_it(self, harness: Harness) -> None:
        for number in range(1, 5):
            await harness.store.accept(acceptance(number))
            await harness.store.finish(finish(number, turn=turn(number)))
        entries = await harness.store.history("s1", 0, 0)
        assert [entry.content[:2] for entry in entries] == ["q3", "a3", "q4", "a4"]
        record = await harness.store.get_session("s1")
        assert record is not None
        assert (record.messages, record.bytes) == (4, 24)

    async def test_history_is_capped_by_bytes_too(self, harness: Harness) -> None:
        for number in range(1, 4):
            await harness.store.accept(acceptance(number))
            end = finish(number, turn=turn(number, size=100))
            await harness.store.finish(replace(end, history_max_messages=0, history_max_bytes=350))
        entries = await harness.store.history("s1", 0, 0)
        assert [entry.content[:2] for entry in entries] == ["a2", "q3", "a3"]
        assert [entry.content[:2] for entry in await harness.store.history("s1", 2, 0)] == ["q3", "a3"]
        assert [entry.content[:2] for entry in await harness.store.history("s1", 0, 150)] == ["a3"]

    async def test_a_session_with_an_unfinished_execution_is_not_idle(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1))
        assert await harness.store.idle_sessions(NOW + 100, 10) == []
        await harness.store.finish(finish(1, turn=turn(1)))
        assert [kept.id for kept in await harness.store.idle_sessions(NOW + 100, 10)] == ["s1"]
        assert await harness.store.idle_sessions(NOW, 10) == []
        assert await harness.store.count_active_sessions() == {"helper": 1}

    async def test_lists_are_newest_first_filtered_and_paged(self, harness: Harness) -> None:
        for number in range(1, 6):
            await harness.store.accept(acceptance(number, record=session(f"s{number}", f"k{number}")))
        await harness.store.finish(replace(finish(2), session_id="s2"))
        queued = await harness.store.list_executions(
            states=[ExecutionState.QUEUED], session_id="", agent="", before="", limit=2
        )
        assert [kept.id for kept in queued] == ["x0005", "x0004"]
        rest = await harness.store.list_executions(states=(), session_id="", agent="", before="x0004", limit=9)
        assert [kept.id for kept in rest] == ["x0003", "x0002", "x0001"]
        own = await harness.store.list_executions(states=(), session_id="s3", agent="helper", before="", limit=9)
        assert own == [execution(3, "s3")]
        open_ones = await harness.store.list_messages(
            states=[LedgerState.QUEUED], channel="tg", session_id="", before="m0004", limit=9
        )
        assert [kept.message_id for kept in open_ones] == ["m0003", "m0001"]
        assert open_ones[0].steps == ()
        sessions = await harness.store.list_sessions(
            principal="ann", agent="", channel="", include_ended=False, before="s4", limit=2
        )
        assert [kept.id for kept in sessions] == ["s3", "s2"]

    async def test_a_story_is_found_by_every_id_in_it(self, harness: Harness) -> None:
        await answered(harness.store, 1)
        for reference in ("m0001", "x0001", "o0001-0", "tg-1", "sent-1-0"):
            story = await harness.store.story(reference)
            assert story is not None
            assert story.message_id == "m0001"

    async def test_a_poisoned_message_can_be_run_again(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1))
        await harness.store.start("x0001", NOW, ())
        poison = DeadLetter("d1", DeadLetterKind.INBOUND, "m0001", "x0001", "tg", "poison", NOW)
        gone = LedgerChange("m0001", LedgerState.DEAD_LETTERED, Step("dead-lettered", NOW))
        await harness.store.finish(
            Finish("x0001", ExecutionState.FAILED, NOW + 1, error="boom", dead_letters=(poison,), ledger=(gone,))
        )
        assert await harness.store.list_dead_letters(channel="tg", before="", limit=9) == [poison]
        revived = await harness.store.retry_dead_letter("d1", NOW + 2, "ann")
        assert revived == execution(1)
        assert await harness.store.list_dead_letters(channel="", before="", limit=9) == []
        await harness.store.finish(finish(1))
        story = await harness.store.story("m0001")
        assert story is not None
        assert story.state is LedgerState.EXECUTED

"""Entry points: their marks are kept, and their results no longer than is wanted."""

import json
from dataclasses import replace

from gatewayd.core.filter import EventFilter
from gatewayd.core.graph_result import GraphResult
from gatewayd.core.message import ReplyKind, ReplyTo
from gatewayd.core.state import Place, StateLimits, StateScope
from gatewayd.core.work import ExecutionState, LedgerState, Origin
from gatewayd.storage.records import DeadLetter, DeadLetterKind, Finish, LedgerChange, Step
from gatewayd.storage.retention import Limits, Retention
from gatewayd.storage.state import StateWrite
from gatewayd.testing.store_cases.samples import NOW, Harness, acceptance, event, execution, published


class EntryPointCases:
    async def test_marks_are_kept_replaced_and_forgotten(self, harness: Harness) -> None:
        await harness.store.set_mark("reader a", "e:1")
        await harness.store.set_mark("reader b", "e:2")
        await harness.store.set_mark("reader a", "e:3")
        await harness.reopen()
        assert await harness.store.marks("reader ") == {"reader a": "e:3", "reader b": "e:2"}
        await harness.store.forget_mark("reader a")
        await harness.store.forget_mark("unknown")
        assert await harness.store.marks("reader ") == {"reader b": "e:2"}
        assert await harness.store.marks("other") == {}

    async def test_a_mark_is_one_unit_with_the_events_that_tell_of_it(self, harness: Harness) -> None:
        await harness.store.append(published("e1"), scope="")
        await harness.store.set_mark("counted", "x" * 50_000, [event("e2"), event("e3")])
        await harness.reopen()
        assert await harness.store.marks("counted") == {"counted": "x" * 50_000}
        page = await harness.store.read_forward(0, EventFilter(), 10)
        assert [one.id for one in page.events] == ["e1", "e2", "e3"]

    async def test_results_beyond_a_number_or_an_age_are_dropped_and_nothing_else(self, harness: Harness) -> None:
        for number in range(1, 7):
            await _ended(harness, number, Origin.CHAT if number == 1 else Origin.TRIGGER)
        await _accepted(harness, 7, Origin.TIMER)
        assert await harness.store.drop_results(keep=9, before=0.0) == 0
        assert await harness.store.drop_results(keep=3, before=0.0) == 2
        assert await _left(harness) == [1, 4, 5, 6, 7]
        assert await harness.store.drop_results(keep=3, before=NOW + 5.5) == 2
        assert await _left(harness) == [1, 6, 7]
        await harness.reopen()
        assert await harness.store.drop_results(keep=1, before=NOW + 100) == 1
        assert await _left(harness) == [1, 7]

    async def test_it_knows_what_was_accepted_under_an_id(self, harness: Harness) -> None:
        first = acceptance(1)
        await harness.store.accept(first)
        assert await harness.store.knows(first.dedupe_scope, first.dedupe_id)
        assert not await harness.store.knows(first.dedupe_scope, "another")
        assert not await harness.store.knows("another", first.dedupe_id)

    async def test_what_events_of_a_session_have_started_is_found_and_erased(self, harness: Harness) -> None:
        """Over several steps, also where an execution of the session is the one that an event tells of."""
        said = json.dumps({"event": {"data": {"content": "my secret"}, "session_id": "s1"}})
        await harness.store.accept(acceptance(1))
        await _follower(harness, 2, said)
        await _follower(harness, 3, json.dumps({"event": {"execution_id": "x0002", "data": "my secret"}}))
        await _follower(harness, 4, json.dumps({"event": {"execution_id": "x0001"}}), "chat:tg/eve")
        await _follower(harness, 5, json.dumps({"event": {"session_id": "s2", "data": {"session_id": "s1"}}}))
        await _follower(harness, 6, json.dumps({"text": '{"event": {"session_id": "s1"}}'}))
        await _follower(harness, 7, "no JSON")
        assert await harness.store.followers(session_id="s1") == ["x0002", "x0003", "x0004"]
        assert await harness.store.followers(principal="chat:tg/eve") == ["x0004"]
        assert await harness.store.followers() == []

        assert await harness.store.erase_executions(["x0002", "x0003", "x0004", "unknown"]) == 3
        await harness.reopen()
        for number in (2, 3, 4):
            kept = await harness.store.get_execution(f"x{number:04}")
            assert kept is not None
            assert (kept.text, kept.output, kept.state) == ("", "", ExecutionState.SUCCEEDED)
            story = await harness.store.story(f"m{number:04}")
            assert story is not None
            assert (story.inbound.text, story.state) == ("", LedgerState.ANSWERED)
        other = await harness.store.get_execution("x0005")
        assert other is not None
        assert (other.text != "", other.output) == (True, "done")
        events = (await harness.store.read_forward(0, EventFilter(), 99)).events
        erased = [one for one in events if one.execution_id in ("x0002", "x0003", "x0004")]
        assert len(erased) == 3
        assert all(b"my secret" not in one.wire for one in erased)
        assert await harness.store.followers(session_id="s1") == []

    async def test_a_chain_is_found_from_its_first_execution_where_one_between_is_gone(self, harness: Harness) -> None:
        """Results go by their number, and one that waits for somebody outlives what has started it."""
        await harness.store.accept(acceptance(1))
        told = {"execution_id": "x0009", "correlation_id": "x0001~1"}
        await _follower(harness, 3, json.dumps({"event": told}))
        await _follower(harness, 4, json.dumps({"event": told | {"correlation_id": "x0002~1"}}))
        await _follower(harness, 5, json.dumps({"event": told | {"correlation_id": "monday"}}))
        assert await harness.store.followers(session_id="s1") == ["x0003"]

    async def test_what_a_graph_came_to_goes_with_its_execution(self, harness: Harness) -> None:
        await _accepted(harness, 1, Origin.TRIGGER)
        result = GraphResult("g", ("a", "ä", "a"), 3, 2, {"ä": 1}, 77, 0.25)
        change = LedgerChange("m0001", LedgerState.ANSWERED, Step("executed", NOW))
        await harness.store.finish(
            Finish("x0001", ExecutionState.FAILED, NOW, error="it failed", ledger=(change,), graph=result)
        )
        await _ended(harness, 2, Origin.TRIGGER)
        await harness.reopen()
        assert await harness.store.graph_result("x0001") == result
        assert await harness.store.graph_result("x0002") is None
        assert await harness.store.drop_results(keep=1, before=0.0) == 1
        assert await harness.store.graph_result("x0001") is None

    async def test_a_result_whose_story_is_open_stays(self, harness: Harness) -> None:
        await _ended(harness, 1, Origin.EVENT, LedgerState.EXECUTED)
        await _ended(harness, 2, Origin.EVENT)
        assert await harness.store.drop_results(keep=1, before=NOW + 100) == 1
        assert await _left(harness) == [1]

    async def test_a_result_stays_for_as_long_as_a_dead_letter_may_run_it_again(self, harness: Harness) -> None:
        for number in (1, 2):
            await _accepted(harness, number, Origin.EVENT)
            change = LedgerChange(f"m{number:04}", LedgerState.DEAD_LETTERED, Step("dead_lettered", NOW))
            poison = DeadLetter(f"d{number}", DeadLetterKind.INBOUND, f"m{number:04}", f"x{number:04}", "", "", NOW)
            end = Finish(f"x{number:04}", ExecutionState.FAILED, NOW, ledger=(change,), dead_letters=(poison,))
            await harness.store.finish(end)
        swept = Retention({"executions": Limits(max_age=1)})
        assert await harness.store.drop_results(keep=1, before=NOW + 100) == 0
        assert await harness.store.sweep(swept, NOW + 100) == {"executions": 0}
        await harness.store.retry_dead_letter("d1", NOW, "ann")
        change = LedgerChange("m0001", LedgerState.ANSWERED, Step("executed", NOW))
        await harness.store.finish(Finish("x0001", ExecutionState.SUCCEEDED, NOW, ledger=(change,)))
        assert await harness.store.drop_results(keep=1, before=NOW + 100) == 1
        assert await _left(harness) == [2]

    async def test_the_state_of_an_execution_goes_with_its_result(self, harness: Harness) -> None:
        await _accepted(harness, 1, Origin.TRIGGER)
        place = Place(StateScope.EXECUTION, "x0001")
        put = StateWrite(place, "seen", "1", event("changed"))
        await harness.store.write_state([put], writer="ann", now=NOW, limits=StateLimits())
        change = LedgerChange("m0001", LedgerState.ANSWERED, Step("executed", NOW))
        await harness.store.finish(Finish("x0001", ExecutionState.SUCCEEDED, NOW, ledger=(change,)))
        assert await harness.store.drop_results(keep=1, before=NOW + 100) == 1
        assert await harness.store.list_state(place, "", 9) == []


async def _accepted(harness: Harness, number: int, origin: Origin) -> None:
    run = execution(number, "", origin=origin, reply_to=ReplyTo(ReplyKind.CALLER), stream_id="nightly")
    await harness.store.accept(replace(acceptance(number), session=None, execution=run))


async def _follower(harness: Harness, number: int, text: str, principal: str = "entry_point:nightly") -> None:
    run = execution(number, "", origin=Origin.EVENT, reply_to=ReplyTo(ReplyKind.CALLER), stream_id="nightly")
    run = replace(run, text=text, principal=principal)
    told = event(f"told-{number}", content="my secret", execution_id=run.id)
    unit = acceptance(number, text=text)
    await harness.store.accept(replace(unit, session=None, execution=run, events=(told,)))
    change = LedgerChange(f"m{number:04}", LedgerState.ANSWERED, Step("executed", NOW))
    await harness.store.finish(Finish(run.id, ExecutionState.SUCCEEDED, NOW, output="done", ledger=(change,)))


async def _ended(harness: Harness, number: int, origin: Origin, story: LedgerState = LedgerState.ANSWERED) -> None:
    await _accepted(harness, number, origin)
    finished = NOW + number
    change = LedgerChange(f"m{number:04}", story, Step("executed", finished))
    end = Finish(f"x{number:04}", ExecutionState.SUCCEEDED, finished, output="done", ledger=(change,))
    await harness.store.finish(end)


async def _left(harness: Harness) -> list[int]:
    rows = await harness.store.list_executions(states=(), session_id="", agent="", before="", limit=99)
    return sorted(int(row.id[1:]) for row in rows)

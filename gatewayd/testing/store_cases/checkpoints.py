"""Checkpoints: kept with what belongs to them, the last one found again, and gone with their execution."""

from dataclasses import replace
from typing import Any

import pytest

from gatewayd.core.checkpoint import MAX_BEGUN, BegunCall, Checkpoint, CheckpointKind
from gatewayd.core.errors import ExecutionFinished, LimitExceeded, NotFound, NotPaused, NotWaiting
from gatewayd.core.execution_log import MAX_ENTRIES, LogEntry, LogKind
from gatewayd.core.work import ExecutionState
from gatewayd.storage.checkpoints import CheckpointWrite
from gatewayd.storage.records import Published
from gatewayd.storage.retention import Limits, Retention
from gatewayd.testing.store_cases.samples import NOW, Harness, acceptance, event, finish

RETENTION = Retention({"executions": Limits(max_count=1)})


class CheckpointCases:
    async def test_the_last_checkpoint_is_found_again_and_older_ones_go(self, harness: Harness) -> None:
        await _running(harness)
        for number in range(1, 6):
            await harness.store.save_checkpoint(_write(number, keep=3))
        await harness.reopen()
        found = (await harness.store.restart_of("x0001")).checkpoint
        assert found == _checkpoint(5)
        kept = await harness.store.list_checkpoints("x0001")
        assert [(one.id, one.state, one.output) for one in kept] == [("c3", "", ""), ("c4", "", ""), ("c5", "", "")]
        await _running(harness, 2)
        assert (await harness.store.restart_of("x0002")).checkpoint is None
        earlier = replace(_checkpoint(9), id="a-clock-was-set-back", created=NOW - 1000)
        await harness.store.save_checkpoint(CheckpointWrite(earlier, keep=2))
        assert (await harness.store.restart_of("x0001")).checkpoint == earlier
        assert [one.id for one in await harness.store.list_checkpoints("x0001")] == ["c5", "a-clock-was-set-back"]

    async def test_leaving_is_one_unit_with_the_checkpoint_and_its_events(self, harness: Harness) -> None:
        await _running(harness)
        await harness.store.save_checkpoint(
            _write(1, leaves_as=ExecutionState.PAUSED, reason="lunch", events=(event("e1"),))
        )
        assert _told(harness) == ["e1"]
        found = await harness.store.get_execution("x0001")
        assert found is not None
        assert (found.state, found.reason, found.attempts) == (ExecutionState.PAUSED, "lunch", 0)
        with pytest.raises(Exception, match=r".+"):  # the id is taken: nothing of the unit is written
            await harness.store.save_checkpoint(_write(1, events=(event("e2"),)))
        assert _told(harness) == ["e1"]
        await harness.store.resume("x0001", "back", (event("e3"),))
        found = await harness.store.get_execution("x0001")
        assert found is not None
        assert (found.state, found.reason) == (ExecutionState.QUEUED, "back")
        with pytest.raises(NotPaused):
            await harness.store.resume("x0001", "again", (event("e4"),))
        assert _told(harness) == ["e1", "e3"]

    async def test_what_waits_for_a_worker_is_found_until_it_goes_on_stays_paused_or_ends(
        self, harness: Harness
    ) -> None:
        store = harness.store

        async def waiting(agent: str, after: str = "", limit: int = 9) -> list[str]:
            return [one.id for one in await harness.store.awaiting(agent, after, limit)]

        for number, agent in ((1, "far"), (2, "far"), (3, "other"), (4, "far"), (5, "far")):
            await _running(harness, number)
            write = _write(number, execution=f"x{number:04}", leaves_as=ExecutionState.PAUSED, awaits=agent)
            await store.save_checkpoint(write)
        await _running(harness, 6)
        await store.save_checkpoint(_write(6, execution="x0006", leaves_as=ExecutionState.PAUSED))
        await harness.reopen()
        store = harness.store
        assert await waiting("far") == ["x0001", "x0002", "x0004", "x0005"]
        assert await waiting("far", "x0001", 2) == ["x0002", "x0004"]
        assert await waiting("nobody") == []
        for name in ("x0003", "x0006"):
            with pytest.raises(NotPaused):
                await store.resume(name, "no", (event("e1"),), awaiting="far")
        await store.resume("x0001", "back", (), awaiting="far")
        await store.resume("x0002", "back", ())
        await store.stay_paused("x0004", "lunch", (event("e2"),))
        with pytest.raises(NotPaused):
            await store.stay_paused("x0004", "again", (event("e3"),))
        with pytest.raises(NotPaused):
            await store.resume("x0004", "back", (), awaiting="far")
        assert await waiting("far") == ["x0005"]
        found = await store.get_execution("x0004")
        assert found is not None
        assert (found.state, found.reason) == (ExecutionState.PAUSED, "lunch")
        await store.finish(finish(5))
        assert await waiting("far") == []
        assert await waiting("other") == ["x0003"]
        assert _told(harness) == ["e2"]

    async def test_a_completed_step_gives_attempts_back(self, harness: Harness) -> None:
        await _running(harness)
        for _ in range(2):
            await harness.store.requeue("x0001", "crash", ())
            await harness.store.start("x0001", NOW, ())
        begun = replace(_checkpoint(1), kind=CheckpointKind.START)
        await harness.store.save_checkpoint(CheckpointWrite(begun, 0))
        found = await harness.store.get_execution("x0001")
        assert found is not None
        assert found.attempts == 3
        await harness.store.save_checkpoint(_write(2))
        found = await harness.store.get_execution("x0001")
        assert found is not None
        assert (found.attempts, found.state) == (1, ExecutionState.RUNNING)

    async def test_only_what_is_queued_pauses_without_a_checkpoint(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1))
        await harness.store.pause_queued("x0001", "lunch", ())
        with pytest.raises(NotPaused):
            await harness.store.pause_queued("x0001", "lunch", ())
        await harness.store.resume("x0001", "", ())
        await harness.store.start("x0001", NOW, ())
        with pytest.raises(NotPaused):
            await harness.store.pause_queued("x0001", "lunch", ())

    async def test_input_is_for_the_node_that_waits_and_stays_until_it_is_read(self, harness: Harness) -> None:
        await _running(harness)
        await harness.store.save_checkpoint(_write(1))
        with pytest.raises(NotWaiting):
            await harness.store.give_input("x0001", "n1", "hi", NOW, ())
        waits = _write(2, leaves_as=ExecutionState.INPUT_REQUIRED)
        await harness.store.save_checkpoint(waits)
        with pytest.raises(NotWaiting) as wrong:
            await harness.store.give_input("x0001", "n1", "hi", NOW, ())
        assert wrong.value.metadata == {"node_id": "n2"}
        await harness.store.give_input("x0001", "n2", "hi", NOW, (event("e1"),))
        with pytest.raises(NotWaiting):
            await harness.store.give_input("x0001", "n2", "once more", NOW, ())
        await harness.store.start("x0001", NOW, ())
        await harness.reopen()
        assert (await harness.store.restart_of("x0001")).inputs == {"n2": "hi"}
        await harness.store.save_checkpoint(_write(3, consumed=("n2",)))
        assert (await harness.store.restart_of("x0001")).inputs == {}

    async def test_a_call_of_a_tool_has_begun_until_its_result_is_kept(self, harness: Harness) -> None:
        await _running(harness)
        for call in (_call(1), _call(2), _call(3), _call(2)):
            await harness.store.begin_call(call, (event(f"e{call.call_id}{call.time}"),))
        await harness.store.complete_call("x0001", "t1", (event("e1"),))
        await harness.store.save_checkpoint(_write(1, completed=("t3",)))
        await harness.reopen()
        assert (await harness.store.restart_of("x0001")).begun == (_call(2),)
        await harness.store.requeue("x0001", "crash", ())
        assert (await harness.store.restart_of("x0001")).begun == ()
        assert (await harness.store.restart_of("x0001")).checkpoint == _checkpoint(1)

    async def test_a_call_of_a_tool_that_a_published_event_tells_of_is_kept_with_it(self, harness: Harness) -> None:
        """Once, however often it is published; not of what has ended; and of at most `MAX_BEGUN` at a time."""
        await _running(harness)
        begun = [Published(event(f"b{n}"), b"d", begins=_call(n)) for n in range(3)]
        await harness.store.append(begun, scope="ann")
        ended = Published(event("c0", execution_id="x0001"), b"d", ends="t0")
        await harness.store.append([ended], scope="ann")
        await harness.store.append([*begun, ended], scope="ann")
        await harness.reopen()
        assert (await harness.store.restart_of("x0001")).begun == (_call(1), _call(2))

        full = [Published(event(f"m{n}"), b"d", begins=_call(n)) for n in range(3, MAX_BEGUN + 2)]
        with pytest.raises(LimitExceeded, match="began and have not completed"):
            await harness.store.append(full, scope="ann")
        assert len((await harness.store.restart_of("x0001")).begun) == 2
        await harness.store.append(full[:-1], scope="ann")
        assert len((await harness.store.restart_of("x0001")).begun) == MAX_BEGUN

        await harness.store.finish(finish(1))
        await harness.store.append([Published(event("late"), b"d", begins=_call(1))], scope="ann")
        assert (await harness.store.restart_of("x0001")).begun == ()

    async def test_a_call_of_a_tool_that_was_given_no_id_ends_with_the_event_that_says_so(
        self, harness: Harness
    ) -> None:
        await _running(harness)
        nameless = BegunCall("x0001", "", "mail", NOW)
        await harness.store.append([Published(event("b0"), b"d", begins=nameless)], scope="ann")
        await harness.store.append([Published(event("other", execution_id="x0001"), b"d")], scope="ann")
        assert (await harness.store.restart_of("x0001")).begun == (nameless,)
        await harness.store.append([Published(event("c0", execution_id="x0001"), b"d", ends="")], scope="ann")
        assert (await harness.store.restart_of("x0001")).begun == ()

    async def test_all_of_it_goes_with_the_end(self, harness: Harness) -> None:
        await _running(harness)
        await _running(harness, 2)
        for number, name in ((1, "x0001"), (2, "x0002")):
            await harness.store.save_checkpoint(_write(number, execution=name, leaves_as=ExecutionState.INPUT_REQUIRED))
            await harness.store.give_input(name, f"n{number}", "hi", NOW, ())
            await harness.store.begin_call(_call(1, name), ())
        await harness.store.finish(finish(1))
        gone, stays = await harness.store.restart_of("x0001"), await harness.store.restart_of("x0002")
        assert (gone.checkpoint, gone.inputs, gone.begun) == (None, {}, ())
        assert stays.checkpoint is not None
        assert stays.inputs == {"n2": "hi"}
        assert len(stays.begun) == 1
        for write in (_write(9), _write(9, leaves_as=ExecutionState.PAUSED)):
            with pytest.raises(ExecutionFinished):
                await harness.store.save_checkpoint(write)
        with pytest.raises(NotFound):
            await harness.store.save_checkpoint(_write(9, execution="x9"))
        with pytest.raises(ExecutionFinished):
            await harness.store.give_input("x0001", "n1", "late", NOW, ())
        assert await harness.store.list_checkpoints("x0001") == []

    async def test_what_rests_is_unfinished_stays_in_retention_and_is_found_when_overdue(
        self, harness: Harness
    ) -> None:
        for number in (1, 2, 3):
            await _running(harness, number)
        await harness.store.save_checkpoint(_write(1, execution="x0001", leaves_as=ExecutionState.PAUSED))
        await harness.store.save_checkpoint(_write(7, execution="x0002", leaves_as=ExecutionState.INPUT_REQUIRED))
        await harness.store.save_checkpoint(_write(8, execution="x0003"))
        await harness.store.sweep(RETENTION, NOW + 1000)
        await harness.reopen()
        assert [one.id for one in await harness.store.unfinished()] == ["x0001", "x0002", "x0003"]
        assert [one.id for one in await harness.store.overdue_suspended(NOW + 5, 9)] == ["x0001"]
        assert [one.id for one in await harness.store.overdue_suspended(NOW + 50, 9)] == ["x0001", "x0002"]
        assert [one.id for one in await harness.store.overdue_suspended(NOW + 50, 1)] == ["x0001"]
        await harness.store.save_checkpoint(_write(9, execution="x0001"))
        assert [one.id for one in await harness.store.overdue_suspended(NOW + 8, 9)] == ["x0002"]

    async def test_a_log_is_bounded_and_goes_with_its_execution(self, harness: Harness) -> None:
        await _running(harness)
        await _running(harness, 2)
        first = [LogEntry(NOW + number, LogKind.STEP, f"ä {number}", "n", number, 1) for number in range(MAX_ENTRIES)]
        await harness.store.save_checkpoint(_write(1, log=tuple(first)))
        assert await harness.store.execution_log("x0001") == first
        more = [LogEntry(NOW, LogKind.TOOL_FAILED, "mail"), LogEntry(NOW, LogKind.LEFT, "lunch")]
        await harness.store.save_checkpoint(_write(2, log=tuple(more[:1])))
        await harness.store.finish(replace(finish(1), log=tuple(more[1:])))
        await harness.store.finish(replace(finish(2), log=tuple(more)))
        await harness.reopen()
        assert await harness.store.execution_log("x0001") == [*first[2:], *more]
        assert await harness.store.execution_log("x0002") == more
        for name in ("o0001-0", "o0002-0"):
            await harness.store.mark_sending([name])
            await harness.store.mark_sent(name, f"p-{name}", NOW)
        assert (await harness.store.sweep(RETENTION, NOW + 1000))["executions"] == 1
        assert await harness.store.execution_log("x0001") == []
        assert await harness.store.execution_log("x0002") == more
        assert await harness.store.erase_session("s1") is True
        assert await harness.store.execution_log("x0002") == []

    async def test_a_state_may_be_given_with_the_execution(self, harness: Harness) -> None:
        given = replace(_checkpoint(1), kind=CheckpointKind.GIVEN)
        await harness.store.accept(replace(acceptance(1), given=given))
        assert (await harness.store.restart_of("x0001")).checkpoint == given

    async def test_erasure_takes_what_was_said_in_checkpoints_too(self, harness: Harness) -> None:
        await _running(harness)
        await harness.store.save_checkpoint(_write(1, leaves_as=ExecutionState.INPUT_REQUIRED))
        await harness.store.give_input("x0001", "n1", "secret", NOW, ())
        assert await harness.store.erase_session("s1") is True
        left = await harness.store.restart_of("x0001")
        assert (left.checkpoint, left.inputs) == (None, {})


def _told(harness: Harness) -> list[str]:
    return [name for kind, names in harness.sink.heard if kind == "committed" for name in names]


async def _running(harness: Harness, number: int = 1) -> None:
    await harness.store.accept(acceptance(number))
    await harness.store.start(f"x{number:04}", NOW, ())


def _checkpoint(number: int, execution: str = "x0001") -> Checkpoint:
    return Checkpoint(
        f"c{number}",
        execution,
        f"n{number}",
        CheckpointKind.COMPLETE,
        f'{{"at": {number}, "ä": "ö"}}',
        "text so far",
        NOW + number,
        "a name?",
    )


def _write(number: int, *, execution: str = "x0001", keep: int = 0, **more: Any) -> CheckpointWrite:
    return CheckpointWrite(_checkpoint(number, execution), keep, **more)


def _call(number: int, execution: str = "x0001") -> BegunCall:
    return BegunCall(execution, f"t{number}", "mail", NOW + number)

"""Lanes: one turn at a time per session, sessions side by side, bounded, and nobody is forgotten."""

import random

import pytest

from gatewayd.core.errors import LimitExceeded
from gatewayd.core.message import ReplyKind, ReplyTo
from gatewayd.core.work import Execution, Origin
from gatewayd.runtime import lanes as module
from gatewayd.runtime.lanes import Lanes, Share
from gatewayd.runtime.live import LiveExecution


async def live(name: str, session: str, *, steerable: bool = False) -> LiveExecution:
    reply = ReplyTo(ReplyKind.CALLER)
    execution = Execution(name, f"m{name}", session, "a", "p", Origin.CLIENT, "text", reply, "a", name, 0.0)
    return LiveExecution(execution, steerable=steerable)


class Runs:
    """What the lanes have started and what runs now."""

    def __init__(self, concurrent: int = 100) -> None:
        self.started: list[str] = []
        self.running: dict[str, LiveExecution] = {}
        self.lanes = Lanes(self._run, concurrent=concurrent)

    def _run(self, one: LiveExecution) -> None:
        assert one.execution.session_id not in {each.execution.session_id for each in self.running.values()}
        self.started.append(one.execution.id)
        self.running[one.execution.id] = one

    def end(self, name: str) -> None:
        self.lanes.finished(self.running.pop(name))


async def test_a_session_has_one_turn_at_a_time_in_order() -> None:
    """The second waits for the first; another session does not."""
    runs = Runs()
    for name, session in (("1", "s"), ("2", "s"), ("3", "t")):
        runs.lanes.submit(await live(name, session))

    assert runs.started == ["1", "3"]
    runs.end("1")
    assert runs.started == ["1", "3", "2"]
    runs.end("2")
    runs.end("3")
    assert (runs.lanes.busy, runs.lanes.queued) == (0, 0)


async def test_no_more_run_at_once_than_allowed_and_first_come_is_first_served() -> None:
    """The limit holds over all sessions."""
    runs = Runs(concurrent=2)
    for number in range(5):
        runs.lanes.submit(await live(str(number), f"s{number}"))

    assert runs.started == ["0", "1"]
    runs.end("1")
    runs.end("0")
    assert runs.started == ["0", "1", "2", "3"]


async def test_what_waits_can_be_withdrawn_and_what_runs_cannot() -> None:
    """A withdrawn one never starts, and leaves no trace."""
    runs = Runs(concurrent=1)
    running, waiting, last = await live("1", "s"), await live("2", "t"), await live("3", "u")
    for one in (running, waiting, last):
        runs.lanes.submit(one)

    assert runs.lanes.withdraw(waiting)
    assert not runs.lanes.withdraw(waiting)
    assert not runs.lanes.withdraw(running)
    runs.end("1")
    assert runs.started == ["1", "3"]


async def test_submitting_and_withdrawing_for_ever_takes_no_memory() -> None:
    """Nothing is unbounded: a session that is withdrawn is not remembered."""
    runs = Runs(concurrent=1)
    runs.lanes.submit(await live("first", "busy"))
    for number in range(1000):
        one = await live(str(number), f"s{number}")
        runs.lanes.submit(one)
        runs.lanes.withdraw(one)

    assert runs.lanes.busy == 1
    assert len(runs.lanes._ready) == 0


async def test_only_the_head_of_a_queue_can_be_taken_for_steering() -> None:
    """Order is kept: what came behind one that must have its own turn waits, too."""
    runs = Runs()
    for name, steerable in (("1", True), ("2", True), ("3", True), ("4", False), ("5", True)):
        runs.lanes.submit(await live(name, "s", steerable=steerable))

    assert [one.execution.id for one in runs.lanes.take_steerable("s")] == ["2", "3"]
    assert runs.lanes.waiting("s") == 2
    assert runs.lanes.take_steerable("nobody") == []


async def test_one_more_than_may_wait_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """check_room is asked before a message is accepted."""
    runs = Runs(concurrent=1)
    monkeypatch.setattr(module, "MAX_QUEUED", 3)
    for number in range(4):
        runs.lanes.check_room()
        runs.lanes.submit(await live(str(number), "s"))

    with pytest.raises(LimitExceeded) as refused:
        runs.lanes.check_room()
    assert refused.value.metadata["limit"] == "queued_executions"
    assert refused.value.retry_after


async def test_after_close_nothing_starts() -> None:
    """What waits stays in the store."""
    runs = Runs()
    runs.lanes.submit(await live("1", "s"))
    runs.lanes.submit(await live("2", "s"))
    runs.lanes.close()
    runs.end("1")

    assert runs.started == ["1"]


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_the_order_everybody_has_a_turn_once(seed: int) -> None:
    """Random submissions, withdrawals, steering and ends: each ends in exactly one way, in order per session."""
    chance = random.Random(seed)
    runs = Runs(concurrent=3)
    waiting: dict[str, LiveExecution] = {}
    gone: list[str] = []
    for number in range(300):
        match chance.randrange(4):
            case 0 | 1:
                one = await live(f"{number:03}", f"s{chance.randrange(5)}", steerable=chance.random() < 0.3)
                waiting[one.execution.id] = one
                runs.lanes.submit(one)
            case 2 if runs.running:
                runs.end(chance.choice(sorted(runs.running)))
            case _ if waiting:
                name = chance.choice(sorted(waiting))
                if runs.lanes.withdraw(waiting[name]):
                    gone.append(name)
                elif name in runs.running:
                    gone += [
                        each.execution.id for each in runs.lanes.take_steerable(waiting[name].execution.session_id)
                    ]
    while runs.running:
        runs.end(min(runs.running))

    assert sorted(runs.started + gone) == sorted(waiting)
    for session in range(5):
        mine = [name for name in runs.started if waiting[name].execution.session_id == f"s{session}"]
        assert mine == sorted(mine)
    assert (runs.lanes.busy, runs.lanes.queued) == (0, 0)


async def test_what_waits_says_for_what() -> None:
    """A place of its entry point, a place of all, its turn, or a worker that has to come."""
    runs = Runs(concurrent=2)
    runs.lanes.configure(2, {"e": Share(concurrent=1)})
    first, second, other, behind = [
        await live(str(number), session) for number, session in enumerate(["", "", "s", "s"])
    ]
    runs.lanes.submit(first, "e")
    runs.lanes.submit(second, "e")
    assert runs.lanes.waits_for(first) == ""
    assert runs.lanes.waits_for(second) == "waits for a place: 1 of e run, as many as its max_concurrent allows"

    runs.lanes.submit(other)
    runs.lanes.submit(behind)
    third = await live("4", "t")
    runs.lanes.submit(third)
    assert runs.lanes.waits_for(behind) == "waits for its turn in the session: execution 2 is before it"
    assert runs.lanes.waits_for(third).startswith("waits for a place: 2 run, as many as runtime.max_concurrent")

    runs.lanes.need_place(first, False)
    assert runs.lanes.waits_for(first) == "waits for a worker of its agent to come"
    assert runs.lanes.waits_for(third) == ""
    runs.lanes.need_place(first, True)
    for name in ("0", "2"):
        runs.end(name)
    assert runs.lanes.waits_for(first) == ""

"""Priorities and bounds of entry points in the lanes."""

import random

import pytest

from gatewayd.core.errors import LimitExceeded
from gatewayd.core.message import ReplyKind, ReplyTo
from gatewayd.core.work import Execution, Origin
from gatewayd.runtime import lanes as module
from gatewayd.runtime.lanes import Lanes, Share
from gatewayd.runtime.live import LiveExecution


async def live(name: str, share: str = "") -> LiveExecution:
    """Work of an entry point has no session; other work has one of its own here."""
    origin, session = (Origin.TRIGGER, "") if share else (Origin.CLIENT, f"s{name}")
    reply = ReplyTo(ReplyKind.CALLER)
    return LiveExecution(Execution(name, f"m{name}", session, "a", "p", origin, "text", reply, share, name, 0.0))


class House:
    """Lanes, what they started in order, and what runs."""

    def __init__(self, concurrent: int = 1, **shares: Share) -> None:
        self.started: list[str] = []
        self.running: dict[str, LiveExecution] = {}
        self.lanes = Lanes(self._run)
        self.lanes.configure(concurrent, shares)

    def _run(self, one: LiveExecution) -> None:
        self.started.append(one.execution.id)
        self.running[one.execution.id] = one

    async def submit(self, name: str, share: str = "") -> LiveExecution:
        one = await live(name, share)
        self.lanes.submit(one, share)
        return one

    def end(self, name: str = "") -> None:
        self.lanes.finished(self.running.pop(name or next(iter(self.running))))


async def test_the_higher_priority_goes_first_and_equals_as_they_came() -> None:
    """Messages have priority 0 and stand between those above and below it."""
    house = House(low=Share(-1), high=Share(1), same=Share(0))
    await house.submit("first")
    for name, share in (("l1", "low"), ("m1", ""), ("s1", "same"), ("m2", ""), ("h1", "high"), ("l2", "low")):
        await house.submit(name, share)
    while house.running:
        house.end()

    assert house.started == ["first", "h1", "m1", "s1", "m2", "l1", "l2"]


async def test_an_entry_point_with_all_its_places_taken_holds_up_nobody_else() -> None:
    """Its next one waits, although it has the higher priority."""
    house = House(10, tight=Share(5, concurrent=1))
    for name, share in (("t1", "tight"), ("t2", "tight"), ("t3", "tight"), ("m1", "")):
        await house.submit(name, share)

    assert house.started == ["t1", "m1"]
    house.end("t1")
    assert house.started == ["t1", "m1", "t2"]
    assert (house.lanes.queued, house.lanes.free) == (1, 8)


async def test_new_bounds_hold_at_once_and_stop_nothing() -> None:
    """More places are taken at once; with fewer ones nothing starts until enough has ended."""
    house = House(1, one=Share(0, 1))
    for number in range(6):
        await house.submit(f"{number}", "one")
    house.lanes.configure(4, {"one": Share(0, 3)})
    assert house.started == ["0", "1", "2"]

    house.lanes.configure(1, {"one": Share(0, 3)})
    house.end("0")
    house.end("1")
    assert (house.started, house.lanes.free) == (["0", "1", "2"], 0)
    house.end("2")
    assert house.started == ["0", "1", "2", "3"]


async def test_an_entry_point_that_is_gone_keeps_its_bound_for_what_waits() -> None:
    """Accepted work is done, but not all at once."""
    house = House(10, gone=Share(0, 1))
    for number in range(3):
        await house.submit(f"{number}", "gone")
    house.lanes.configure(10, {})

    assert house.started == ["0"]
    house.end("0")
    assert house.started == ["0", "1"]


async def test_one_entry_point_cannot_take_all_the_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is refused with a delay; others are not."""
    monkeypatch.setattr(module, "MAX_QUEUED_SHARE", 2)
    house = House(1, full=Share(), other=Share())
    for number in range(3):
        house.lanes.check_room("full")
        await house.submit(f"{number}", "full")

    with pytest.raises(LimitExceeded) as refused:
        house.lanes.check_room("full")
    house.lanes.check_room("other")
    house.lanes.check_room()
    assert refused.value.retry_after
    assert refused.value.metadata == {"limit": "queued_executions", "entry_point": "full"}


@pytest.mark.parametrize("seed", range(10))
async def test_whatever_happens_bounds_hold_and_nothing_is_left(seed: int) -> None:
    """Random submissions, ends, withdrawals and reloads."""
    chance = random.Random(seed)
    names = ["", "a", "b", "c"]
    house = House(3, a=Share(1, 1), b=Share(-1, 2), c=Share(0, 5))
    limits = {"a": 1, "b": 2, "c": 5}
    waiting: dict[str, LiveExecution] = {}
    withdrawn = 0
    for number in range(400):
        match chance.randrange(8):
            case 0 | 1 | 2:
                name = f"{number:03}"
                waiting[name] = await house.submit(name, chance.choice(names))
            case 3 | 4 | 5 if house.running:
                house.end(chance.choice(sorted(house.running)))
            case 6 if waiting:
                withdrawn += house.lanes.withdraw(waiting[chance.choice(sorted(waiting))])
            case 7:
                house.lanes.configure(3, {"a": Share(chance.randrange(3), 1), "b": Share(-1, 2), "c": Share(0, 5)})
        assert len(house.running) <= 3
        for share, limit in limits.items():
            assert sum(one.execution.entry_point == share for one in house.running.values()) <= limit
    while house.running:
        house.end()

    assert len(house.started) + withdrawn == len(waiting)
    assert (house.lanes.busy, house.lanes.queued, house.lanes.free) == (0, 0, 3)
    assert not house.lanes._ready
    assert not house.lanes._lanes

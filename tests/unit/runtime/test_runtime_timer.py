"""Timers with a clock that a test moves: intervals, schedules, clocks that are set, and a daemon that is busy."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from gatewayd.config.entry_points import TriggerConfigSection
from gatewayd.core.errors import Draining, GatewayError, LimitExceeded, StoreBusy
from gatewayd.core.work import Origin, Trigger
from gatewayd.runtime.timer import Timer
from gatewayd.testing.fakes import EPOCH, FakeClock


class Door:
    """Takes triggers; one whose key is known has no effect, as at the router's."""

    def __init__(self) -> None:
        self.taken: dict[str, Trigger] = {}
        self.refusals: list[GatewayError] = []
        self.calls = 0

    async def __call__(self, trigger: Trigger) -> None:
        self.calls += 1
        if self.refusals:
            raise self.refusals.pop(0)
        self.taken.setdefault(trigger.idempotency_key, trigger)

    @property
    def instants(self) -> list[str]:
        return [json.loads(one.text)["event"]["instant"] for one in self.taken.values()]


@asynccontextmanager
async def timer(clock: FakeClock, door: Door, settings: TriggerConfigSection) -> AsyncIterator[Timer]:
    made = Timer("tick", settings, clock, door)
    made.task = asyncio.create_task(made.run())
    await clock.settle()
    try:
        yield made
    finally:
        made.close()
        await made.ended()


def told(seconds: float) -> str:
    return datetime.fromtimestamp(EPOCH + seconds, UTC).isoformat()


async def test_an_interval_fires_each_time_and_does_not_drift() -> None:
    """The first time after one interval; at once only where it is told to."""
    clock, door = FakeClock(), Door()
    async with timer(clock, door, TriggerConfigSection(interval_minutes=10)) as made:
        assert made.next_time == EPOCH + 600
        await clock.advance(1799)
        assert door.instants == [told(600), told(1200)]
        await clock.advance(1)
        assert door.instants == [told(600), told(1200), told(1800)]
    (first, *_) = door.taken.values()
    assert (first.origin, first.principal, first.entry_point) == (Origin.TIMER, "entry_point:tick", "tick")


async def test_at_once_and_then_in_its_time() -> None:
    clock, door = FakeClock(), Door()
    async with timer(clock, door, TriggerConfigSection(interval_minutes=10, run_immediately=True)):
        assert door.instants == [told(0)]
        await clock.advance(600)
        assert door.instants == [told(0), told(600)]


async def test_a_schedule_fires_at_its_instants() -> None:
    """08:00 UTC is where the clock begins."""
    clock, door = FakeClock(), Door()
    async with timer(clock, door, TriggerConfigSection(cron="*/15 * * * *")) as made:
        assert made.next_time == EPOCH + 900
        await clock.advance(2700)
    assert door.instants == [told(900), told(1800), told(2700)]


async def test_F39_a_clock_that_is_set_back_fires_nothing_twice() -> None:
    """The instant is the key; and a clock that is set back does not silence the schedule for a year."""
    clock, door = FakeClock(), Door()
    async with timer(clock, door, TriggerConfigSection(cron="0 * * * *")):
        await clock.advance(3600)
        clock.jump(-1800)
        await clock.advance(1800)
        assert (door.instants, door.calls) == ([told(3600)], 2)
        clock.jump(-10 * 365 * 86_400)
        await clock.advance(3700)
        assert len(door.instants) == 2


async def test_F39_a_clock_that_jumps_over_many_instants_fires_once() -> None:
    clock, door = FakeClock(), Door()
    async with timer(clock, door, TriggerConfigSection(cron="0 * * * *")):
        clock.jump(86_400)
        await clock.advance(60)
        assert len(door.instants) == 1
        await clock.advance(3600)
        assert len(door.instants) == 2


async def test_setting_the_clock_does_not_touch_an_interval() -> None:
    clock, door = FakeClock(), Door()
    async with timer(clock, door, TriggerConfigSection(interval_minutes=10)):
        clock.jump(-86_400)
        await clock.advance(600)
        clock.jump(2 * 86_400)
        await clock.advance(600)
        assert len(door.instants) == 2


async def test_what_finds_no_room_is_left_out_and_the_next_one_is_not() -> None:
    """A busy store is asked again; a full queue costs this instant; a stop ends it."""
    clock, door = FakeClock(), Door()
    async with timer(clock, door, TriggerConfigSection(interval_minutes=1)) as made:
        door.refusals = [StoreBusy("busy"), StoreBusy("busy")]
        await clock.advance(65)
        assert len(door.instants) == 1
        door.refusals = [LimitExceeded("full", retry_after=5.0)]
        await clock.advance(60)
        assert len(door.instants) == 1
        await clock.advance(60)
        assert len(door.instants) == 2
        door.refusals = [Draining("stop")]
        await clock.advance(60)
        assert made.task is not None
        assert made.task.done()

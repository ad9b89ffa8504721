"""Deadlines, task sets, groups of services."""

import asyncio
import time

import pytest

from gatewayd.core.lifecycle import State
from gatewayd.service import Deadline, ServiceGroup, TaskSet
from gatewayd.testing.fakes import FakeClock


class Part:
    def __init__(self, name, story, clock, **wish):
        self.name, self.story, self.clock, self.wish = name, story, clock, wish

    async def _step(self, verb):
        self.story.append(f"{verb} {self.name}")
        if verb in self.wish:
            seconds = self.wish[verb]
            if isinstance(seconds, Exception):
                raise seconds
            await self.clock.sleep(seconds)
            self.story.append(f"{verb} {self.name} ended")

    async def start(self):
        await self._step("start")

    async def drain(self):
        await self._step("drain")

    async def stop(self):
        await self._step("stop")


def group(clock, story, **wishes):
    made = ServiceGroup(clock)
    for name in "abc":
        made.add(Part(name, story, clock, **wishes.get(name, {})))
    return made


async def test_start_in_order_drain_and_stop_in_reverse():
    clock, story = FakeClock(), []
    services = group(clock, story)
    await services.start()
    assert services.state is State.RUNNING
    assert await services.drain(Deadline(clock, 10)) == []
    assert await services.stop(Deadline(clock, 10)) == []
    assert services.state is State.STOPPED
    assert story == [
        f"{verb} {name}" for verb, names in (("start", "abc"), ("drain", "cba"), ("stop", "cba")) for name in names
    ]
    await services.stop(Deadline(clock, 10))
    assert len(story) == 9


async def test_a_start_that_fails_unwinds_what_had_started():
    clock, story = FakeClock(), []
    services = group(clock, story, b={"start": ValueError("no")}, a={"stop": ValueError("neither")})
    with pytest.raises(ValueError, match="no"):
        await services.start()
    assert story == ["start a", "start b", "stop b", "stop a"]
    assert services.state is State.STOPPED


async def test_a_start_that_is_cancelled_unwinds_too():
    clock, story = FakeClock(), []
    services = group(clock, story, b={"start": 100.0})
    assert not await clock.run(Deadline(clock, 5).run(services.start(), name="start"))
    assert story == ["start a", "start b", "stop b", "stop a"]


async def test_a_slow_or_failing_drain_leaves_time_for_the_others():
    clock, story = FakeClock(), []
    services = group(clock, story, c={"drain": 100.0}, b={"drain": ValueError("no")}, a={"drain": 1.0})
    await services.start()
    began = clock.monotonic()
    assert await clock.run(services.drain(Deadline(clock, 10))) == ["c", "b"]
    assert clock.monotonic() - began == pytest.approx(6.0)
    assert "drain a ended" in story
    assert "drain c ended" not in story


async def test_every_stop_has_its_turn():
    clock, story = FakeClock(), []
    services = group(clock, story, c={"stop": 100.0}, b={"stop": ValueError("no")})
    await services.start()
    assert await clock.run(services.stop(Deadline(clock, 3))) == ["c", "b"]
    assert story[-1] == "stop a"


async def test_a_cut_deadline_wakes_who_waits_and_leaves_one_turn():
    clock = FakeClock()
    deadline = Deadline(clock, 100)
    assert deadline.remaining == 100
    waiting = asyncio.create_task(deadline.run(clock.sleep(50), name="long"))
    await clock.settle()
    deadline.cut()
    assert await waiting is False
    assert deadline.remaining == 0
    done = []

    async def quick():
        done.append(1)

    assert await deadline.run(quick(), name="quick")
    assert done == [1]


async def test_F26_work_that_ignores_cancellation_is_left_behind():
    clock = FakeClock()
    ended = asyncio.Event()

    async def stubborn():
        while not ended.is_set():
            try:
                await ended.wait()
            except asyncio.CancelledError:
                continue

    began = time.monotonic()
    assert not await Deadline(clock, 0).run(stubborn(), name="stubborn")
    assert 0.9 < time.monotonic() - began < 30
    ended.set()
    await asyncio.sleep(0)


async def test_the_error_of_the_work_is_raised():
    async def fail():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await Deadline(FakeClock(), 5).run(fail(), name="fail")


async def test_a_task_s_failure_is_logged_and_told(caplog):
    told = []
    tasks = TaskSet("part", on_failure=lambda name, error: told.append((name, str(error))))

    async def fail():
        raise ValueError("no")

    tasks.start(fail(), name="failing")
    await tasks.wait()
    await asyncio.sleep(0)
    assert told == [("part: failing", "no")]
    assert "task_failed" in caplog.text
    assert "ValueError: no" in caplog.text
    assert len(tasks) == 0


async def test_close_cancels_awaits_and_refuses_more():
    tasks = TaskSet("part")
    ended = []

    async def work():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(0)
            ended.append(1)

    for _ in range(3):
        tasks.start(work(), name="work")
    await asyncio.sleep(0)
    await tasks.close()
    assert ended == [1, 1, 1]
    with pytest.raises(RuntimeError, match="part is closed"):
        tasks.start(work(), name="late")
    await tasks.close()


async def test_a_task_may_close_its_own_set():
    tasks = TaskSet("part")
    closed = asyncio.Event()

    async def work():
        await tasks.close()
        closed.set()

    tasks.start(work(), name="closer")
    await asyncio.wait_for(closed.wait(), 60)

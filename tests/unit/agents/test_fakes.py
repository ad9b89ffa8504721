"""The clock that the other tests lean on."""

import asyncio

import pytest

from gatewayd.testing.fakes import FakeClock


async def test_sleepers_wake_in_the_order_of_their_instants() -> None:
    clock, woken = FakeClock(), []

    async def sleeper(seconds: float) -> None:
        await clock.sleep(seconds)
        woken.append((seconds, clock.monotonic()))

    async with asyncio.TaskGroup() as group:
        for seconds in (3.0, 1.0, 2.0):
            group.create_task(sleeper(seconds))
        await clock.advance(2.5)
        assert woken == [(1.0, 1.0), (2.0, 2.0)]
        await clock.advance(0.5)
    assert woken[-1] == (3.0, 3.0)
    assert clock.waiting == 0


async def test_a_timeout_ends_the_block_and_leaves_no_timer() -> None:
    clock = FakeClock()

    async def wait() -> str:
        try:
            async with clock.timeout(5):
                await asyncio.Event().wait()
        except TimeoutError:
            return "late"
        return "done"

    task = asyncio.ensure_future(wait())
    await clock.advance(4.9)
    assert not task.done()
    await clock.advance(0.1)
    assert await task == "late"
    assert clock.waiting == 0


async def test_a_block_that_is_in_time_is_left_alone() -> None:
    clock = FakeClock()
    async with clock.timeout(5):
        await clock.sleep(0)
    async with clock.timeout(None):
        pass
    assert clock.waiting == 0


async def test_cancelling_passes_through_a_timeout() -> None:
    clock = FakeClock()

    async def wait() -> None:
        async with clock.timeout(5):
            await clock.sleep(10)

    task = asyncio.ensure_future(wait())
    await clock.settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert clock.waiting == 0


async def test_run_lets_time_pass_while_the_work_waits_for_it() -> None:
    clock = FakeClock()

    async def work() -> float:
        for _ in range(3):
            await clock.sleep(100)
        return clock.monotonic()

    assert await clock.run(work()) == 300
    with pytest.raises(TimeoutError):
        await clock.run(clock.sleep(10), limit=5)


async def test_the_wall_jumps_alone() -> None:
    clock = FakeClock(start=1000.0)
    clock.jump(-500)
    assert (clock.now(), clock.monotonic()) == (500.0, 0.0)

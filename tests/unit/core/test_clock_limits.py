"""The machine's clock cuts off what takes too long, as `asyncio.timeout` does."""

import asyncio

import pytest

from gatewayd.core.clock import SystemClock

CLOCK = SystemClock()


@pytest.mark.parametrize("seconds", [0.01, 0, -1])
async def test_what_takes_longer_ends_with_a_timeout(seconds: float) -> None:
    with pytest.raises(TimeoutError):
        async with CLOCK.timeout(seconds):
            await asyncio.Event().wait()
    task = asyncio.current_task()
    assert task is not None
    assert task.cancelling() == 0
    await asyncio.sleep(0)  # nothing is left that would cut this off


async def test_what_ends_in_time_or_fails_is_left_alone() -> None:
    async with CLOCK.timeout(60), CLOCK.timeout(None):
        await asyncio.sleep(0)
    with pytest.raises(ValueError, match="mine"):
        async with CLOCK.timeout(60):
            raise ValueError("mine")


async def test_of_two_limits_the_one_that_is_over_tells() -> None:
    with pytest.raises(TimeoutError):
        async with CLOCK.timeout(0.01), CLOCK.timeout(60):
            await asyncio.Event().wait()
    async with CLOCK.timeout(60):
        with pytest.raises(TimeoutError):
            async with CLOCK.timeout(0.01):
                await asyncio.Event().wait()


@pytest.mark.parametrize("seconds", [60, 0])
async def test_a_cancellation_by_somebody_else_passes(seconds: float) -> None:
    """Also one that comes in the same turn of the loop in which the time is over."""
    begun = asyncio.Event()

    async def wait() -> None:
        async with CLOCK.timeout(seconds):
            begun.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(wait())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert task.cancelled()

"""Hands on what a node puts out, while its time is measured: in all, and since its last sign of progress."""

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

from gatewayd.agents.base import Output
from gatewayd.core.clock import Clock
from gatewayd.providers.bounds import closing

_END: Final = object()


async def handed_on(
    source: AsyncIterator[Output],
    *,
    clock: Clock,
    limit: float | None,
    stall: float | None,
    touched: Callable[[], float],
    stalled: Callable[[], None],
) -> AsyncIterator[Output]:
    """All outputs, one at a time: the source goes on only when the last one was used.

    Raises what the source raises, and `TimeoutError` when it takes longer than `limit` seconds. After `stall` seconds
    without an output, and without anything that `touched` tells of (by the monotonic clock), `stalled` is called once.

    The source runs in a task of its own, so that its time limit can never hit whoever uses the outputs.
    """
    box: asyncio.Queue[Any] = asyncio.Queue()  # bounded by join: an output, and the end

    async def pump() -> None:
        try:
            async with clock.timeout(limit), closing(source) as outputs:
                async for output in outputs:
                    box.put_nowait(output)
                    await box.join()
        except SystemExit as error:  # out of a task it would end the daemon
            raise RuntimeError("a node tried to exit") from error
        finally:
            box.put_nowait(_END)

    task = asyncio.create_task(pump())
    try:
        while (output := await _next(box, clock, stall, touched, stalled)) is not _END:
            yield output
            box.task_done()
        await task
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # it was raised above, or nobody is there to hear of it


async def _next(
    box: asyncio.Queue[Any],
    clock: Clock,
    stall: float | None,
    touched: Callable[[], float],
    stalled: Callable[[], None],
) -> Any:
    began, told = clock.monotonic(), False
    while True:
        silent = clock.monotonic() - max(began, touched())
        if stall is not None and silent >= stall and not told:
            stalled()
            told = True
        left = stall - silent if stall is not None and not told else None
        try:
            async with clock.timeout(left):
                return await box.get()
        except TimeoutError:
            continue

"""The first step of a coroutine, taken by whoever would otherwise have to make a task for it.

A coroutine that ends at its first step costs no task. One that suspends is gone on with by `resumed`, in the task in
which the step was taken: so it has one task for its whole life, and timeouts, task groups and cancellation work in it
as anywhere.
"""

import types
from collections.abc import Awaitable, Callable, Generator
from typing import Any


def coroutine_of(work: Awaitable[Any]) -> Any:
    """Something with `send` and `throw` for an awaitable of any kind."""
    return work if hasattr(work, "send") else _awaited(work)


async def _awaited(work: Awaitable[Any]) -> Any:
    return await work


@types.coroutine
def resumed(work: Any, waits_for: Any, noticed: Callable[[], None] | None = None) -> Generator[Any, Any, Any]:
    """Go on with a coroutine whose first step gave `waits_for`, as `await` would.

    `noticed` is called when an exception is thrown into it, such as a cancellation.
    """
    while True:
        try:
            given = yield waits_for
        except GeneratorExit:
            work.close()
            raise
        except BaseException as error:
            if noticed is not None:
                noticed()
            step, argument = work.throw, error
        else:
            step, argument = work.send, given
        try:
            waits_for = step(argument)
        except StopIteration as stop:
            return stop.value

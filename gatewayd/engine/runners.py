"""The tasks that handlers run in: one works through all that is ready, and another takes over when a handler waits.

A runner that is at work holds the baton. It begins handler after handler; those that return at once cost no task. When
one suspends, its runner stays with it until its end, so that the handler has one task for its whole life (timeouts and
task groups work in it), and passes the baton to a runner that is parked, or to a new one. There are as many runners as
handlers that wait, and a few parked ones.
"""

import asyncio
import contextvars
from typing import Any

from gatewayd.core.clock import Clock
from gatewayd.core.errors import Cancelled
from gatewayd.core.stepping import resumed
from gatewayd.engine.call import Call, Suspended
from gatewayd.engine.handling import Handling
from gatewayd.service import TaskSet

BURST = 128
"""Messages after which the loop gets a turn for everything else."""
_PARKED = 64
"""Runners that are kept for the next handlers that wait."""


class _Runner:
    """One task."""

    __slots__ = ("holds", "parked", "task")

    def __init__(self, task: asyncio.Task[Any]) -> None:
        self.task = task
        self.holds = True
        """Whether it has the baton."""
        self.parked: asyncio.Future[None] | None = None


class Runners:
    """All runners of one engine between a start and its stop."""

    def __init__(self, handling: Handling, clock: Clock) -> None:
        self._handling = handling
        self._clock = clock
        self._members: set[asyncio.Task[Any]] = set()
        self._tasks: TaskSet | None = None
        self._context = contextvars.Context()
        self._parked: list[_Runner] = []
        self._open = False
        handling.wake = self._wake

    def open(self, tasks: TaskSet) -> None:
        """Begin to work, in these tasks."""
        self._tasks = tasks
        self._context = contextvars.copy_context()
        self._parked = []
        self._open = self._handling.open = self._handling.asleep = True
        if self._handling.ready:
            self._wake()

    def close(self) -> None:
        """Begin nothing more; what runs goes on."""
        self._open = self._handling.open = self._handling.asleep = False

    def owns(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether that task runs handlers."""
        return task in self._members

    async def step(self) -> bool:
        """Begin one message and see it through, in the caller's task; False if there is none."""
        self._handling.now = self._clock.monotonic()
        call = self._handling.take()
        if call is None:
            return False
        suspended = self._handling.begin(call)
        if suspended is not None:
            task = asyncio.current_task()
            assert task is not None
            await self._rest(task, call, suspended)
        if self._handling.asleep and self._handling.ready:
            self._wake()
        return True

    def _wake(self) -> None:
        """Give the baton to a runner."""
        assert self._tasks is not None
        self._handling.asleep = False
        while self._parked:
            runner = self._parked.pop()
            if runner.parked is not None and not runner.parked.done():
                runner.holds = True
                runner.parked.set_result(None)
                return
        # In a context of its own: what a sender keeps in context variables is not the handlers' business.
        self._context.copy().run(self._tasks.start, self._run(), name="handlers")

    def _release(self, runner: _Runner) -> None:
        """Let another have the baton."""
        runner.holds = False
        if self._open:
            self._handling.asleep = True
            if self._handling.ready:
                self._wake()

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        runner = _Runner(task)
        handling = self._handling
        clean = contextvars.copy_context()
        burst = 0
        handling.now = self._clock.monotonic()
        self._members.add(task)
        try:
            while self._open:
                call = handling.take() if runner.holds or self._seize(runner) else None
                if call is None:
                    if not await self._park(runner):
                        return
                    continue
                suspended = handling.begin(call)
                if suspended is not None:
                    self._release(runner)
                    await self._rest(task, call, suspended)
                if task.cancelling() or contextvars.copy_context() != clean:
                    return  # a handler left its cancellation or context variables behind: not for the next one
                burst += 1
                if burst >= BURST:
                    burst = 0
                    await asyncio.sleep(0)
                    handling.now = self._clock.monotonic()
        finally:
            self._members.discard(task)
            if runner.holds or handling.asleep:
                self._release(runner)

    def _seize(self, runner: _Runner) -> bool:
        """Take the baton if nobody has it."""
        if self._handling.asleep:
            self._handling.asleep = False
            runner.holds = True
        return runner.holds

    async def _park(self, runner: _Runner) -> bool:
        """Wait to be woken; False if there are enough that do."""
        if runner.holds:
            runner.holds = False
            self._handling.asleep = True
        if len(self._parked) >= _PARKED:
            return False
        runner.parked = asyncio.get_running_loop().create_future()
        self._parked.append(runner)
        try:
            await runner.parked
        finally:
            if runner in self._parked:
                self._parked.remove(runner)
        self._handling.now = self._clock.monotonic()
        return True

    async def _rest(self, task: asyncio.Task[Any], call: Call, suspended: Suspended) -> None:
        """See a handler through that has suspended."""
        handling = self._handling
        call.task = task
        if call.verdict is not None:  # it was cut off in its own first step
            asyncio.get_running_loop().call_soon(handling.interrupt, call)
        reply: object = None
        failure: BaseException | None = None
        try:
            reply = await resumed(*suspended, call.noticed)
        except asyncio.CancelledError:
            failure = Cancelled(f"the handler of {call.lane.id} was cancelled")
        except GeneratorExit:  # nobody runs this any more
            raise
        except BaseException as error:  # the boundary of the agent's own code; its exit is not the daemon's
            failure = error
        call.task = None
        handling.suspended.pop(call, None)
        if call.interrupted:
            task.uncancel()
        if failure is None:
            handling.finish(call, reply)
        else:
            handling.fail(call, failure)
        if task.cancelling():
            raise asyncio.CancelledError  # the runner itself is to end

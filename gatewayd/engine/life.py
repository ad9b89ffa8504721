"""The life of an engine: NEW → RUNNING → DRAINING → STOPPED, and from there RUNNING again until it is closed.

A new engine takes messages and keeps them until it is started or stepped. A stopped one takes none. Whatever happens,
a stop ends within its budget and a little grace, and nobody who waits for a reply is left waiting.
"""

import asyncio
import logging
from collections.abc import Callable

from gatewayd.core.clock import Clock
from gatewayd.core.errors import Cancelled, DeadlineExceeded
from gatewayd.core.lifecycle import State
from gatewayd.engine.deadlines import Deadlines
from gatewayd.engine.errors import EngineMisused
from gatewayd.engine.handling import Handling
from gatewayd.engine.instances import Instances
from gatewayd.engine.keeping import Keeping
from gatewayd.engine.leaving import Leaving
from gatewayd.engine.limits import Limits
from gatewayd.engine.runners import Runners
from gatewayd.engine.traffic import Traffic
from gatewayd.service import CANCEL_GRACE, Deadline, TaskSet

log = logging.getLogger("gatewayd.engine")

BUDGET = 10.0
"""Seconds that running handlers get to end when a stop does not say."""
_POLL = 1.0
"""Seconds between two looks at a condition that something else than a message may have made true."""


class EngineLife:
    """Starts and stops one engine."""

    def __init__(
        self,
        *,
        clock: Clock,
        limits: Limits,
        handling: Handling,
        runners: Runners,
        deadlines: Deadlines,
        instances: Instances,
        keeping: Keeping,
        leaving: Leaving,
        traffic: Traffic,
        ignore_unhandled_exceptions: bool,
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._handling = handling
        self._runners = runners
        self._deadlines = deadlines
        self._instances = instances
        self._keeping = keeping
        self._leaving = leaving
        self._traffic = traffic
        self._ignore = ignore_unhandled_exceptions
        self._failure: BaseException | None = None
        self._closed = False
        self.state = State.NEW
        self._renew()

    @property
    def accepting(self) -> bool:
        """Whether messages are taken."""
        return self.state in (State.NEW, State.RUNNING) and self._failure is None and not self._closed

    def _renew(self) -> None:
        self._tasks = TaskSet("engine")
        self._deadlines.attach(self._tasks)
        self._instances.attach(self._tasks)
        self._leaving.attach(self._tasks)

    def start(self) -> None:
        """See `MessageEngine.start`."""
        if self._closed or self.state not in (State.NEW, State.STOPPED):
            raise EngineMisused(f"an engine that is {'closed' if self._closed else self.state} cannot be started")
        self.state = State.RUNNING
        self._runners.open(self._tasks)
        self._leaving.go_on()
        if self._limits.idle is not None:
            self._tasks.start(self._keeping.evict_idle(), name="eviction")

    def unhandled(self, error: BaseException) -> None:
        """The handler of a published message raised, and nobody else is told."""
        if self._ignore or self._failure is not None:
            return
        self._failure = error
        self._runners.close()
        self._withdraw("the engine stopped: a handler of a published message failed")
        self._traffic.look()

    async def step(self) -> bool:
        """See `MessageEngine.process_next`."""
        if self._closed or self.state is not State.NEW:
            raise EngineMisused("only an engine that was not started is stepped")
        while not await self._runners.step():
            if not self._instances.making:
                return False
            await asyncio.wait(self._instances.making, return_when=asyncio.FIRST_COMPLETED)
        self._raise_failure()
        return True

    # Stopping

    async def stop_when(self, condition: Callable[[], bool]) -> None:
        """See `MessageEngine.stop_when`."""
        self._check_running()

        async def look() -> None:
            while True:
                await self._clock.sleep(_POLL)
                self._traffic.look()

        looking = self._tasks.start(look(), name="condition")
        try:
            await self._traffic.until(lambda: self._failure is not None or condition())
        finally:
            looking.cancel()
        await self.stop(None)

    async def stop_when_idle(self, timeout: float | None) -> None:
        """See `MessageEngine.stop_when_idle`."""
        self._check_running()
        try:
            async with self._clock.timeout(timeout):
                while not self._traffic.idle and self._failure is None:
                    await self._traffic.until(lambda: self._failure is not None or self._traffic.idle)
        except TimeoutError:
            raise DeadlineExceeded(f"the engine was not idle within {timeout} seconds") from None
        await self.stop(None)

    async def stop(self, deadline: Deadline | None) -> None:
        """See `MessageEngine.stop`."""
        self._check_running()
        self.state = State.DRAINING
        self._runners.close()
        self._withdraw("the engine stopped")
        try:
            deadline = deadline or Deadline(self._clock, BUDGET)
            await deadline.run(self._quiet(), name="engine: handlers end")
        finally:
            # Synchronous, so that also a stop which is itself cancelled leaves nobody waiting.
            for call in list(self._handling.suspended):
                self._handling.cancel(call, "the engine stopped")
            self.state = State.STOPPED
        if not await Deadline(self._clock, CANCEL_GRACE).run(self._quiet(), name="engine: handlers tidy up"):
            log.warning("handlers_left_behind", extra={"agents": self._busy()})
        await self._end_tasks()
        self._renew()  # states are loaded, and so instances made, between a stop and a start
        self._raise_failure()

    async def close(self) -> None:
        """See `MessageEngine.close`."""
        if self._closed:
            return
        try:
            if self.state is State.RUNNING:
                await self.stop(None)
        finally:
            self._closed = True
            self._withdraw("the engine was closed")
            await self._end_tasks()
            self._instances.attach(None)
            for lane in self._instances.lanes():
                await self._instances.close(lane)
                self._instances.drop(lane)

    async def _quiet(self) -> None:
        await self._traffic.until(lambda: not self._traffic.running)

    def _withdraw(self, why: str) -> None:
        for lane in self._instances.lanes():
            self._instances.withdraw(lane, lambda: Cancelled(why))
            lane.listed = False
        self._handling.ready.clear()

    async def _end_tasks(self) -> None:
        self._leaving.attach(None)
        await Deadline(self._clock, CANCEL_GRACE).run(self._tasks.close(), name="engine: tasks end")

    def _busy(self) -> list[str]:
        return sorted({str(call.lane.id) for call in self._handling.suspended})[:20]

    def _check_running(self) -> None:
        if self.state is not State.RUNNING:
            raise EngineMisused(f"an engine that is {self.state} cannot be stopped")
        if self._runners.owns(asyncio.current_task()):
            raise EngineMisused("a handler cannot stop the engine that it runs in: it would wait for itself")

    def _raise_failure(self) -> None:
        failure, self._failure = self._failure, None
        if failure is not None:
            raise failure

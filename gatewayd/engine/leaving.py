"""Instances whose agent type was taken back or replaced: what runs in them ends, then they are saved and closed.

There is one for each id, as the instance that follows is made when it is gone: so the state passes from one to the
other, and messages to one id are handled in their order. What runs has deadlines, and so has the wait for it.
"""

import asyncio
import logging
from collections import deque

from gatewayd.core.errors import Unavailable
from gatewayd.engine.call import Call
from gatewayd.engine.deadlines import Deadlines
from gatewayd.engine.handling import Handling
from gatewayd.engine.instances import Instances
from gatewayd.engine.keeping import Keeping
from gatewayd.engine.lane import Lane, Registration
from gatewayd.service import TaskSet

log = logging.getLogger("gatewayd.engine")

_AT_ONCE = 16
"""Instances whose state is saved at a time: all of a type leave at once, and a store takes only so much."""
_TRIES = 60
"""How often a state is offered to a store that is busy; the next instance would begin with an older one."""


class Leaving:
    """Sees them off, each in a task of its own."""

    def __init__(self, *, handling: Handling, deadlines: Deadlines, instances: Instances, keeping: Keeping) -> None:
        self._handling = handling
        self._deadlines = deadlines
        self._instances = instances
        self._keeping = keeping
        self._tasks: TaskSet | None = None
        self._ends: dict[Lane, asyncio.Task[None]] = {}
        self._saving = asyncio.Semaphore(_AT_ONCE)

    def attach(self, tasks: TaskSet | None) -> None:
        """See them off in these tasks from now on; None: those that are there are left to whoever closes the engine."""
        self._tasks = tasks

    def go_on(self) -> None:
        """See off what an earlier stop has left."""
        for lane in self._instances.leaving.values():
            self._see_off(lane)

    def part(self, old: Registration, new: Registration | None, why: str) -> None:
        """`old` is no longer registered. What waits in its instances goes to those of `new`; without it, it fails as
        `Unavailable`, for that reason."""
        lanes = list(old.lanes.values())
        for lane in lanes:
            lane.leaving = True
        for lane in lanes:
            if new is None:
                self._instances.withdraw(lane, lambda: Unavailable(why, metadata={"agent": old.type}))
                self._let_go(lane)
                continue
            waiting, staying = deque[Call](), deque[Call]()
            for call in lane.queue:
                (staying if call.stays_with(lane) else waiting).append(call)
            lane.queue = staying
            self._let_go(lane)
            if waiting:
                self._hand_over(waiting, self._instances.add(new, lane.id))

    async def ended(self, old: Registration) -> None:
        """Until the instances of that registration are closed."""
        if ends := [end for lane, end in self._ends.items() if lane.registration is old and lane.agent is not None]:
            await asyncio.wait(ends)

    def _hand_over(self, waiting: deque[Call], lane: Lane) -> None:
        lane.queue = waiting
        for call in waiting:
            call.lane = lane
            if not call.watched:
                self._deadlines.watch(call)
        self._instances.thin(lane)
        self._handling.relist(lane)

    def _let_go(self, lane: Lane) -> None:
        if lane.agent is None and not lane.running and (not lane.held or lane.before is not None):
            # Nobody has begun to make it, or is about to put it away.
            self._instances.drop(lane)
            lane.before = None
            lane.free()
            return
        self._instances.leaving[lane.id] = lane
        self._see_off(lane)

    def _see_off(self, lane: Lane) -> None:
        if self._tasks is None or lane in self._ends:
            return
        end = self._ends[lane] = self._tasks.start(self._end(lane), name=f"end {lane.id}")
        end.add_done_callback(lambda _: self._ends.pop(lane, None))

    async def _end(self, lane: Lane) -> None:
        await lane.emptied()
        async with lane.alone():
            for step in (self._keep, self._instances.close):
                try:
                    await step(lane)
                except GeneratorExit:  # nobody runs this any more
                    raise
                except BaseException:  # the boundary of the agent's own code; the next one waits for this end
                    task = asyncio.current_task()
                    if self._tasks is None or task is None:
                        raise
                    while task.cancelling():  # by the agent itself
                        task.uncancel()
                    log.exception("agent_not_let_go", extra={"agent": str(lane.id)})
        self._instances.drop(lane)

    async def _keep(self, lane: Lane) -> None:
        async with self._saving:
            await self._keeping.keep(lane, tries=_TRIES)

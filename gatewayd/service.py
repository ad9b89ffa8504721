"""The life of long-lived parts: started in order, drained and stopped in reverse, each step under a deadline.

`ServiceGroup` is what the composition root starts and stops; `TaskSet` is how a part owns its background tasks (no
other module calls `create_task`); `Deadline` is the time that a stop may take, which a second signal cuts to nothing.
A part that does not end in time is cancelled, named and left behind; it never holds up the ones after it.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from gatewayd.core.clock import Clock
from gatewayd.core.lifecycle import Service, State
from gatewayd.core.value import value

log = logging.getLogger(__name__)

CANCEL_GRACE = 1.0
"""Seconds that cancelled work gets to end before it is left behind."""

FailureHandler = Callable[[str, BaseException], None]
"""Told of a background task that failed: its name and what it raised."""


class Deadline:
    """A moment by which something must have ended. It can be cut: from then on no time is left."""

    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._end = clock.monotonic() + max(0.0, seconds)
        self._cut = asyncio.Event()

    @property
    def remaining(self) -> float:
        """Seconds left; never negative."""
        return 0.0 if self._cut.is_set() else max(0.0, self._end - self._clock.monotonic())

    def cut(self) -> None:
        """Take away the time that is left, and wake everyone who waits within it."""
        self._cut.set()

    async def run(self, work: Coroutine[Any, Any, object], *, name: str, limit: float | None = None) -> bool:
        """Run the work within what is left (at most `limit` seconds of it); whether it ended by itself.

        Work that runs out of time is cancelled; work that ignores even that is left behind after `CANCEL_GRACE`. An
        error of the work is raised. With no time left the work still gets one turn of the loop, so that what needs
        no waiting is done.
        """
        seconds = self.remaining if limit is None else min(self.remaining, limit)
        task = asyncio.create_task(work, name=name)
        alarm = asyncio.create_task(self._clock.sleep(seconds), name=f"{name}: time limit")
        cut = asyncio.create_task(self._cut.wait(), name=f"{name}: cut")
        try:
            if self._cut.is_set():
                await asyncio.sleep(0)
            await asyncio.wait((task, alarm, cut), return_when=asyncio.FIRST_COMPLETED)
        finally:
            alarm.cancel()
            cut.cancel()
            ended = task.done()
            if not ended:
                task.cancel()
                await asyncio.wait((task,), timeout=CANCEL_GRACE)
        if not task.done():
            return False
        if task.cancelled():
            return False
        task.result()
        return ended


class TaskSet:
    """The background tasks of one part: each is awaited when the set closes, and no failure is lost."""

    __slots__ = ("_closed", "_on_failure", "_owner", "_tasks")

    def __init__(self, owner: str, *, on_failure: FailureHandler | None = None) -> None:
        self._owner = owner
        self._on_failure = on_failure
        self._tasks: dict[asyncio.Task[Any], None] = {}
        self._closed = False

    def start(self, work: Coroutine[Any, Any, object], *, name: str) -> asyncio.Task[Any]:
        """Begin; a failure is logged with its traceback and told to `on_failure`. `RuntimeError` once closed."""
        if self._closed:
            work.close()
            raise RuntimeError(f"{self._owner} is closed and starts no {name}")
        task = asyncio.create_task(work, name=f"{self._owner}: {name}")
        self._tasks[task] = None
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.pop(task, None)
        if task.cancelled() or (error := task.exception()) is None:
            return
        log.error("task_failed", extra={"task": task.get_name()}, exc_info=error)
        if self._on_failure is not None:
            self._on_failure(task.get_name(), error)

    def __len__(self) -> int:
        return len(self._tasks)

    async def wait(self) -> None:
        """Until every task has ended by itself, those included that start meanwhile."""
        while others := self._tasks.keys() - {asyncio.current_task()}:
            await asyncio.wait(others)

    async def close(self) -> None:
        """Cancel every task and wait for their ends. Safe to call twice, and from one of the tasks."""
        self._closed = True
        others = self._tasks.keys() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        if others:
            await asyncio.wait(others)


@value(frozen=True, slots=True)
class _Member:
    service: Service
    drain_share: float


class ServiceGroup:
    """Services with an order: each may rely on those before it."""

    def __init__(self, clock: Clock, *, start_limit: float | None = None) -> None:
        self._clock = clock
        self._start_limit = start_limit
        self._members: list[_Member] = []
        self._started: list[_Member] = []
        self.state = State.NEW

    def add(self, service: Service, *, drain_share: float = 0.5) -> None:
        """Put a service at the end.

        Its drain may take `drain_share` of the time that is left when its turn comes; so the next ones have some.
        """
        self._members.append(_Member(service, drain_share))

    async def start(self) -> None:
        """Start all in order. When one fails, those that started are stopped in reverse, and its error is raised."""
        self.state = State.STARTING
        for member in self._members:
            began = self._clock.monotonic()
            self._started.append(member)
            try:
                async with self._clock.timeout(self._start_limit):
                    await member.service.start()
            except BaseException:
                await self.stop(Deadline(self._clock, 10.0))
                raise
            seconds = round(self._clock.monotonic() - began, 3)
            log.debug("service_started", extra={"service": member.service.name, "seconds": seconds})
        self.state = State.RUNNING

    async def drain(self, deadline: Deadline) -> list[str]:
        """Let each finish what it has, the last one first. Returns the names of those that did not manage."""
        self.state = State.DRAINING
        late = []
        for member in reversed(self._started):
            limit = deadline.remaining * member.drain_share
            if not await _step(member.service, "drain", member.service.drain(), deadline, limit):
                late.append(member.service.name)
        return late

    async def stop(self, deadline: Deadline) -> list[str]:
        """Stop each in reverse, even when others fail. Returns the names of those that did not end in time."""
        late = []
        while self._started:
            service = self._started.pop().service
            if not await _step(service, "stop", service.stop(), deadline, None):
                late.append(service.name)
        self.state = State.STOPPED
        return late


async def _step(
    service: Service, verb: str, work: Coroutine[Any, Any, None], deadline: Deadline, limit: float | None
) -> bool:
    """One service's drain or stop; a failure is logged, since the others must have their turn."""
    try:
        ended = await deadline.run(work, name=f"{service.name}: {verb}", limit=limit)
    except Exception:
        log.exception("service_failed", extra={"service": service.name, "step": verb})
        return False
    if not ended:
        log.warning("service_late", extra={"service": service.name, "step": verb})
    return ended

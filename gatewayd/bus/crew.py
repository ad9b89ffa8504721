"""The tasks that all in-process handlers run in: one works through what is ready, and another goes on when one waits.

A handler that returns at its first step costs no task and no turn of the loop. When one suspends, its task stays with
it to its end, and another (parked, or new) goes on with the rest; so no handler holds up another.
"""

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable
from typing import Any, Protocol

from gatewayd.core.event import Event
from gatewayd.core.stepping import resumed
from gatewayd.service import TaskSet

BURST = 64
"""Events that one handler gets before the others have their turn."""
_ROUNDS = 256
"""Handlers after which the loop has its turn."""
_PARKED = 8
"""Tasks that are kept for the next handlers that wait."""

Suspended = tuple["Hand", Any, Any, Event]
"""Whose handler it is, its coroutine that has taken its first step, what that waits for, and the event."""


class Hand(Protocol):
    """What the crew works for: one handler, or those of one filter."""

    @property
    def current(self) -> "Hand":
        """Whose handler runs just now: itself, or the one among them."""
        ...

    def work(self, most: int) -> Suspended | None:
        """Handle at most so many events, until one suspends."""
        ...

    def gone_on(self, event: Event, failure: BaseException | None) -> None:
        """The handler that was suspended with this event has ended."""
        ...


class Crew:
    """All tasks of the handlers of one gateway."""

    def __init__(self, tasks: TaskSet) -> None:
        self._tasks = tasks
        self._ready: deque[Hand] = deque()
        self._asleep = True
        """Whether no task looks after what is ready."""
        self._open = True
        self._parked: list[asyncio.Future[None]] = []
        self._at: dict[asyncio.Task[Any], Hand] = {}
        """What each task is busy with, as far as it may suspend in it."""
        self.cancelling: Callable[[], int] = lambda: 0
        """Whether the task at work was cancelled: by what it has just handled, since nothing else runs meanwhile."""

    def put(self, hand: Hand) -> None:
        """It has something to do; to be called once until it was worked for."""
        self._ready.append(hand)
        if self._asleep and self._open:
            self._wake()

    def inside(self, hand: Hand) -> bool:
        """Whether the calling task works for it."""
        task = asyncio.current_task()
        at = self._at.get(task) if task is not None else None
        return at is not None and at.current is hand

    def close(self) -> None:
        """Begin nothing more; what runs is for the owner of the tasks to end."""
        self._open = False
        self._ready.clear()

    def _wake(self) -> None:
        self._asleep = False
        while self._parked:
            parked = self._parked.pop()
            if not parked.done():
                parked.set_result(None)
                return
        # In a context of its own: what a publisher keeps in context variables is not the handlers' business.
        contextvars.Context().run(self._tasks.start, self._run(), name="handlers")

    async def _run(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        clean = contextvars.copy_context()
        rounds, leads = 0, True
        try:
            while self._open:
                if not self._ready or not (leads or self._asleep):
                    if leads:
                        leads, self._asleep = False, True
                    if not await self._park():
                        return
                    leads = True
                    continue
                leads, self._asleep = True, False
                hand, self.cancelling = self._ready.popleft(), task.cancelling
                self._at[task] = hand
                suspended = hand.work(BURST)
                if suspended is not None:
                    leads, self._asleep = False, True
                    if self._ready:
                        self._wake()
                    await self._rest(task, suspended)
                if task.cancelling() or contextvars.copy_context() != clean:
                    return  # a handler left its cancellation or context variables behind: not for the next one
                rounds += 1
                if rounds >= _ROUNDS:
                    rounds = 0
                    await asyncio.sleep(0)
        finally:
            self._at.pop(task, None)
            if leads:
                self._asleep = True
            if self._asleep and self._ready and self._open:
                self._wake()

    async def _park(self) -> bool:
        """Wait to be woken; False if there are enough that do."""
        if len(self._parked) >= _PARKED:
            return False
        self._at.pop(asyncio.current_task(), None)  # type: ignore[arg-type]
        parked = asyncio.get_running_loop().create_future()
        self._parked.append(parked)
        try:
            await parked
        except asyncio.CancelledError:
            if parked in self._parked:
                self._parked.remove(parked)
            elif self._open:  # it was woken and cancelled at once: another has to do it
                self._asleep = True
            raise
        return True

    async def _rest(self, task: asyncio.Task[Any], suspended: Suspended) -> None:
        """See a handler through that has suspended."""
        hand, work, waits_for, event = suspended
        self._at[task] = hand
        failure: BaseException | None = None
        try:
            await resumed(work, waits_for)
        except asyncio.CancelledError as error:
            hand.gone_on(event, error)
            if task.cancelling():
                raise
            return
        except Exception as error:  # the boundary of a handler: what it does wrong is its own
            failure = error
        hand.gone_on(event, failure)

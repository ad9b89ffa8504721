"""Runs that do not end although they were told to: they are left behind, and their places are given back.

An agent in Python may swallow its cancellation, by mistake or because a library of it does. Nothing can end it then but
the end of the daemon; but nobody has to wait for it. So many of one agent and no more: after that it is not run again
before one of them has ended.
"""

import asyncio
from collections import Counter
from collections.abc import Callable

from gatewayd.core.clock import Clock
from gatewayd.core.errors import Unavailable
from gatewayd.runtime.live import LiveExecution
from gatewayd.service import TaskSet

GRACE = 10.0
"""Seconds that a run has to end after its time was over, or it was cancelled."""
MAX_BEHIND = 10
"""Runs of one agent that may be left behind."""
_LOOK_EVERY = 1.0
"""Seconds between two looks, while anything runs."""


class Overdue:
    """Watches what runs. `leave_behind` is called for a run whose time to end is over, once."""

    def __init__(self, *, tasks: TaskSet, clock: Clock, leave_behind: Callable[[LiveExecution], None]) -> None:
        self._tasks = tasks
        self._clock = clock
        self._leave_behind = leave_behind
        self._until: dict[LiveExecution, float] = {}
        """By the monotonic clock: when each run has to have ended."""
        self._behind: Counter[str] = Counter()
        """By agent."""
        self._looking: asyncio.Task[None] | None = None

    def begins(self, live: LiveExecution, seconds: float) -> None:
        """Its agent runs from now on, for so long at most. `Unavailable` if too many of that agent do not end."""
        agent = live.execution.agent
        if self._behind[agent] >= MAX_BEHIND:
            raise Unavailable(f"The agent {agent} is not run: {MAX_BEHIND} of its runs do not end.", retry_after=60.0)
        self._until[live] = self._clock.monotonic() + seconds + GRACE
        if self._looking is None:
            self._looking = self._tasks.start(self._look(), name="overdue runs")

    def cancelled(self, live: LiveExecution) -> None:
        """It has to end now."""
        if live in self._until:
            self._until[live] = min(self._until[live], self._clock.monotonic() + GRACE)

    def ended(self, live: LiveExecution) -> None:
        """Its agent has ended by itself."""
        self._until.pop(live, None)

    def gone(self, agent: str) -> None:
        """A run that was left behind has ended after all."""
        self._behind[agent] -= 1

    async def _look(self) -> None:
        while self._until:
            await self._clock.sleep(_LOOK_EVERY)
            now = self._clock.monotonic()
            for live, until in list(self._until.items()):
                if until <= now:
                    del self._until[live]
                    self._behind[live.execution.agent] += 1
                    self._leave_behind(live)
        self._looking = None

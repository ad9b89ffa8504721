"""Follows the log of events for the goals: each end of an execution and of a call of a tool is counted once.

Runs only while there are goals. The mark says from where to go on; each record knows by itself what it has counted.
"""

import logging
from collections.abc import Sequence
from typing import Final

from gatewayd.bus.base import EventBus
from gatewayd.config.model import GatewayConfig
from gatewayd.core.clock import Clock
from gatewayd.core.errors import StoreBusy, StoreFull
from gatewayd.core.event import Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.lifecycle import Change
from gatewayd.core.work import Execution
from gatewayd.runtime.goals import Goals
from gatewayd.runtime.log_reader import RETRY, LogReader
from gatewayd.service import TaskSet
from gatewayd.storage.base import Store

log = logging.getLogger("gatewayd.goals")

MARK: Final = "goals"
_SELECTION: Final = EventFilter(
    frozenset({EventType.EXECUTION_COMPLETED, EventType.EXECUTION_FAILED, EventType.TOOL_CALL_COMPLETED})
)


class GoalFeed:
    """One per gateway: `start` when the store is open and the first configuration in place, `stop` before the store."""

    def __init__(self, goals: Goals, *, store: Store, bus: EventBus, clock: Clock) -> None:
        self.goals = goals
        self._store = store
        self._bus = bus
        self._clock = clock
        self._tasks = TaskSet("goals")
        self._reader: _Reader | None = None
        self._open = False

    async def start(self) -> None:
        """Go on where the last one has stopped."""
        await self.goals.load()
        self._open = True
        if self.goals.ids:
            self._begin(_Reader(self.goals, self._store, self._bus, self._clock, at_end=False))
        else:
            await self._store.forget_mark(MARK)

    def plan(self, new: GatewayConfig) -> Change:
        """What a reload changes here."""
        return _Replacing(self, new)

    def use(self, config: GatewayConfig) -> list[str]:
        """Follow a configuration; the goals that left."""
        left = self.goals.use(config)
        if self._open and self._reader is None and self.goals.ids:
            self._begin(_Reader(self.goals, self._store, self._bus, self._clock, at_end=True))
        return left

    async def forget(self, left: Sequence[str]) -> None:
        """Keep nothing of goals that left, and no place in the log if there are none."""
        for name in left:
            await self.goals.forget(name)
        if not self.goals.ids and self._reader is not None:
            reader, self._reader = self._reader, None
            await reader.end()
            if self._reader is None:
                await self._store.forget_mark(MARK)

    async def stop(self) -> None:
        """End, and mark the place; what has happened behind it is counted at the next start."""
        self._open = False
        await self._tasks.close()
        if self._reader is not None:
            await self._reader.mark()

    def _begin(self, reader: "_Reader") -> None:
        self._reader = reader
        reader.task = self._tasks.start(reader.run(), name="follow events")


class _Reader(LogReader):
    """Brings events to the goals."""

    def __init__(self, goals: Goals, store: Store, bus: EventBus, clock: Clock, *, at_end: bool) -> None:
        super().__init__(MARK, _SELECTION, store=store, bus=bus, clock=clock, place=bus.end if at_end else None)
        self._goals = goals

    async def take_in(self, events: Sequence[Event]) -> None:
        observed = []
        for event in events:
            execution = await self._execution(event)
            if execution is not None:
                observed.append((event, execution))
        while observed:
            try:
                await self._goals.observe(observed)
                return
            except (StoreBusy, StoreFull) as error:
                log.warning("goals_wait", extra={"reason": error.reason})
                await self._clock.sleep(RETRY)

    async def _execution(self, event: Event) -> Execution | None:
        """The execution that it tells of, if it counts for a goal. An agent may be called like an entry point."""
        if not event.execution_id or not self._goals.counts(event.stream_id):
            return None
        execution = await self._store.get_execution(event.execution_id)
        return execution if execution is not None and execution.entry_point == event.stream_id else None

    def missed(self, since: str) -> None:
        log.error("goals_missed_events", extra={"since": since})

    async def end(self) -> None:
        """Stop, and wait for it."""
        self.close()
        await self.ended()


class _Replacing:
    """The change of one reload."""

    def __init__(self, feed: GoalFeed, config: GatewayConfig) -> None:
        self._feed = feed
        self._config = config
        self._left: list[str] = []

    async def prepare(self) -> None:
        return None

    def commit(self) -> None:
        self._left = self._feed.use(self._config)

    async def retire(self) -> None:
        await self._feed.forget(self._left)

    async def abandon(self) -> None:
        return None

"""In-process handlers: an async callable for the events that a filter selects.

A handler runs beside its publisher and never holds it up: events wait in the subscription's mailbox, a few run at once
(`bus.handler_concurrency`), the others wait their turn. One that fails is told in the log and counted; it costs neither
its publisher nor another handler anything. A handler may publish, and may close its own or another subscription.
"""

from collections.abc import Callable

from gatewayd.bus.base import EventBus, SubscriptionSpec
from gatewayd.bus.chorus import Chorus
from gatewayd.bus.crew import Crew
from gatewayd.bus.handling import Handler, HandlerStats, Handling
from gatewayd.core.event import Cursor, Event
from gatewayd.core.filter import EventFilter
from gatewayd.core.frames import Overflow
from gatewayd.service import TaskSet

BUFFER_BYTES = 1 << 20
"""Bytes of events that may wait for one handler, unless it says otherwise."""


class Handlers:
    """All handlers of one gateway. `concurrency` is asked whenever one could begin, so a reload holds at once."""

    def __init__(self, bus: EventBus, concurrency: Callable[[], int]) -> None:
        self._bus = bus
        self._concurrency = concurrency
        self._tasks = TaskSet("handlers")
        self._crew = Crew(self._tasks)
        self._all: dict[Handling, None] = {}
        self._choruses: dict[tuple[EventFilter, Overflow, int], Chorus] = {}
        self._stopped = False

    def subscribe(
        self,
        selection: EventFilter,
        handler: Handler,
        *,
        name: str,
        since: Cursor | None = None,
        concurrency: int | None = None,
        overflow: Overflow = Overflow.DROP_OLDEST,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> Handling:
        """Call `handler` with the events that the filter selects, of every owner, in order; `name` is for the log.

        With `concurrency` 1 each is handled to its end before the next begins; None means `bus.handler_concurrency`. A
        handler that falls behind by `buffer_bytes` misses the oldest, or is ended if `overflow` says so; both are told
        in the log.
        """
        if self._stopped:
            raise RuntimeError(f"the handlers were stopped before {name} could begin")
        bound = self._concurrency if concurrency is None else lambda: concurrency
        handling = Handling(name, handler, bound, self._crew)
        if since is None:
            self._chorus(selection, overflow, buffer_bytes).join(handling)
        else:
            handling.attach(self._bus.subscribe(_spec(selection, overflow, buffer_bytes, since), handling.wake))
        self._all = {one: None for one in self._all if not one.ended}
        self._all[handling] = None
        return handling

    def _chorus(self, selection: EventFilter, overflow: Overflow, buffer_bytes: int) -> Chorus:
        """That of the handlers with this filter, bound and policy, which has all that was published before."""
        key = (selection, overflow, buffer_bytes)
        chorus = self._choruses.get(key)
        if chorus is not None and chorus.is_open:
            self._bus.flush()
            return chorus
        self._choruses = {known: one for known, one in self._choruses.items() if one.is_open}
        chorus = self._choruses[key] = Chorus(self._crew, overflow, buffer_bytes)
        chorus.attach(self._bus.subscribe(_spec(selection, overflow, buffer_bytes), chorus.wake))
        return chorus

    async def publish(self, event: Event, *, wait: bool = False) -> None:
        """Publish an ephemeral event; with `wait`, return when the handlers have handled it and all before it.

        For tests. `RuntimeError` for a handler that would wait for itself.
        """
        self._bus.publish(event)
        if wait:
            await self.idle()

    async def idle(self) -> None:
        """Until every event that was published is handled. `RuntimeError` for a handler that would wait for itself."""
        if any(one.inside for one in self._all):
            raise RuntimeError("a handler cannot wait until all handlers are idle: it is one of them")
        self._bus.flush()
        while busy := [one for one in self._all if one.stats().running or one.stats().waiting]:
            for one in busy:
                await one.idle()
            self._bus.flush()

    def stats(self) -> list[HandlerStats]:
        """Of those that have not ended."""
        return [one.stats() for one in self._all if not one.ended]

    async def stop(self) -> None:
        """End all; what runs is cancelled."""
        self._stopped = True
        for one in list(self._all):
            one.close()
        self._crew.close()
        await self._tasks.close()


def _everything(_event: Event) -> bool:
    """What runs inside the gateway acts for nobody in particular."""
    return True


def _spec(
    selection: EventFilter, overflow: Overflow, buffer_bytes: int, since: Cursor | None = None
) -> SubscriptionSpec:
    return SubscriptionSpec(selection, _everything, since, overflow, buffer_bytes, at_once=True)

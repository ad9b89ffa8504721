"""In-process handlers: an async callable for the events that a filter selects.

A handler runs beside its publisher and never holds it up: events wait in the subscription's mailbox, a few run at once
(`bus.handler_concurrency`), the others wait their turn. One that fails is told in the log and counted; it costs neither
its publisher nor another handler anything. A handler may publish, and may close its own or another subscription.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from types import CoroutineType

from gatewayd.bus.base import EventBus, Subscription, SubscriptionSpec
from gatewayd.bus.crew import Crew, Suspended
from gatewayd.core.event import Cursor, Event
from gatewayd.core.filter import EventFilter
from gatewayd.core.frames import Overflow
from gatewayd.core.stepping import coroutine_of
from gatewayd.core.value import value
from gatewayd.service import TaskSet

log = logging.getLogger("gatewayd.bus")

Handler = Callable[[Event], Awaitable[None]]

BUFFER_BYTES = 1 << 20
"""Bytes of events that may wait for one handler, unless it says otherwise."""
_TAKEN = 64 * 1024
"""Bytes of events that are taken out of the mailbox at once."""


@value(frozen=True, slots=True)
class HandlerStats:
    """Of one subscription, since it began."""

    name: str
    handled: int
    """Ended well."""
    failed: int
    dropped: int
    """Found no room, because the handler was slow."""
    running: int
    waiting: int


class Handling:
    """One handler's subscription. `close` ends it; what runs already goes on to its end."""

    def __init__(self, name: str, handler: Handler, concurrency: Callable[[], int], crew: Crew) -> None:
        self.name = name
        self.ended = False
        self._handler = handler
        self._concurrency = concurrency
        self._crew = crew
        self._subscription: Subscription | None = None
        self._events: Sequence[Event] = ()
        """What was taken out of the mailbox; those from `_place` on wait."""
        self._place = 0
        self._queued = False
        """Whether the crew knows that there is something to do."""
        self._stepping = False
        self._suspended = 0
        self._handled = self._failed = self._dropped = 0
        self._idlers: list[asyncio.Future[None]] = []

    def attach(self, subscription: Subscription) -> None:
        """Begin to take from it."""
        self._subscription = subscription
        self.wake()

    def wake(self) -> None:
        """There may be something to do."""
        if self._subscription is None or self.ended:
            return
        if self._subscription.mailbox.ended is not None:
            log.error("handler_ended", extra={"handler": self.name, "reason": self._subscription.mailbox.ended})
            self.close()
        elif not self._queued and self._may_begin():
            self._queued = True
            self._crew.put(self)

    def close(self) -> None:
        """No further event is handled. Safe to call twice, and from the handler itself."""
        self.ended = True
        self._events, self._place = (), 0
        if self._subscription is not None:
            self._subscription.close()
        self._look_on()

    async def idle(self) -> None:
        """Until nothing waits and nothing runs."""
        while self._stepping or self._suspended or self._waits():
            idler = asyncio.get_running_loop().create_future()
            self._idlers.append(idler)
            await idler

    @property
    def inside(self) -> bool:
        """Whether the calling task is one that runs this handler."""
        return self._crew.inside(self)

    def stats(self) -> HandlerStats:
        box = self._subscription.mailbox if self._subscription is not None else None
        waiting = len(self._events) - self._place + (box.waiting_events if box is not None else 0)
        running = self._suspended + self._stepping
        return HandlerStats(self.name, self._handled, self._failed, self._dropped, running, waiting)

    # For the crew

    def work(self, most: int) -> Suspended | None:
        """See `Hand`."""
        self._queued = False
        if not self._may_begin():
            return None
        self._stepping = True
        handler, events = self._handler, self._events
        if self._place >= len(events):
            events = self._take()
        suspended: Suspended | None = None
        for event in events[self._place : self._place + most]:
            self._place += 1
            try:
                work = handler(event)
                if type(work) is not CoroutineType:
                    work = coroutine_of(work)
                waits_for = work.send(None)
            except StopIteration:
                self._handled += 1
            except (Exception, asyncio.CancelledError) as error:  # the boundary of a handler: its faults are its own
                self._tell_failure(event, error)
            else:
                self._suspended += 1
                suspended = work, waits_for, event
                break
            if self.ended:
                break
        self._stepping = False
        self._look_on()
        return suspended

    def gone_on(self, event: Event, failure: BaseException | None) -> None:
        """See `Hand`."""
        self._suspended -= 1
        if failure is None:
            self._handled += 1
        elif not self.ended or isinstance(failure, Exception):
            self._tell_failure(event, failure)
        self._look_on()

    def _may_begin(self) -> bool:
        # One alone is always within the bound; that is the common case, and asking costs.
        return not self._suspended or self._suspended < self._concurrency()

    def _waits(self) -> bool:
        if self._place < len(self._events):
            return True
        return not self.ended and self._subscription is not None and self._subscription.mailbox.has_news

    def _look_on(self) -> None:
        """Go on with what waits, or tell those who wait for the rest."""
        if self._waits():
            if not self._queued and self._may_begin():
                self._queued = True
                self._crew.put(self)
        elif self._idlers and not (self._stepping or self._suspended):
            idlers, self._idlers = self._idlers, []
            for idler in idlers:
                if not idler.done():
                    idler.set_result(None)

    def _take(self) -> Sequence[Event]:
        """What waits in the mailbox; to be called when what was taken before is used up."""
        self._events, self._place = (), 0
        if self.ended or self._subscription is None:
            return ()
        box = self._subscription.mailbox
        if box.dropped:
            dropped, _ = box.take_gap()
            self._dropped += dropped
            log.warning("handler_missed_events", extra={"handler": self.name, "events": dropped})
        chunk = box.take_chunk(_TAKEN)
        if chunk is not None:
            self._events = chunk.events
        return self._events

    def _tell_failure(self, event: Event, error: BaseException) -> None:
        self._failed += 1
        told = {"handler": self.name, "type": event.type.label, "event": event.id}
        log.error("handler_failed", extra=told, exc_info=error)


class Handlers:
    """All handlers of one gateway. `concurrency` is asked whenever one could begin, so a reload holds at once."""

    def __init__(self, bus: EventBus, concurrency: Callable[[], int]) -> None:
        self._bus = bus
        self._concurrency = concurrency
        self._tasks = TaskSet("handlers")
        self._crew = Crew(self._tasks)
        self._all: dict[Handling, None] = {}
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
        spec = SubscriptionSpec(selection, _everything, since, overflow, buffer_bytes, at_once=True)
        handling.attach(self._bus.subscribe(spec, handling.wake))
        self._all = {one: None for one in self._all if not one.ended}
        self._all[handling] = None
        return handling

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

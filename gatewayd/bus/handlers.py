"""In-process handlers: an async callable for the events that a filter selects.

A handler runs beside its publisher and never holds it up: events wait in the subscription's mailbox, a few run at once
(`bus.handler_concurrency`), the others wait their turn. One that fails is told in the log and counted; it costs neither
its publisher nor another handler anything. A handler may publish, and may close its own or another subscription.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from gatewayd.bus.base import EventBus, Subscription, SubscriptionSpec
from gatewayd.core.event import Cursor, Event
from gatewayd.core.filter import EventFilter
from gatewayd.core.frames import Overflow
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

    def __init__(self, name: str, handler: Handler, concurrency: Callable[[], int], tasks: TaskSet) -> None:
        self.name = name
        self.ended = False
        self._handler = handler
        self._concurrency = concurrency
        self._tasks = tasks
        self._subscription: Subscription | None = None
        self._taken: deque[Event] = deque()
        self._workers: set[asyncio.Task[object]] = set()
        self._starting = False
        self._running = 0
        self._handled = 0
        self._failed = 0
        self._dropped = 0
        self._rest = asyncio.Event()
        self._rest.set()

    def attach(self, subscription: Subscription) -> None:
        """Begin to take from it."""
        self._subscription = subscription
        self.wake()

    def wake(self) -> None:
        """There may be something to do."""
        if self._subscription is None or self.ended:
            return
        if self._subscription.mailbox.ended is not None:
            self._end()
        elif self._taken or self._subscription.mailbox.has_news:
            self._rest.clear()
            self._hire()

    def close(self) -> None:
        """No further event is handled. Safe to call twice, and from the handler itself."""
        self.ended = True
        self._taken.clear()
        if self._subscription is not None:
            self._subscription.close()
        self._settle()

    async def idle(self) -> None:
        """Until nothing waits and nothing runs."""
        await self._rest.wait()

    @property
    def inside(self) -> bool:
        """Whether the calling task is one that runs this handler."""
        return asyncio.current_task() in self._workers

    def stats(self) -> HandlerStats:
        box = self._subscription.mailbox if self._subscription is not None else None
        waiting = len(self._taken) + (box.waiting_events if box is not None else 0)
        return HandlerStats(self.name, self._handled, self._failed, self._dropped, self._running, waiting)

    def _end(self) -> None:
        assert self._subscription is not None
        log.error("handler_ended", extra={"handler": self.name, "reason": self._subscription.mailbox.ended})
        self.close()

    def _hire(self) -> None:
        """One more worker, if there is work for it; each calls for the next when it has taken an event."""
        if not self._starting and len(self._workers) < max(1, self._concurrency()):
            self._starting = True
            self._workers.add(self._tasks.start(self._work(), name=f"handler {self.name}"))

    async def _work(self) -> None:
        self._starting = False
        taken, workers = self._taken, self._workers
        try:
            # One alone is always within the bound; that is the common case, and asking costs.
            while len(workers) == 1 or len(workers) <= self._concurrency():
                event = taken.popleft() if taken else self._next()
                if event is None:
                    break
                if taken and not self._starting:
                    self._hire()
                self._running += 1
                try:
                    await self._handler(event)
                    self._handled += 1
                except Exception:  # the boundary of a handler: what it does wrong is its own
                    self._tell_failure(event)
                finally:
                    self._running -= 1
        finally:
            task = asyncio.current_task()
            assert task is not None
            workers.discard(task)
            self._settle()
            self.wake()

    def _tell_failure(self, event: Event) -> None:
        self._failed += 1
        log.exception("handler_failed", extra={"handler": self.name, "type": event.type.label, "event": event.id})

    def _next(self) -> Event | None:
        """The next event, when those that were taken are used up."""
        if self.ended or self._subscription is None:
            return None
        box = self._subscription.mailbox
        if box.dropped:
            dropped, _ = box.take_gap()
            self._dropped += dropped
            log.warning("handler_missed_events", extra={"handler": self.name, "events": dropped})
        self._taken.extend(box.take(_TAKEN))
        return self._taken.popleft() if self._taken else None

    def _settle(self) -> None:
        box = self._subscription.mailbox if self._subscription is not None else None
        if not self._workers and not self._taken and (self.ended or box is None or not box.has_news):
            self._rest.set()


class Handlers:
    """All handlers of one gateway. `concurrency` is asked whenever one could begin, so a reload holds at once."""

    def __init__(self, bus: EventBus, concurrency: Callable[[], int]) -> None:
        self._bus = bus
        self._concurrency = concurrency
        self._tasks = TaskSet("handlers")
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
        handling = Handling(name, handler, bound, self._tasks)
        spec = SubscriptionSpec(selection, _everything, since, overflow, buffer_bytes)
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
        await self._tasks.close()


def _everything(_event: Event) -> bool:
    """What runs inside the gateway acts for nobody in particular."""
    return True

"""Waiting for the first event that a subscriber wants.

Used by the unary call and by whoever else in the process waits for news. I own one subscription for as long as the
wait lasts, and never read more than the one event.
"""

import asyncio
from collections.abc import Callable

from gatewayd.bus.base import EventBus, Subscription, SubscriptionSpec
from gatewayd.bus.catchup import reaches_back
from gatewayd.core.clock import Clock
from gatewayd.core.errors import HistoryLost, StoreFailed
from gatewayd.core.event import Cursor, Event
from gatewayd.core.filter import EventFilter
from gatewayd.core.frames import EndReason, Overflow
from gatewayd.core.value import value
from gatewayd.storage.base import Store

_PAGE = 500
_BUFFER = 4 * 1024


@value(frozen=True, slots=True)
class Waited:
    """What a wait came to."""

    event: Event | None
    """None when the time ended first."""
    cursor: Cursor
    """Everything up to here was looked at; a next wait goes on from it."""


async def wait_for(
    bus: EventBus,
    store: Store,
    clock: Clock,
    *,
    selection: EventFilter,
    visible: Callable[[Event], bool],
    timeout: float,
    since: Cursor | None = None,
) -> Waited:
    """The first match after `since` (None: from now on) within `timeout` seconds; 0 looks at what is there already.

    Raises `HistoryLost` when the log no longer reaches back to `since`, and `StoreFailed` when it cannot be read.
    """
    if timeout <= 0:
        return await _look(bus, store, selection, visible, since)
    waiter = _Waiter()
    # The one event fits whatever its size: with this policy an empty mailbox takes everything.
    spec = SubscriptionSpec(selection, visible, since, Overflow.DROP_OLDEST, _BUFFER)
    waiter.attach(bus.subscribe(spec, waiter.wake))
    try:
        async with clock.timeout(timeout):
            return await waiter.found
    except TimeoutError:
        return waiter.taken or Waited(None, waiter.position)  # it may have come in the very same turn of the loop
    except _Lost:
        if waiter.ended is not EndReason.HISTORY_LOST:
            raise StoreFailed("the event log could not be read") from None
        raise history_lost(bus, since) from None
    finally:
        waiter.close()


async def _look(
    bus: EventBus, store: Store, selection: EventFilter, visible: Callable[[Event], bool], since: Cursor | None
) -> Waited:
    end = bus.end
    if since is None:
        return Waited(None, end)
    after = since.seq
    if since.epoch != end.epoch or after > max(end.seq, store.log.last_seq):
        raise history_lost(bus, since)
    while True:
        if after < bus.oldest.seq:
            raise history_lost(bus, since)
        if after >= end.seq:
            return Waited(None, Cursor(end.epoch, after))
        page = await store.read_forward(after, selection, _PAGE)
        if not await reaches_back(store, after):
            raise history_lost(bus, since)
        for event in page.events:
            if visible(event):
                return Waited(event, Cursor(event.epoch, event.seq))
        after = page.scanned_to


def history_lost(bus: EventBus, since: Cursor | None) -> HistoryLost:
    """The error for a place that the log no longer reaches back to, or never had."""
    return HistoryLost(f"events after {since} are no longer kept", metadata={"oldest_cursor": str(bus.oldest)})


class _Lost(Exception):
    """The subscription ended before it gave anything."""


class _Waiter:
    """Takes the first event at the moment it is put in, so that the place is exactly that event's."""

    def __init__(self) -> None:
        self.found: asyncio.Future[Waited] = asyncio.get_running_loop().create_future()
        self.taken: Waited | None = None
        self._subscription: Subscription | None = None

    def attach(self, subscription: Subscription) -> None:
        self._subscription = subscription
        self.wake()  # it may have ended at once, before there was anybody to tell

    @property
    def position(self) -> Cursor:
        assert self._subscription is not None
        return self._subscription.mailbox.position

    @property
    def ended(self) -> EndReason | None:
        return self._subscription.mailbox.ended if self._subscription is not None else None

    def wake(self) -> None:
        if self._subscription is None or self.found.done():
            return
        mailbox = self._subscription.mailbox
        if events := mailbox.take(1):
            self.taken = Waited(events[0], mailbox.position)
            self.found.set_result(self.taken)
        elif mailbox.ended is not None:
            self.found.set_exception(_Lost())

    def close(self) -> None:
        if self._subscription is not None:
            self._subscription.close()
        self.found.cancel()

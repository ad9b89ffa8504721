"""The in-process bus: committed events from the store, ephemeral ones from their makers, to mailboxes.

I own the subscriptions and their catch-up from the log. I never write to the store, and I never wait for a reader.
"""

import logging
from asyncio import Future
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import chain

from gatewayd.bus.base import BusStats, SubscriptionSpec
from gatewayd.bus.catchup import History, Page
from gatewayd.bus.group import Group
from gatewayd.bus.held import Held
from gatewayd.bus.index import Index
from gatewayd.bus.mailbox import Mailbox
from gatewayd.bus.order import StreamOrder
from gatewayd.bus.pacer import SHARE
from gatewayd.bus.roster import Roster
from gatewayd.bus.turns import Turns
from gatewayd.core.chunk import Chunk
from gatewayd.core.clock import Clock
from gatewayd.core.errors import GatewayError
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.frames import EndReason
from gatewayd.service import TaskSet
from gatewayd.storage.base import Store
from gatewayd.wire import with_wire

log = logging.getLogger("gatewayd.bus")


class MemorySubscription:
    """One interest; in the group of its filter once it has caught up with the log."""

    __slots__ = ("_bus", "closed", "group", "looked", "mailbox", "put", "spec", "visible")

    def __init__(self, spec: SubscriptionSpec, bus: "MemoryBus", start: Cursor, wake: Callable[[], None]) -> None:
        self.spec = spec
        self.looked = start.seq
        """While it catches up: everything up to here was put in or does not concern it."""
        self.group: Group | None = None
        self.closed = False
        self.visible = spec.visible
        self._bus = bus
        self.mailbox = Mailbox(
            limit_bytes=spec.buffer_bytes,
            overflow=spec.overflow,
            wake=wake,
            start=start,
            reached=self._reached,
            budget=spec.budget,
        )
        self.put: Callable[[Chunk], bool] = self.mailbox.put

    def _reached(self) -> int:
        if self.group is None:
            return self.looked
        return self.group.before if self.group.gathered else self._bus.end.seq

    @property
    def live(self) -> bool:
        """See `Subscription.live`."""
        return self.group is not None

    def waiting(self) -> Iterable[Event]:
        """See `Subscription.waiting`."""
        return chain(self.mailbox.events(), self.group.gathered_for(self) if self.group is not None else ())

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.mailbox.end(EndReason.UNSUBSCRIBED)  # a catch-up that waits for its reader waits no more
            self._bus.leave(self)


class MemoryBus:
    """The bus of one gateway."""

    def __init__(self, tasks: TaskSet, clock: Clock, *, share: int = SHARE) -> None:
        """`share`: readers that have their turn together when something is handed out."""
        self._tasks = tasks
        self._store: Store | None = None
        self._history: History | None = None
        self._subscriptions: dict[MemorySubscription, None] = {}
        self._index: Index[Group] = Index()
        self._turns = Turns(clock, share)
        self._roster = Roster(self._index, share, self._turns.soon, self._turns.at_once)
        self._order = StreamOrder(self._deliver)
        self._held = Held(self._order, self._deliver)
        self._delivered_seq = 0
        self._by_type: Counter[EventType] = Counter()
        self._caught_up = 0
        """Events that subscriptions got from the log."""
        self._dropped = 0
        self._slow = 0
        self._hear: Callable[[Event], None] = _nobody

    def on_addressed(self, hear: Callable[[Event], None]) -> None:
        """See `EventBus.on_addressed`."""
        self._hear = hear

    def attach(self, store: Store) -> None:
        """Give the bus the log that it catches up from; once, before the first subscription."""
        self._store = store
        self._history = History(store)
        self._delivered_seq = store.log.last_seq

    # Subscribing

    def subscribe(self, spec: SubscriptionSpec, wake: Callable[[], None]) -> MemorySubscription:
        """See `EventBus.subscribe`."""
        now = self.end
        subscription = MemorySubscription(spec, self, spec.since or now, wake)
        self._subscriptions[subscription] = None
        if spec.since is None or spec.since == now:
            self._join(subscription)
        elif not self._reaches(spec.since):
            subscription.mailbox.end(EndReason.HISTORY_LOST)
        else:
            self._tasks.start(self._catch_up(subscription), name=f"catch-up from {spec.since}")
        return subscription

    @property
    def end(self) -> Cursor:
        """The place after everything that was delivered so far."""
        return Cursor(self._log.log.epoch, self._delivered_seq)

    @property
    def oldest(self) -> Cursor:
        """The oldest place that a subscription can go on from."""
        log = self._log.log
        return Cursor(log.epoch, max(0, log.first_seq - 1) if log.last_seq else 0)

    def _reaches(self, since: Cursor) -> bool:
        return since.epoch == self._log.log.epoch and self.oldest.seq <= since.seq <= self._log.log.last_seq

    async def _catch_up(self, subscription: MemorySubscription) -> None:
        """Read the log until it meets the live events; the last check and the switch are one turn of the loop."""
        mailbox = subscription.mailbox
        while not subscription.closed and mailbox.ended is None:
            if subscription.looked < self.oldest.seq:
                mailbox.end(EndReason.HISTORY_LOST)
            elif subscription.looked >= self._delivered_seq:
                self._join(subscription)
                return
            else:
                page = await self._page_for(subscription)
                if page is None:
                    return
                for chunk in page.chunks(subscription.spec):
                    while not mailbox.fits(chunk) and mailbox.ended is None:
                        await mailbox.emptied()  # history is read at the reader's pace; its policy is for live events
                    if not mailbox.put(chunk):
                        return
                    self._caught_up += len(chunk)
                subscription.looked = page.scanned_to

    async def _page_for(self, subscription: MemorySubscription) -> Page | None:
        """The next page of history; None when there is none to be had, of which the reader is told."""
        assert self._history is not None
        looked = subscription.looked
        try:
            page = await self._history.after(looked, self._delivered_seq, subscription.spec.selection)
        except GatewayError as error:
            log.error("catch_up_failed", extra={"after": looked, "reason": error.reason, "error": error.message})
            subscription.mailbox.end(EndReason.CONNECTION_LOST)
            return None
        if page is None:
            subscription.mailbox.end(EndReason.HISTORY_LOST)
        return page

    def _join(self, subscription: MemorySubscription) -> None:
        spec = subscription.spec
        subscription.group = self._roster.join(subscription, spec.selection, at_once=spec.at_once)

    def leave(self, subscription: MemorySubscription) -> None:
        """The subscription was closed."""
        self._subscriptions.pop(subscription, None)
        self._dropped += subscription.mailbox.total_dropped
        self._slow += subscription.mailbox.ended is EndReason.SLOW_CONSUMER
        group, subscription.group = subscription.group, None
        if group is not None:
            self._roster.leave(subscription, group, at_once=subscription.spec.at_once)

    @property
    def _log(self) -> Store:
        if self._store is None:
            raise RuntimeError("the bus was used before it was attached to a store")
        return self._store

    # Publishing

    def publish(self, event: Event) -> None:
        """See `EventBus.publish`."""
        if self._order.idle:
            self._deliver(event)
        else:
            self._order.publish(event)

    def unheard(self, kind: EventType) -> bool:
        """See `EventBus.unheard`."""
        if self._index.may_select(kind):
            return False
        self._by_type[kind] += 1
        return True

    def publish_with(self, events: Sequence[Event], stored: "Future[list[Event]]") -> None:
        """See `EventBus.publish_with`."""
        self._held.hold(events, stored)

    def expected(self, stream_ids: Sequence[str]) -> None:
        self._order.expected(stream_ids)

    def committed(self, events: Sequence[Event]) -> None:
        assert self._history is not None
        self._history.recent.add(events)
        for event in events:
            if is_awaited := self._held.awaits(event):
                self._held.before(event)
            self._deliver(event)
            self._delivered_seq = event.seq
            self._order.settled((event.stream_id,))
            if is_awaited:
                self._held.after(event)

    def abandoned(self, stream_ids: Sequence[str]) -> None:
        self._order.settled(stream_ids)

    def erased(self) -> None:
        if self._history is not None:
            self._history.recent.forget()

    def _deliver(self, event: Event) -> None:
        self._by_type[event.type] += 1
        groups = self._index.match(event)
        if groups:
            if not event.wire:
                event = with_wire(event)  # encoded once, and only if anybody wants it
            for group in groups:
                group.add(event, self._delivered_seq)
        if event.target or event.type is EventType.BROADCAST:
            self._hear(event)

    def flush(self) -> None:
        """Hand out what has gathered to the mailboxes now, without waiting for its time."""
        self._turns.flush()

    def stats(self) -> BusStats:
        """See `EventBus.stats`."""
        return BusStats(
            published=self._by_type.total(),
            by_type={kind.label: count for kind, count in self._by_type.items()},
            subscriptions=len(self._subscriptions),
            delivered=self._caught_up + self._roster.delivered,
            dropped=self._dropped
            + self._order.dropped
            + self._held.dropped
            + sum(one.mailbox.total_dropped for one in self._subscriptions),
            slow_consumers=self._slow,
        )


def _nobody(_event: Event) -> None:
    """Nobody is to hear of what is addressed."""

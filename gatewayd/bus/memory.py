"""The in-process bus: committed events from the store, ephemeral ones from their makers, to mailboxes.

I own the subscriptions and their catch-up from the log. I never write to the store, and I never wait for a reader.
"""

from collections import Counter
from collections.abc import Callable, Sequence

from gatewayd.bus.base import BusStats, SubscriptionSpec
from gatewayd.bus.mailbox import Mailbox
from gatewayd.bus.order import StreamOrder
from gatewayd.core.event import Cursor, Event
from gatewayd.core.frames import EndReason
from gatewayd.service import TaskSet
from gatewayd.storage.base import Store
from gatewayd.wire import with_wire

_PAGE = 500
"""Events read from the log at once while a subscription catches up."""


class MemorySubscription:
    """One interest; `live` once it has caught up with the log."""

    def __init__(self, spec: SubscriptionSpec, mailbox: Mailbox, leave: Callable[["MemorySubscription"], None]) -> None:
        self.spec = spec
        self._mailbox = mailbox
        self._leave = leave
        self.live = False
        self.closed = False

    @property
    def mailbox(self) -> Mailbox:
        return self._mailbox

    def wants(self, event: Event) -> bool:
        return self.spec.selection.matches(event) and self.spec.visible(event)

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._leave(self)
            self._mailbox.end(EndReason.UNSUBSCRIBED)  # a catch-up that waits for its reader waits no more


class MemoryBus:
    """The bus of one gateway."""

    def __init__(self, tasks: TaskSet) -> None:
        self._tasks = tasks
        self._store: Store | None = None
        self._subscriptions: dict[MemorySubscription, None] = {}
        self._order = StreamOrder(self._deliver)
        self._delivered_seq = 0
        self._by_type: Counter[str] = Counter()
        self._delivered = 0
        self._dropped = 0
        self._slow = 0

    def attach(self, store: Store) -> None:
        """Give the bus the log that it catches up from; once, before the first subscription."""
        self._store = store
        self._delivered_seq = store.log.last_seq

    # Subscribing

    def subscribe(self, spec: SubscriptionSpec, wake: Callable[[], None]) -> MemorySubscription:
        """See `EventBus.subscribe`."""
        now = self.end
        start = spec.since or now
        mailbox = Mailbox(limit_bytes=spec.buffer_bytes, overflow=spec.overflow, wake=wake, start=start)
        subscription = MemorySubscription(spec, mailbox, self._leave)
        self._subscriptions[subscription] = None
        if spec.since is None or spec.since == now:
            subscription.live = True
        elif not self._reaches(spec.since):
            mailbox.end(EndReason.HISTORY_LOST)
        else:
            self._tasks.start(self._catch_up(subscription, spec.since.seq), name=f"catch-up from {spec.since}")
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

    async def _catch_up(self, subscription: MemorySubscription, after: int) -> None:
        """Read the log until it meets the live events; the last check and the switch are one turn of the loop."""
        mailbox = subscription.mailbox
        while not subscription.closed and mailbox.ended is None:
            if after < self.oldest.seq:
                mailbox.end(EndReason.HISTORY_LOST)
                return
            if after >= self._delivered_seq:
                mailbox.skip_to(after)
                subscription.live = True
                return
            page = await self._log.read_forward(after, subscription.spec.selection, _PAGE)
            for event in page.events:
                if not subscription.spec.visible(event):
                    continue
                while not mailbox.fits(event) and mailbox.waiting_bytes and mailbox.ended is None:
                    await mailbox.emptied()  # history is read at the reader's pace; its policy is for live events
                if subscription.closed:
                    return
                self._put(subscription, event)
            after = page.scanned_to

    def _leave(self, subscription: MemorySubscription) -> None:
        self._subscriptions.pop(subscription, None)
        self._dropped += subscription.mailbox.total_dropped

    @property
    def _log(self) -> Store:
        if self._store is None:
            raise RuntimeError("the bus was used before it was attached to a store")
        return self._store

    # Publishing

    def publish(self, event: Event) -> None:
        """See `EventBus.publish`."""
        self._order.publish(event)

    def expected(self, stream_ids: Sequence[str]) -> None:
        self._order.expected(stream_ids)

    def committed(self, events: Sequence[Event]) -> None:
        for event in events:
            self._delivered_seq = event.seq
            self._deliver(event)
            self._order.settled((event.stream_id,))

    def abandoned(self, stream_ids: Sequence[str]) -> None:
        self._order.settled(stream_ids)

    def _deliver(self, event: Event) -> None:
        self._by_type[event.type.label] += 1
        for subscription in list(self._subscriptions):
            if not subscription.live:
                continue
            if not event.seq or event.seq > subscription.mailbox.reached:
                if subscription.wants(event):
                    event = with_wire(event)  # encoded once, and only if anybody wants it
                    self._put(subscription, event)
                elif event.seq:
                    subscription.mailbox.skip_to(event.seq)

    def _put(self, subscription: MemorySubscription, event: Event) -> None:
        if subscription.mailbox.put(event):
            self._delivered += 1
        else:
            self._slow += 1
            subscription.close()

    def stats(self) -> BusStats:
        """See `EventBus.stats`."""
        return BusStats(
            published=self._by_type.total(),
            by_type=dict(self._by_type),
            subscriptions=len(self._subscriptions),
            delivered=self._delivered,
            dropped=self._dropped + sum(one.mailbox.total_dropped for one in self._subscriptions),
            slow_consumers=self._slow,
        )

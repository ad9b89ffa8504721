"""The subscriptions of one connection: from mailboxes to frames, in turn, so that none starves the others."""

from collections.abc import Callable, Iterator
from functools import partial

from gatewayd.access.principals import Principal
from gatewayd.bus.base import EventBus, Subscription, SubscriptionSpec
from gatewayd.core.errors import AlreadyExists, HistoryLost, LimitExceeded, SlowConsumer
from gatewayd.core.event import Cursor, Event
from gatewayd.core.frames import (
    Accepted,
    Delivery,
    Ended,
    EndReason,
    Gap,
    LostSubscription,
    Progress,
    ServerFrame,
    Subscribe,
)

MAX_SUBSCRIPTIONS = 1000
"""Subscriptions of one connection."""
MAX_FRAME = 256 * 1024
"""Bytes of events in one frame: the longest that a control answer may have to wait for."""
MIN_BUFFER = 4 * 1024
DEFAULT_BUFFER = 1024 * 1024


class Subscriptions:
    """Owned by one conversation; `wake` is called when there may be something to send."""

    def __init__(self, *, bus: EventBus, oldest: Callable[[], Cursor], wake: Callable[[], None]) -> None:
        self._bus = bus
        self._oldest = oldest
        self._wake = wake
        self._all: dict[str, Subscription] = {}
        self._told: dict[str, Cursor] = {}
        self._ready: dict[str, None] = {}
        """Those that may have something to send, in the order of their turns."""

    def __len__(self) -> int:
        return len(self._all)

    def add(self, request: Subscribe, principal: Principal, client_id: str, max_buffer: int) -> Accepted:
        """Begin one; raises when the id is in use or there are too many."""
        if request.subscription_id in self._all:
            raise AlreadyExists(f"subscription {request.subscription_id!r} is in use on this connection")
        if len(self._all) >= MAX_SUBSCRIPTIONS:
            raise LimitExceeded(
                f"a connection has at most {MAX_SUBSCRIPTIONS} subscriptions", metadata={"limit": "subscriptions"}
            )
        principal.require_subscribe(request.filter)
        wanted = request.buffer_bytes or DEFAULT_BUFFER

        def visible(event: Event) -> bool:
            return event.target in ("", client_id, principal.id) and principal.may_see(event.owner)

        spec = SubscriptionSpec(
            selection=request.filter,
            visible=visible,
            since=request.since,
            overflow=request.overflow,
            buffer_bytes=min(max(wanted, MIN_BUFFER), max_buffer),
        )
        subscription = self._bus.subscribe(spec, partial(self._has_news, request.subscription_id))
        self._all[request.subscription_id] = subscription
        self._told[request.subscription_id] = subscription.mailbox.position
        return Accepted(request.request_id, cursor=subscription.mailbox.position)

    def remove(self, subscription_id: str) -> Cursor | None:
        """End one; its last position, or None if there was none."""
        subscription = self._all.pop(subscription_id, None)
        self._told.pop(subscription_id, None)
        if subscription is None:
            return None
        subscription.close()
        self._ready.pop(subscription_id, None)
        return subscription.mailbox.position

    def _has_news(self, subscription_id: str) -> None:
        self._ready[subscription_id] = None
        self._wake()

    def next_frame(self) -> ServerFrame | None:
        """One frame of the next subscription that has something to send; they take turns."""
        while self._ready:
            subscription_id = next(iter(self._ready))
            del self._ready[subscription_id]
            subscription = self._all.get(subscription_id)
            frame = self._frame(subscription_id, subscription) if subscription is not None else None
            if frame is not None:
                if subscription_id in self._all and subscription.mailbox.has_news:  # type: ignore[union-attr]
                    self._ready[subscription_id] = None
                return frame
        return None

    def _frame(self, subscription_id: str, subscription: Subscription) -> ServerFrame | None:
        mailbox = subscription.mailbox
        if mailbox.dropped:
            return Gap(subscription_id, *mailbox.take_gap())
        chunk = mailbox.take_chunk(MAX_FRAME)
        if chunk is not None:
            if chunk.cursor is not None:
                self._told[subscription_id] = chunk.cursor
            return Delivery((subscription_id,), chunk)
        if mailbox.ended is not None:
            self.remove(subscription_id)
            return self._ended(subscription_id, mailbox.ended, mailbox.position)
        return None

    def progress(self) -> Iterator[Progress]:
        """Cursors of readers that had nothing to read, but may go on from a later place; for idle times."""
        for subscription_id, subscription in self._all.items():
            position = subscription.mailbox.position
            if position != self._told.get(subscription_id):
                self._told[subscription_id] = position
                yield Progress((subscription_id,), position)

    @property
    def have_news(self) -> bool:
        """Whether `next_frame` may have one."""
        return bool(self._ready)

    @property
    def waiting_bytes(self) -> int:
        """Bytes of events that wait for this connection."""
        return sum(one.mailbox.waiting_bytes for one in self._all.values())

    def lost(self, reason: EndReason) -> tuple[LostSubscription, ...]:
        """Close all, and tell where each may be taken up: after what was handed to the transport."""
        lost = tuple(
            LostSubscription(subscription_id, one.mailbox.ended or reason, one.mailbox.position)
            for subscription_id, one in self._all.items()
        )
        for one in self._all.values():
            one.close()
        self._all.clear()
        self._told.clear()
        self._ready.clear()
        return lost

    def _ended(self, subscription_id: str, reason: EndReason, position: Cursor) -> Ended:
        if reason is EndReason.HISTORY_LOST:
            oldest = self._oldest()
            error = HistoryLost(f"events after {position} are no longer kept", metadata={"oldest_cursor": str(oldest)})
            return Ended(subscription_id, reason, oldest, error)
        if reason is EndReason.SLOW_CONSUMER:
            slow = SlowConsumer("the reader did not keep up", metadata={"cursor": str(position)}, retry_after=1.0)
            return Ended(subscription_id, reason, position, slow)
        return Ended(subscription_id, reason, position)

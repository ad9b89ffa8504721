"""The subscriptions of one connection: from mailboxes to frames, in turn, so that none starves the others."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType

from gatewayd.access.principals import Principal
from gatewayd.bus.base import EventBus, SubscriptionSpec
from gatewayd.bus.budget import Budget
from gatewayd.conversation.inbox import Inbox
from gatewayd.conversation.reading import Reading, Sight
from gatewayd.conversation.snapshots import FRAME_EVENTS, Snapshots
from gatewayd.core.errors import AlreadyExists, LimitExceeded
from gatewayd.core.event import Cursor, Event
from gatewayd.core.filter import EventFilter
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
from gatewayd.core.queues import QueueReport
from gatewayd.wire.nesting import is_deep

MAX_SUBSCRIPTIONS = 1000
"""Subscriptions of one connection."""
MAX_FRAME = 256 * 1024
"""Bytes of events in one frame: the longest that a control answer may have to wait for."""
MIN_ROOM = 16 * 1024
"""Bytes in a frame below which no more events are put in."""
_INBOX = ""
"""Stands for the inbox among the subscriptions that take turns; no subscription has this id."""
EXPECTED_TICKS = 2
"""Heartbeat intervals within which a client subscribes anew to what it has lost."""
MIN_BUFFER = 4 * 1024
DEFAULT_BUFFER = 1024 * 1024
_NONE_EXPECTED: Mapping[EventFilter, int] = MappingProxyType({})


class Subscriptions:
    """Owned by one conversation; `wake` is called when there may be something to send."""

    __slots__ = (
        "_all",
        "_begun",
        "_budget",
        "_bus",
        "_expected",
        "_news",
        "_oldest",
        "_over",
        "_sending",
        "_wake",
        "inbox",
        "ready",
    )

    def __init__(
        self,
        *,
        bus: EventBus,
        oldest: Callable[[], Cursor],
        wake: Callable[[], None],
        begun: Callable[[str], str] = lambda _execution_id: "",
    ) -> None:
        """`begun` gives the text so far of an execution that runs."""
        self._bus = bus
        self._begun = begun
        self._oldest = oldest
        self._wake = wake
        self._all: dict[str, Reading] = {}
        self._news = self._has_news  # one for all readings
        self.ready: dict[str, None] = {}
        """Those for which `next_frame` may have something, in the order of their turns."""
        self._sending: list[tuple[Reading, Cursor | None, Sequence[Event]]] = []
        """What the frames that are on their way bring `sent` to, and which events they hold."""
        self._over: dict[str, Reading] = {}
        """Those whose last word is on its way: if it is lost, the next connection tells of them."""
        self._budget = Budget()
        self._expected: Mapping[EventFilter, int] = _NONE_EXPECTED
        """Of lost subscriptions, and in how many ticks they are given up: their cursors bring what is kept."""
        self.inbox = Inbox()

    def attach(self, inbox: Inbox, lost: Sequence[tuple[EventFilter, Cursor | None]], sight: Sight) -> None:
        """Take from this inbox, from now on. `lost`: what the client is about to subscribe to, behind which cursors;
        `sight`: what subscriptions of it are shown, which the mail of an agent is not."""
        self.inbox = inbox

        def brought(event: Event) -> bool:
            is_ahead = any(cursor is not None and event.seq > cursor.seq and it.matches(event) for it, cursor in lost)
            return is_ahead and sight(event)

        if lost:
            self._expected = {wanted: EXPECTED_TICKS for wanted, _ in lost}
            inbox.forget(brought)
        inbox.wake = self._addressed_news
        if inbox:
            inbox.wake()

    def bring(self, event: Event) -> bool:
        """Whether a subscription brings this event, whose turn it is: now, or by the cursor that it goes on from."""
        for reading in self._all.values():
            if reading.selection.matches(event):
                one = reading.subscription
                if event.seq or (one.live and one.mailbox.ended is None):
                    return True
        return event.seq > 0 and any(wanted.matches(event) for wanted in self._expected)

    def tick(self) -> None:
        """A heartbeat interval has passed."""
        if self._expected:
            self._expected = {wanted: left - 1 for wanted, left in self._expected.items() if left > 1}

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
        self._budget.limit = max_buffer
        spec = SubscriptionSpec(
            selection=request.filter,
            visible=Sight(principal, client_id),
            since=request.since,
            overflow=request.overflow,
            buffer_bytes=min(max(wanted, MIN_BUFFER), max_buffer),
            budget=self._budget,
        )
        if request.filter in self._expected:
            self._expected = {wanted: left for wanted, left in self._expected.items() if wanted != request.filter}
        snapshots = Snapshots(self._begun) if request.snapshot else None
        reading = Reading(request.subscription_id, request.filter, snapshots, self._news)
        start = reading.begin(self._bus, spec)
        self._all[request.subscription_id] = reading
        return Accepted(request.request_id, cursor=start)

    def remove(self, subscription_id: str) -> Cursor | None:
        """End one; its last position, or None if there was none."""
        reading = self._all.pop(subscription_id, None)
        if reading is None:
            return None
        reading.subscription.close()
        self.ready.pop(subscription_id, None)
        return reading.subscription.mailbox.position

    def _has_news(self, subscription_id: str) -> None:
        self.ready[subscription_id] = None
        self._wake()

    def _addressed_news(self) -> None:
        self._has_news(_INBOX)

    def sent(self) -> None:
        """The frames that were given out have been handed to the transport."""
        if self._sending:
            for reading, place, _ in self._sending:
                reading.sent = place or reading.sent
            self._sending.clear()
        self.inbox.sent()
        if self._over:
            self._over.clear()

    def next_frame(self, room: int = MAX_FRAME) -> ServerFrame | None:
        """One frame of the next subscription that has something to send; they take turns. `room`: bytes of events.

        With less room than a frame has, it goes with others into a batch: None, too, for what does not fit into that.
        """
        while self.ready:
            subscription_id = next(iter(self.ready))
            reading = self._all.get(subscription_id)
            if room < MAX_FRAME and not self._goes_with_others(subscription_id, reading, room):
                return None
            del self.ready[subscription_id]
            if subscription_id == _INBOX:
                if (frame := self._addressed(room)) is not None:
                    return frame
                continue
            if reading is not None and (frame := self._frame(subscription_id, reading, room)) is not None:
                return frame
        return None

    def _goes_with_others(self, subscription_id: str, reading: Reading | None, room: int) -> bool:
        if subscription_id == _INBOX:
            head = self.inbox.head
        elif reading is None or reading.snapshots is not None:
            return reading is None  # the texts of a snapshot may fill a frame
        else:
            head = reading.subscription.mailbox.head
        return head is None or (len(head.events[0].wire) <= room and not is_deep(head))

    def _addressed(self, room: int) -> ServerFrame | None:
        frame: ServerFrame | None = None
        if self.inbox.dropped:
            frame = Gap(_INBOX, *self.inbox.take_gap())
        elif (chunk := self.inbox.take(room)) is not None:
            frame = Delivery((), chunk)
        if self.inbox:
            self.ready[_INBOX] = None
        return frame

    def _frame(self, subscription_id: str, reading: Reading, room: int) -> ServerFrame | None:
        mailbox = reading.subscription.mailbox
        frame: ServerFrame
        events: Sequence[Event] = ()
        if mailbox.dropped:
            dropped, place = mailbox.take_gap()
            frame = Gap(subscription_id, dropped, place)
        else:
            snapshots = reading.snapshots
            chunk = mailbox.take_chunk(room if snapshots is None else FRAME_EVENTS)
            if chunk is None:
                return self._last_word(subscription_id, reading)
            if snapshots is not None:
                chunk = snapshots.fill(chunk)
            if (place := chunk.cursor) is not None:
                reading.told = place
            frame, events = Delivery((subscription_id,), chunk), chunk.events
        self._sending.append((reading, place, events))
        if mailbox.has_news:
            self.ready[subscription_id] = None
        return frame

    def _last_word(self, subscription_id: str, reading: Reading) -> Ended | None:
        if reading.subscription.mailbox.ended is None:
            return None
        if len(self._expected) < MAX_SUBSCRIPTIONS:
            self._expected = {**self._expected, reading.selection: EXPECTED_TICKS}
        self.remove(subscription_id)
        self._over[subscription_id] = reading
        return reading.last_word(self._oldest)

    def progress(self) -> Iterator[Progress]:
        """Cursors of readers that had nothing to read, but may go on from a later place; for idle times."""
        for subscription_id, reading in self._all.items():
            mailbox = reading.subscription.mailbox
            if mailbox.has_news:
                continue  # what is lost is told first
            position = mailbox.position
            if position != reading.told:
                reading.told = position
                yield Progress((subscription_id,), position)

    def queues(self, inbox_limit: int) -> Iterator[QueueReport]:
        """What waits for this connection: for itself, and for each subscription by id."""
        yield self.inbox.report(inbox_limit)
        end = self._bus.end.seq
        for subscription_id in sorted(self._all):
            yield self._all[subscription_id].report(end)

    @property
    def _unfinished(self) -> dict[str, Reading]:
        """Those that are not known to have had their last word."""
        return {**self._over, **self._all}

    @property
    def filters(self) -> tuple[EventFilter, ...]:
        """What the subscriptions select, in the order of `lost`."""
        return tuple([reading.selection for reading in self._unfinished.values()])

    def lost(self, reason: EndReason) -> tuple[LostSubscription, ...]:
        """Close all, and tell where each may be taken up: behind what was handed to the transport as a whole.

        What is addressed to the client and was not waits in its inbox.
        """
        lost = tuple(
            LostSubscription(subscription_id, one.subscription.mailbox.ended or reason, self._place(one))
            for subscription_id, one in self._unfinished.items()
        )
        self.inbox.recall([self._unsent(one) for one in self._unfinished.values()])
        self.inbox = Inbox()  # the other is for the next connection now
        for one in self._all.values():
            one.subscription.close()
        self._all.clear()
        self._sending.clear()
        self._over.clear()
        self.ready.clear()
        return lost

    def _unsent(self, reading: Reading) -> Iterator[Event]:
        for one, _, events in self._sending:
            if one is reading:
                yield from reading.addressed(events)
        yield from reading.addressed(reading.subscription.waiting())

    def _place(self, reading: Reading) -> Cursor:
        mailbox = reading.subscription.mailbox
        on_its_way = any(one is reading and place for one, place, _ in self._sending)
        return reading.sent if on_its_way or mailbox.dropped else mailbox.position

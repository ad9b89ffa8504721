"""One subscription as its connection sees it: how far the reader got, and what it may see."""

from collections.abc import Callable, Iterable, Iterator

from gatewayd.access.principals import Principal
from gatewayd.bus.base import EventBus, Subscription, SubscriptionSpec
from gatewayd.conversation.snapshots import Snapshots
from gatewayd.core.errors import HistoryLost, SlowConsumer
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.frames import Ended, EndReason
from gatewayd.core.queues import QueueReport, state_of


class Reading:
    """One subscription, and how far its reader got."""

    __slots__ = ("_began", "_name", "_news", "selection", "sent", "snapshots", "subscription", "told")

    subscription: Subscription
    told: Cursor
    """The last place that the reader was told of."""
    sent: Cursor
    """The place up to which it was sent everything, or was told of what it lost."""
    _began: int
    """The end of the log when it began."""

    def __init__(
        self, name: str, selection: EventFilter, snapshots: Snapshots | None, news: Callable[[str], None]
    ) -> None:
        """`news` is told the name when there may be something to send."""
        self._name = name
        self._news = news
        self.selection = selection
        self.snapshots = snapshots

    def begin(self, bus: EventBus, spec: SubscriptionSpec) -> Cursor:
        """Subscribe; the place from which on it reads."""
        self.subscription = subscription = bus.subscribe(spec, self._wake)
        self.told = self.sent = subscription.mailbox.position
        self._began = bus.end.seq
        return self.sent

    def addressed(self, events: Iterable[Event]) -> Iterator[Event]:
        """Those that are addressed to somebody and were published since it began: the client has never had them."""
        for event in events:
            if (event.target or event.type is EventType.BROADCAST) and not 0 < event.seq <= self._began:
                yield event

    def report(self, end: int) -> QueueReport:
        """What an operator sees of it; `end` is the last place of the log."""
        box = self.subscription.mailbox
        waiting, limit = box.waiting_bytes, box.limit_bytes
        live = self.subscription.live
        return QueueReport(
            subscription_id=self._name,
            state=state_of(ended=box.ended is not None, live=live, queued_bytes=waiting, limit_bytes=limit),
            overflow=box.overflow,
            limit_bytes=limit,
            queued_bytes=waiting,
            queued_events=box.waiting_events,
            oldest=box.oldest,
            behind=max(0, end - box.position.seq),
            dropped=box.total_dropped,
        )

    def last_word(self, oldest: Callable[[], Cursor]) -> Ended:
        """Why it ended, and where to go on; `oldest` is the first place that the log still reaches back to."""
        mailbox = self.subscription.mailbox
        reason, position = mailbox.ended, mailbox.position
        assert reason is not None, "it has ended"
        if reason is EndReason.HISTORY_LOST:
            first = oldest()
            error = HistoryLost(f"events after {position} are no longer kept", metadata={"oldest_cursor": str(first)})
            return Ended(self._name, reason, first, error)
        if reason is EndReason.SLOW_CONSUMER:
            slow = SlowConsumer("the reader did not keep up", metadata={"cursor": str(position)}, retry_after=1.0)
            return Ended(self._name, reason, position, slow)
        return Ended(self._name, reason, position)

    def _wake(self) -> None:
        self._news(self._name)


class Sight:
    """Which of the events that are addressed to somebody, or belong to somebody, one client may see."""

    __slots__ = ("_client_id", "_principal")

    def __init__(self, principal: Principal, client_id: str) -> None:
        self._principal = principal
        self._client_id = client_id

    def __call__(self, event: Event) -> bool:
        principal = self._principal
        if event.target:
            return event.target in (self._client_id, principal.id) and event.owner in ("", principal.id)
        return principal.may_see(event.owner)

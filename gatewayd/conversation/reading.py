"""One subscription as its connection sees it: how far the reader got, and what it may see."""

from collections.abc import Callable

from gatewayd.access.principals import Principal
from gatewayd.bus.base import EventBus, Subscription, SubscriptionSpec
from gatewayd.conversation.snapshots import Snapshots
from gatewayd.core.event import Cursor, Event
from gatewayd.core.filter import EventFilter


class Reading:
    """One subscription, and how far its reader got."""

    __slots__ = ("_name", "_news", "selection", "sent", "snapshots", "subscription", "told")

    subscription: Subscription
    told: Cursor
    """The last place that the reader was told of."""
    sent: Cursor
    """The place up to which it was sent everything, or was told of what it lost."""

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
        return self.sent

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

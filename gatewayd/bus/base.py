"""The event bus's contract: news to whoever subscribed, and nobody waits for anybody.

**Publishing never waits.** Every subscription has a mailbox bounded in bytes; a full one acts by its own policy
(`Overflow`) and no publisher and no other reader notices. What is published in one turn of the loop is handed out after
it; under load it gathers a little longer, so that one handing-out serves many events.

**Order.** Events of one stream arrive as they were published. Durable events come from the store after their commit
(the bus is the store's `EventSink`). An ephemeral event waits behind the durable ones of its stream that were submitted
before it; those of other streams do not hold it up.

**History.** A subscription with `since` reads the log from there, then goes over to live events without a gap and
without a repeat. When the log no longer reaches back that far it ends with HISTORY_LOST before the first event.

**Sight.** What a subscriber may see is decided by `visible`, given by whoever knows its principal; the filter only says
what it wants. Only events that are addressed (`target`) or belong to somebody (`owner`) are asked about: all others are
for everybody whose filter selects them. The answer depends on these two fields alone, and never changes.
"""

from asyncio import Future
from collections.abc import Callable, Iterable, Sequence
from typing import Protocol

from gatewayd.bus.budget import Budget
from gatewayd.bus.mailbox import Mailbox
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.frames import Overflow
from gatewayd.core.value import value
from gatewayd.storage.base import EventSink

__all__ = [
    "BusStats",
    "EventBus",
    "Subscription",
    "SubscriptionSpec",
]


@value(frozen=True, slots=True)
class SubscriptionSpec:
    """What a subscriber asks for."""

    selection: EventFilter
    visible: Callable[[Event], bool]
    """Whether an event with a target or an owner may be seen; see the module's docstring."""
    since: Cursor | None = None
    overflow: Overflow = Overflow.DISCONNECT
    buffer_bytes: int = 1 << 20
    """Bytes of events that may wait; between 4 KiB and the gateway's `limits.queue_bytes`."""
    budget: Budget | None = None
    """What all subscriptions of the connection may hold together; None: this one has no others beside it."""
    at_once: bool = False
    """Hand out at the end of the turn of the loop, without gathering: for readers that are no frame away."""


@value(frozen=True, slots=True)
class BusStats:
    """Figures for operators, since the start."""

    published: int
    by_type: dict[str, int]
    subscriptions: int
    delivered: int
    dropped: int
    """For lack of room: in the queue of a subscription, or while they waited for the commit of another."""
    slow_consumers: int


class Subscription(Protocol):
    """One subscriber's interest. Read its `mailbox`; close it when done."""

    @property
    def mailbox(self) -> Mailbox: ...

    @property
    def live(self) -> bool:
        """Whether it has caught up with the log, so that ephemeral events reach it, too."""
        ...

    def waiting(self) -> Iterable[Event]:
        """The events on their way to the reader that it has not taken yet, in order; while it catches up, those that
        were read."""
        ...

    def close(self) -> None:
        """No further event arrives. Safe to call twice."""
        ...


class EventBus(EventSink, Protocol):
    """See the module's docstring for what holds."""

    def subscribe(self, spec: SubscriptionSpec, wake: Callable[[], None]) -> Subscription:
        """Begin to receive. `wake` is called (on the loop, cheaply) whenever the mailbox stops being empty."""
        ...

    def publish(self, event: Event) -> None:
        """Publish an ephemeral event, behind the durable ones of its stream that were submitted before."""
        ...

    def unheard(self, kind: EventType) -> bool:
        """Whether nobody has subscribed to such events, whatever else they say: then it counts as published.

        An ephemeral one of the daemon's own, which is addressed to nobody, need not be made then.
        """
        ...

    def publish_with(self, events: Sequence[Event], stored: "Future[list[Event]]") -> None:
        """Publish the ephemeral events of a batch whose durable ones were submitted just now.

        `events` is the whole batch. Each of them comes where it stands among the durable ones; none comes if `stored`
        fails. Those for which there is no room are dropped.
        """
        ...

    def on_addressed(self, hear: Callable[[Event], None]) -> None:
        """Call `hear` with each event that has a target or is a broadcast, when it is its turn; once, at the start.

        Subscriptions that are live by then get the event, and those that catch up if it is durable.
        """
        ...

    def flush(self) -> None:
        """Hand out what has gathered to the mailboxes now, without waiting for its time."""
        ...

    @property
    def end(self) -> Cursor:
        """The place after everything that was delivered so far."""
        ...

    @property
    def oldest(self) -> Cursor:
        """The oldest place that a subscription can go on from."""
        ...

    def stats(self) -> BusStats: ...

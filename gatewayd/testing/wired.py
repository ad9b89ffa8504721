"""A bus over a store and readers of it, for the conformance suites of the bus."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from gatewayd.bus.base import EventBus, Subscription, SubscriptionSpec
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.frames import EndReason, Overflow
from gatewayd.storage.base import Store
from gatewayd.storage.records import Published

DEADLINE = 10.0
"""Seconds that any one wait may take."""
_ALL = EventFilter()


@dataclass
class Reader:
    """Takes from one subscription as soon as there is something."""

    subscription: Subscription
    news: asyncio.Event
    seen: list[Event] = field(default_factory=list)

    async def until(self, count: int) -> list[Event]:
        """Wait until that many events were taken, and return all."""
        async with asyncio.timeout(DEADLINE):
            while len(self.seen) < count:
                self.take()
                if len(self.seen) < count:
                    self.news.clear()
                    await self.news.wait()
        return self.seen

    async def ended(self) -> EndReason:
        """Wait until the subscription has ended; what was queued before is let go."""
        async with asyncio.timeout(DEADLINE):
            while (reason := self.subscription.mailbox.ended) is None:
                self.news.clear()
                await self.news.wait()
        return reason

    def take(self) -> None:
        """Take what waits."""
        self.seen += self.subscription.mailbox.take(1 << 20)


@dataclass
class Wired:
    """A bus that hears of a store's commits."""

    bus: EventBus
    store: Store
    made: int = 0

    def event(self, stream: str = "s", *, kind: EventType = EventType.CUSTOM, topic: str = "", text: str = "") -> Event:
        """A fresh event."""
        self.made += 1
        data = {"text": text} if kind is EventType.CUSTOM else {"content": text, "offset": 0}
        return Event(
            id=f"e{self.made}",
            type=kind,
            source="test",
            stream_id=stream,
            execution_id="x",
            topic=topic,
            time=float(self.made),
            custom_type="test" if kind is EventType.CUSTOM else "",
            durable=kind is EventType.CUSTOM,
            data=data,
        )

    def ephemeral(self, stream: str = "s") -> Event:
        """A fresh event that never touches the disk."""
        return self.event(stream, kind=EventType.LLM_TEXT_DELTA)

    async def append(self, *events: Event) -> list[Event]:
        """Make durable events so."""
        return await self.store.append([Published(event) for event in events], scope="")

    def read(
        self,
        selection: EventFilter = _ALL,
        *,
        since: Cursor | None = None,
        overflow: Overflow = Overflow.DISCONNECT,
        buffer: int = 1 << 20,
        visible: Callable[[Event], bool] = lambda _: True,
    ) -> Reader:
        """Subscribe."""
        news = asyncio.Event()
        spec = SubscriptionSpec(selection, visible, since, overflow, buffer)
        return Reader(self.bus.subscribe(spec, news.set), news)

"""The bus over a real store, as its tests use it."""

import asyncio
from pathlib import Path

from gatewayd.bus.base import SubscriptionSpec
from gatewayd.bus.memory import MemoryBus, MemorySubscription
from gatewayd.bus.pacer import SHARE
from gatewayd.core.clock import SeededRandomness, SystemClock
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.ids import IdSource
from gatewayd.core.topic import TopicPattern
from gatewayd.service import TaskSet
from gatewayd.storage.records import Published
from gatewayd.storage.sqlite import SQLiteStore
from gatewayd.wire import decode_event, encode_event


class Rig:
    """A bus and its store."""

    def __init__(self, place: Path, *, share: int = SHARE) -> None:
        self.clock = SystemClock()
        self.ids = IdSource(self.clock, SeededRandomness(1))
        self.tasks = TaskSet("bus")
        self.bus = MemoryBus(self.tasks, self.clock, share=share)
        self.store = SQLiteStore(
            place / "gateway.db",
            clock=self.clock,
            ids=self.ids,
            sink=self.bus,
            encode=encode_event,
            decode=decode_event,
            on_failed=lambda _error: None,
        )

    async def __aenter__(self) -> "Rig":
        await self.store.open()
        self.bus.attach(self.store)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.tasks.close()
        await self.store.close()

    def event(self, number: int, topic: str = "t", **more: object) -> Event:
        return Event(
            id=f"id-{number}-{topic}",
            type=EventType.CUSTOM,
            source="x",
            stream_id=str(more.pop("stream_id", "s")),
            time=1.0,
            topic=topic,
            custom_type="note",
            data={"json": {"n": number}},
            **more,  # type: ignore[arg-type]
        )

    async def append(self, *events: Event) -> Cursor:
        stamped = await self.store.append([Published(event) for event in events], scope="")
        assert stamped[-1].cursor is not None
        return stamped[-1].cursor

    def subscribe(self, topic: str = "t", since: Cursor | None = None, **more: object) -> "Reader":
        selection = EventFilter(topic=TopicPattern.parse(topic))
        spec = SubscriptionSpec(selection, more.pop("visible", lambda _event: True), since, **more)  # type: ignore[arg-type]
        return Reader(self.bus, spec)


class Reader:
    """Takes events one by one."""

    def __init__(self, bus: MemoryBus, spec: SubscriptionSpec) -> None:
        self.news = asyncio.Event()
        self.subscription: MemorySubscription = bus.subscribe(spec, self.news.set)

    async def take(self, count: int) -> list[int]:
        seen: list[int] = []
        async with asyncio.timeout(60):
            while len(seen) < count:
                self.news.clear()
                seen += [int(event.id.split("-")[1]) for event in self.subscription.mailbox.take(1)]
                if not self.subscription.mailbox.has_news:
                    await asyncio.sleep(0)
                    if len(seen) < count and not self.subscription.mailbox.has_news:
                        await self.news.wait()
        return seen

"""Whatever a client does, what is addressed to it arrives, once: durable events and ephemeral ones, in order.

To it, to its principal, or to an agent that it answers for whenever it is there. Over a real bus and a real log, with
subscriptions that come and go, catch up, and connections that break, also while a frame is written; the next one
resumes.
"""

import asyncio
import random
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from gatewayd.access.principals import Principal
from gatewayd.access.scopes import EVERY_SCOPE
from gatewayd.bus.memory import MemoryBus
from gatewayd.conversation.agent_mail import AgentMail
from gatewayd.conversation.client import Left
from gatewayd.conversation.directory import ALL_AWAY_BYTES, AWAY_BYTES, Directory
from gatewayd.conversation.subscriptions import Subscriptions
from gatewayd.core.chunk import EVENT_OVERHEAD, Chunk
from gatewayd.core.clock import SeededRandomness
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.frames import Delivery, Ended, EndReason, Gap, LostSubscription, Subscribe
from gatewayd.core.ids import IdSource
from gatewayd.core.topic import TopicPattern
from gatewayd.service import TaskSet
from gatewayd.storage.records import Published
from gatewayd.storage.sqlite import SQLiteStore
from gatewayd.testing.fakes import FakeClock
from gatewayd.wire import decode_event, encode_event

TOPICS = ("a", "b", "c")


class Story:
    """One client called `me`, and somebody who publishes to it."""

    def __init__(self, place: Path, chance: random.Random) -> None:
        self.chance = chance
        self.clock = FakeClock()
        self.tasks = TaskSet("story")
        self.bus = MemoryBus(self.tasks, self.clock)
        self.store = SQLiteStore(
            place / "gateway.db",
            clock=self.clock,
            ids=IdSource(self.clock, SeededRandomness(1)),
            sink=self.bus,
            encode=encode_event,
            decode=decode_event,
            on_failed=lambda _error: None,
        )
        mail = AgentMail(
            self.clock, is_remote=lambda name: name == "desk", kept=lambda: 60.0, queue_bytes=lambda: 1 << 20
        )
        mail.reaches("desk", "bob")
        self.directory = Directory(self.clock, mail, is_agent=lambda _name: False, queue_bytes=lambda: 1 << 20)
        self.bus.on_addressed(self.directory.deliver)
        self.principal = Principal("ann", EVERY_SCOPE)
        self.connection: Any = None
        self.token = ""
        self.lost: tuple[LostSubscription, ...] = ()
        self.wanted: dict[str, str] = {}
        """Topics of the subscriptions, by id."""
        self.sent: list[tuple[int, bool]] = []
        """Numbers, and whether they are durable."""
        self.seen: list[tuple[int, str]] = []
        """Numbers, and the way they came: the subscription that brought them, '' for none, or the agent's mail."""
        self.writing: list[asyncio.Future[list[Event]]] = []
        self.made = 0

    # What may happen

    async def publish(self) -> None:
        durable, number = self.chance.random() < 0.6, len(self.sent)
        target = self.chance.choice(["me", "ann", "desk"])
        event = Event(
            str(number),
            EventType.CUSTOM,
            "x",
            "s",
            1.0,
            {"n": number},
            target=target,
            owner="bob" if target == "desk" else "ann",
            topic=self.chance.choice(TOPICS),
            custom_type="note",
            durable=durable,
        )
        self.sent.append((number, durable))
        if durable:
            writing = self.store.append([Published(event)], scope="")
            self.writing.append(writing)
            if self.chance.random() < 0.7:
                await writing
        else:
            self.bus.publish(event)

    async def subscribe(self, since: Cursor | None = None, topic: str = "") -> None:
        if self.connection is None or (not topic and len(self.wanted) > 3):
            return
        self.made += 1
        topic = topic or self.chance.choice([each for each in TOPICS if each not in self.wanted.values()] or [""])
        if not topic:
            return
        name = f"s{self.made}"
        selection = EventFilter(topic=TopicPattern.parse(topic))
        self.connection.subscriptions.add(Subscribe("r", name, selection, since), self.principal, "me", 1 << 20)
        self.wanted[name] = topic

    async def unsubscribe(self) -> None:
        """Only once all that it brings was taken: the rest would be given up."""
        if self.connection is not None and self.wanted:
            await self.drain()
            name = self.chance.choice(sorted(self.wanted))
            del self.wanted[name]
            self.connection.subscriptions.remove(name)

    async def read(self) -> None:
        for _ in range(self.chance.randrange(1, 4)):
            self.take()

    def take(self) -> bool:
        if self.connection is None:
            return False
        frame = self.connection.subscriptions.next_frame()
        if frame is None:
            return False
        assert not isinstance(frame, Gap | Ended), frame
        assert isinstance(frame, Delivery)
        way = ",".join(frame.subscription_ids)
        for event in frame.chunk.events:
            assert event.target != "desk" or not way, "a subscription has brought what is for an agent"
            self.seen.append((int(event.id), event.target if event.target == "desk" else way))
        self.connection.subscriptions.sent()
        return True

    async def settle(self) -> None:
        """All that is under way has its turn."""
        await self.clock.settle()
        self.bus.flush()

    async def cut(self) -> None:
        if self.connection is None:
            return
        if self.chance.random() < 0.5:
            self.connection.subscriptions.next_frame()  # its write breaks off
        one, self.connection = self.connection, None
        filters = one.subscriptions.filters
        self.directory.served(one, "desk", served=False)
        self.lost = one.subscriptions.lost(EndReason.CONNECTION_LOST)
        left = Left(self.token, self.lost, filters, (), "", 0.0, 0.0, self.clock.monotonic() + 60.0)
        self.directory.leave(one, left)

    async def come_back(self) -> None:
        """With the token: subscribe anew from the cursors, perhaps a little later."""
        if self.connection is not None:
            return
        subscriptions = Subscriptions(bus=self.bus, oldest=lambda: self.bus.oldest, wake=lambda: None)
        self.connection = SimpleNamespace(principal=self.principal, client_id="me", subscriptions=subscriptions)
        left = self.directory.connect(cast(Any, self.connection), self.token)
        self.directory.served(self.connection, "desk", served=True)
        before, self.wanted = self.wanted, {}
        assert (left is not None) == bool(self.token)
        self.token = "again"
        if self.chance.random() < 0.5:
            await self.publish()
        for each in self.lost:
            await self.subscribe(each.cursor, before[each.subscription_id])
        self.lost = ()

    async def drain(self) -> None:
        """Until nothing comes any more."""
        await asyncio.gather(*self.writing)
        self.writing.clear()
        idle = 0
        while idle < 20:
            await self.settle()
            idle = 0 if self.take() else idle + 1
            if idle:
                await self.store.read_forward(0, EventFilter(), 1)  # a turn for what reads from the disk


async def test_one_that_begins_anew_gets_what_its_subscriptions_had_not_brought(tmp_path: Path) -> None:
    """It has no cursors: what was written, what waited and what had gathered comes to the connection itself."""
    story = Story(tmp_path, random.Random(1))
    await story.store.open()
    story.bus.attach(story.store)
    try:
        await story.come_back()
        for topic in TOPICS:
            await story.subscribe(topic=topic)
        for _ in range(5):
            await story.publish()
        await asyncio.gather(*story.writing)
        story.bus.flush()
        assert story.connection.subscriptions.next_frame() is not None
        for _ in range(5):
            await story.publish()
        await asyncio.gather(*story.writing)
        await story.cut()
        story.token, story.lost = "", ()
        await story.come_back()
        await story.drain()
    finally:
        await story.tasks.close()
        await story.store.close()

    assert sorted(number for number, _ in story.seen) == [number for number, _ in story.sent]
    assert {way for _, way in story.seen} <= {"", "desk"}


async def test_history_that_a_subscription_was_reading_again_is_not_addressed_anew(tmp_path: Path) -> None:
    story = Story(tmp_path, random.Random(1))
    await story.store.open()
    story.bus.attach(story.store)
    try:
        await story.come_back()
        begin = story.bus.end
        for _ in range(10):
            await story.publish()
        await story.drain()
        seen, story.seen = story.seen, []
        for topic in TOPICS:
            await story.subscribe(begin, topic)
        await story.settle()
        await story.cut()
        story.token, story.lost = "", ()
        await story.come_back()
        await story.drain()
    finally:
        await story.tasks.close()
        await story.store.close()

    assert len(seen) >= 10
    assert {number for number, _ in seen} & {number for number, _ in story.seen} == set()


async def test_what_waits_for_clients_that_are_away_is_bounded_from_the_moment_they_leave(tmp_path: Path) -> None:
    """Beside a reader that does not read, megabytes may wait; they are not kept for all that leave so."""
    story = Story(tmp_path, random.Random(1))
    events = [
        Event(str(number), EventType.CUSTOM, "x", "s", 1.0, durable=False, custom_type="n", wire=b"x" * 1000)
        for number in range(2000)
    ]
    left = 300
    for client in range(left):
        principal = Principal(f"p{client}", EVERY_SCOPE)
        subscriptions = Subscriptions(bus=story.bus, oldest=lambda: story.bus.oldest, wake=lambda: None)
        there = SimpleNamespace(principal=principal, client_id="me", subscriptions=subscriptions)
        story.directory.connect(cast(Any, there), "")
        for event in events[: 2000 if client < 2 else 400]:
            subscriptions.inbox.put(Chunk((event,)), 4 << 20)
        subscriptions.lost(EndReason.CONNECTION_LOST)
        story.directory.leave(cast(Any, there), Left("t", (), (), (), "", 0.0, 0.0, story.clock.monotonic() + 60.0))

    inboxes = [client.inbox for client in story.directory.away()]
    assert len(inboxes) == left
    assert max(inbox.bytes for inbox in inboxes) <= AWAY_BYTES
    assert sum(inbox.bytes for inbox in inboxes) <= ALL_AWAY_BYTES + 1000 + EVENT_OVERHEAD
    assert {inbox.events + inbox.dropped for inbox in inboxes} == {2000, 400}
    assert min(inbox.events for inbox in inboxes[:200]) > 200


@pytest.mark.parametrize("seed", range(25))
async def test_each_event_arrives_once_and_each_way_is_in_order(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    story = Story(tmp_path, chance)
    await story.store.open()
    story.bus.attach(story.store)
    try:
        await story.come_back()
        steps = [story.publish] * 6 + [story.read] * 4 + [story.subscribe, story.unsubscribe, story.settle]
        steps += [story.cut, story.come_back]
        for _ in range(150):
            await chance.choice(steps)()
        await story.come_back()
        await story.drain()
    finally:
        await story.tasks.close()
        await story.store.close()

    count = Counter(number for number, _ in story.seen)
    assert {number for number, _ in story.sent} - set(count) == set(), "some are missing"
    assert [number for number, times in count.items() if times > 1] == [], "some came twice"
    for way in {way for _, way in story.seen}:
        numbers = [number for number, its_way in story.seen if its_way == way]
        durable = [number for number in numbers if dict(story.sent)[number]]
        assert durable == sorted(durable), way

"""The whole bus against a model of it: whatever is mixed, each reader gets what is for it, once and in order.

Durable and ephemeral events of several streams, owners and targets; readers from now on and from cursors, slow ones,
ones that share a budget, ones that leave and come back. The model is one list of what was published.
"""

import asyncio
import random
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import pytest
from bus_rig import Rig

from gatewayd.bus.base import SubscriptionSpec
from gatewayd.bus.budget import Budget
from gatewayd.bus.memory import MemorySubscription
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.frames import EndReason, Overflow
from gatewayd.core.topic import TopicPattern
from gatewayd.storage.records import Published

STREAMS = ("s", "t", "u")
TOPICS = ("", "a", "a.b", "b")
NOBODY, MINE, OTHERS = "", "me", "them"
STEPS = 250


def pick_filter(chance: random.Random) -> EventFilter:
    pattern = chance.choice(("", "", ">", "a", "a.*", "b"))
    return EventFilter(
        types=chance.choice((None, None, frozenset({EventType.CUSTOM}))),
        stream_id=chance.choice(("", "", *STREAMS)),
        topic=TopicPattern.parse(pattern) if pattern else None,
    )


class World:
    """The bus, what was published to it, and who reads."""

    def __init__(self, rig: Rig, chance: random.Random) -> None:
        self.rig = rig
        self.chance = chance
        self.made: list[Event] = []
        """Everything in the order in which it was published."""
        self.number: dict[str, int] = {}
        self.pending: list[asyncio.Future[list[Event]]] = []
        self.log: list[Event] = []
        """What is on disk, in order."""
        self.readers: list[Reader] = []
        self.budget = Budget(30_000)

    def event(self, *, durable: bool) -> Event:
        chance = self.chance
        event = Event(
            id=f"e{len(self.made)}",
            type=EventType.CUSTOM,
            source="x",
            stream_id=chance.choice(STREAMS),
            time=1.0,
            data={"json": {"x": "x" * chance.choice((1, 10, 100, 3000, 20_000))}},
            topic=chance.choice(TOPICS),
            target=chance.choice(("", "", "", "", MINE, OTHERS)),
            owner=chance.choice((NOBODY, NOBODY, MINE, OTHERS)),
            custom_type="note",
            durable=durable,
        )
        self.number[event.id] = len(self.made)
        self.made.append(event)
        return event

    def append(self) -> None:
        batch = [Published(self.event(durable=True)) for _ in range(self.chance.choice((1, 1, 2, 5, 30)))]
        self.pending.append(self.rig.store.append(batch, scope=""))

    def publish(self) -> None:
        """Ephemeral ones; who is live by now gets them."""
        for _ in range(self.chance.choice((1, 1, 3, 20))):
            event = self.event(durable=False)
            for reader in self.readers:
                reader.published(event)
            self.rig.bus.publish(event)

    async def settle(self) -> None:
        """Until everything that was submitted is on disk."""
        for stored in self.pending:
            self.log.extend(await stored)
        self.pending.clear()

    async def finish(self) -> None:
        """Take turns until nothing is left: those who share a budget wait for each other."""
        async with asyncio.timeout(60):
            while unfinished := [reader for reader in self.readers if not reader.done]:
                self.rig.bus.flush()
                for reader in unfinished:
                    reader.take()
                await asyncio.sleep(0.001)  # a loop that never rests keeps the interpreter from the store's threads

    def subscribe(self) -> None:
        places = [None, None, Cursor(self.rig.bus.end.epoch, self.chance.randint(0, self.rig.bus.end.seq))]
        self.readers.append(Reader(self, self.chance.choice(places)))

    async def step(self) -> None:
        chance = self.chance
        action = chance.choices(
            ("append", "publish", "subscribe", "take", "leave", "flush", "wait", "settle", "forget"),
            (20, 20, 6, 40, 4, 6, 30, 4, 1),
        )[0]
        if action == "append":
            self.append()
        elif action == "publish":
            self.publish()
        elif action == "subscribe" and len(self.readers) < 20:
            self.subscribe()
        elif action in ("take", "leave") and self.readers:
            reader = chance.choice(self.readers)
            reader.take() if action == "take" else reader.come_back()
        elif action == "flush":
            self.rig.bus.flush()
        elif action == "wait":
            for _ in range(chance.randint(1, 5)):
                await asyncio.sleep(0)
        elif action == "settle":
            await self.settle()
        elif action == "forget":
            self.rig.bus.erased()


class Reader:
    """Goes on from its place whenever it is ended, or leaves by itself."""

    def __init__(self, world: World, since: Cursor | None) -> None:
        chance = world.chance
        self.world = world
        self.selection = pick_filter(chance)
        self.who = chance.choice((MINE, OTHERS))
        self.overflow = chance.choice((Overflow.DISCONNECT, Overflow.DISCONNECT, Overflow.DROP_OLDEST))
        self.buffer = chance.choice((4096, 20_000, 1 << 20))
        self.budget = chance.choice((None, None, world.budget))
        self.subscription: MemorySubscription
        self.seen: list[Event] = []
        self.lost = 0
        self.lost_to = 0
        self.owed: dict[str, None] = {}
        """Ephemeral events that have to come as long as the subscription lasts and nothing is dropped."""
        self._begin(since)
        self.start = since or world.rig.bus.end

    def _begin(self, since: Cursor | None) -> None:
        spec = SubscriptionSpec(self.selection, self.visible, since, self.overflow, self.buffer, self.budget)
        self.subscription = self.world.rig.bus.subscribe(spec, lambda: None)

    def visible(self, event: Event) -> bool:
        return event.target in ("", self.who) and event.owner in (NOBODY, self.who)

    def wants(self, event: Event) -> bool:
        return self.selection.matches(event) and self.visible(event)

    def published(self, event: Event) -> None:
        if self.subscription.live and self.wants(event):
            self.owed[event.id] = None

    def take(self) -> None:
        box = self.subscription.mailbox
        if box.dropped:
            count, place = box.take_gap()
            self.lost += count
            if place is not None:
                assert place.seq > max([self.lost_to, *(event.seq for event in self.seen[-50:])])
                self.lost_to = place.seq
            self.owed.clear()
        for event in box.take(self.world.chance.choice((1, 5000, 1 << 20))):
            self.owed.pop(event.id, None)
            self.seen.append(event)
        self.check_place(box.position)
        if box.ended is not None:
            assert box.ended is EndReason.SLOW_CONSUMER
            assert self.overflow is Overflow.DISCONNECT
            self.come_back()

    def come_back(self) -> None:
        """What it knows is the place up to which it took."""
        while self.subscription.mailbox.dropped:
            self.take()
        self.subscription.close()
        self.owed.clear()
        self._begin(self.subscription.mailbox.position)

    def check_place(self, place: Cursor) -> None:
        """Nothing that is for it lies before its place and was neither taken nor lost."""
        if self.overflow is Overflow.DISCONNECT:
            assert [event.seq for event in self.seen if event.seq] == [
                event.seq for event in self.due() if event.seq <= place.seq
            ]

    def due(self) -> Sequence[Event]:
        known = self.world.log
        return [event for event in known if event.seq > self.start.seq and self.wants(event)]

    @property
    def done(self) -> bool:
        box = self.subscription.mailbox
        return not box.has_news and box.position == self.world.rig.bus.end

    def check(self) -> None:
        """All that the model says of what it got."""
        ids = [event.id for event in self.seen]
        assert not [each for each, times in Counter(ids).items() if times > 1]
        assert all(self.wants(event) for event in self.seen)
        places = [event.seq for event in self.seen if event.seq]
        assert places == sorted(places)
        for stream in STREAMS:
            numbers = [self.world.number[event.id] for event in self.seen if event.stream_id == stream]
            assert numbers == sorted(numbers), "a stream is out of order"
        missing = {event.seq for event in self.due()} - set(places)
        if self.overflow is Overflow.DISCONNECT:
            assert not missing
        else:
            assert len(missing) <= self.lost
            assert max(missing, default=0) <= self.lost_to
        assert not self.owed, "what came while it was live did not reach it"


@pytest.mark.parametrize("seed", range(12))
async def test_every_reader_gets_what_is_for_it(tmp_path: Path, seed: int) -> None:
    """Checked at every take, and once more at the end; then nothing is left in the bus."""
    async with Rig(tmp_path, share=1 + seed % 3) as rig:
        world = World(rig, random.Random(seed))
        for _ in range(STEPS):
            await world.step()
            # What is committed is known to the model only from here on, and to readers not before.
            if any(stored.done() for stored in world.pending):
                await world.settle()
        await world.settle()
        await world.finish()
        for reader in world.readers:
            reader.check()
            reader.subscription.close()

        assert world.readers
        assert world.budget.used == 0
        assert rig.bus.stats().subscriptions == 0
        assert not rig.bus._roster._groups
        assert not rig.bus._index._shapes

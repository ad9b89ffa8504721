"""Where a subscription that is lost may be taken up: never behind an event that was not handed to the transport."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatewayd.access.principals import local_principal
from gatewayd.bus.memory import MemoryBus
from gatewayd.conversation.subscriptions import MAX_SUBSCRIPTIONS, Subscriptions
from gatewayd.core.clock import SeededRandomness
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.frames import Delivery, Ended, EndReason, Gap, Overflow, Subscribe
from gatewayd.core.ids import IdSource
from gatewayd.service import TaskSet
from gatewayd.storage.records import Published
from gatewayd.storage.sqlite import SQLiteStore
from gatewayd.testing.fakes import FakeClock
from gatewayd.wire import decode_event, encode_event

MOST = 1 << 20


class Reader:
    """The subscriptions of one connection over a real bus and store."""

    def __init__(self, place: Path) -> None:
        clock = FakeClock()
        self.tasks = TaskSet("bus")
        self.bus = MemoryBus(self.tasks, clock)
        self.store = SQLiteStore(
            place / "gateway.db",
            clock=clock,
            ids=IdSource(clock, SeededRandomness(1)),
            sink=self.bus,
            encode=encode_event,
            decode=decode_event,
            on_failed=lambda _error: None,
        )
        self.subscriptions = Subscriptions(bus=self.bus, oldest=lambda: self.bus.oldest, wake=lambda: None)
        self.made = 0

    def subscribe(self, overflow: Overflow = Overflow.DISCONNECT, buffer: int = MOST) -> Cursor:
        request = Subscribe("r", "s", EventFilter(), overflow=overflow, buffer_bytes=buffer)
        accepted = self.subscriptions.add(request, local_principal(), "me", MOST)
        assert accepted.cursor is not None
        return accepted.cursor

    async def append(self, count: int = 1) -> Cursor:
        events = []
        for _ in range(count):
            self.made += 1
            data = {"json": {"text": "x" * 1000}}
            events.append(
                Event(f"e{self.made}", EventType.CUSTOM, "x", "s", 1.0, data, custom_type="note"),
            )
        stamped = await self.store.append([Published(event) for event in events], scope="")
        self.bus.flush()
        assert stamped[-1].cursor is not None
        return stamped[-1].cursor

    def lost(self) -> Cursor | None:
        (lost,) = self.subscriptions.lost(EndReason.CONNECTION_LOST)
        return lost.cursor


@pytest.fixture
async def reader(tmp_path: Path) -> AsyncIterator[Reader]:
    made = Reader(tmp_path)
    await made.store.open()
    made.bus.attach(made.store)
    yield made
    await made.tasks.close()
    await made.store.close()


async def test_a_frame_that_is_on_its_way_is_not_counted_as_sent(reader: Reader) -> None:
    """The connection broke while it was written: the next one begins before it."""
    reader.subscribe()
    first = await reader.append()
    assert isinstance(reader.subscriptions.next_frame(), Delivery)
    reader.subscriptions.sent()
    await reader.append()
    assert isinstance(reader.subscriptions.next_frame(), Delivery)

    assert reader.lost() == first


async def test_a_frame_that_was_handed_over_is(reader: Reader) -> None:
    """And what waits behind it is not."""
    reader.subscribe()
    first = await reader.append()
    assert isinstance(reader.subscriptions.next_frame(), Delivery)
    reader.subscriptions.sent()
    await reader.append()

    assert reader.lost() == first


async def test_a_reader_with_nothing_to_read_is_at_the_end_of_the_log(reader: Reader) -> None:
    """What was looked at and does not concern it needs no frame."""
    start = reader.subscribe()
    assert reader.lost() == start


async def test_what_was_dropped_and_not_told_lies_behind_the_place(reader: Reader) -> None:
    """Taken up there, the log brings it again; once the gap was told, it does not."""
    reader.subscribe(Overflow.DROP_OLDEST, buffer=4096)
    first = await reader.append()
    assert isinstance(reader.subscriptions.next_frame(), Delivery)
    reader.subscriptions.sent()
    for _ in range(20):
        await reader.append()
    (reading,) = reader.subscriptions._all.values()
    one = reading.subscription
    assert one.mailbox.dropped > 0
    assert reader.subscriptions._place(reading) == first

    gap = reader.subscriptions.next_frame()
    assert isinstance(gap, Gap)
    assert reader.subscriptions._place(reading) == first
    reader.subscriptions.sent()
    assert reader.lost() == gap.cursor


async def test_a_last_word_that_is_on_its_way_may_be_lost(reader: Reader) -> None:
    """The next connection tells of the subscription, and why it ended; once that was handed over, of none."""
    for is_sent in (False, True):
        start = reader.subscribe(buffer=4096)
        for _ in range(20):
            await reader.append()
        ended = reader.subscriptions.next_frame()
        assert isinstance(ended, Ended)
        if is_sent:
            reader.subscriptions.sent()
        assert len(reader.subscriptions.filters) == (not is_sent)
        told = [] if is_sent else [("s", EndReason.SLOW_CONSUMER, start)]
        lost = reader.subscriptions.lost(EndReason.CONNECTION_LOST)
        assert [(one.subscription_id, one.reason, one.cursor) for one in lost] == told


async def test_one_that_began_anew_behind_a_last_word_is_lost_once(reader: Reader) -> None:
    """The client had read it, and the write was not over yet."""
    reader.subscribe(buffer=4096)
    for _ in range(20):
        last = await reader.append()
    assert isinstance(reader.subscriptions.next_frame(), Ended)
    reader.subscribe()

    assert reader.lost() == last


async def test_a_frame_on_its_way_says_nothing_of_a_new_subscription_with_its_id(reader: Reader) -> None:
    """The client unsubscribed and began anew from an earlier place while the frame was written."""
    start = reader.subscribe()
    await reader.append(3)
    assert isinstance(reader.subscriptions.next_frame(), Delivery)
    reader.subscriptions.remove("s")
    reader.subscriptions.add(Subscribe("r", "s", EventFilter(), since=start), local_principal(), "me", MOST)
    await reader.append()
    reader.subscriptions.sent()
    assert isinstance(reader.subscriptions.next_frame(), Delivery)

    assert reader.lost() == start


async def test_what_was_dropped_is_told_before_the_place_behind_it(reader: Reader) -> None:
    """Another subscription has used up what the connection may hold, so that this one has nothing but a gap."""
    full = Subscribe("r", "full", EventFilter(), overflow=Overflow.DROP_OLDEST)
    reader.subscriptions.add(full, local_principal(), "me", 4096)
    reader.subscribe(Overflow.DROP_OLDEST)
    reader.subscriptions._budget.limit = 4096
    end = await reader.append(8)

    assert not [each for each in reader.subscriptions.progress() if "s" in each.subscription_ids]
    frames = [reader.subscriptions.next_frame() for _ in range(4)]
    (gap,) = [frame for frame in frames if isinstance(frame, Gap) and frame.subscription_id == "s"]
    assert gap.cursor is not None
    assert gap.cursor <= end


async def test_lost_subscriptions_that_are_expected_back_are_bounded(reader: Reader) -> None:
    """However many a client begins from places that are gone."""
    await reader.append()
    for number in range(MAX_SUBSCRIPTIONS + 10):
        selection = EventFilter(stream_id=str(number))
        request = Subscribe("r", "s", selection, since=Cursor("another log", 1))
        reader.subscriptions.add(request, local_principal(), "me", MOST)
        ended = reader.subscriptions.next_frame()
        assert isinstance(ended, Ended)
        assert ended.reason is EndReason.HISTORY_LOST

    assert len(reader.subscriptions._expected) == MAX_SUBSCRIPTIONS

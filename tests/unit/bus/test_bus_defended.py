"""Readers that are ended, readers that fail and a log that is cut, each at the moment when others depend on it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bus_rig import Rig

from gatewayd.bus.base import SubscriptionSpec
from gatewayd.bus.budget import Budget
from gatewayd.bus.group import CHUNK_BYTES
from gatewayd.bus.waiting import wait_for
from gatewayd.core.errors import HistoryLost, StoreCorrupt, StoreFailed
from gatewayd.core.event import Cursor, Event
from gatewayd.core.filter import EventFilter
from gatewayd.core.frames import EndReason
from gatewayd.storage.records import EventPage, Published
from gatewayd.storage.retention import Limits, Retention
from gatewayd.testing.store_cases import samples
from gatewayd.wire import data_of

LARGE = {"json": {"n": "x" * 8000}}


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with Rig(tmp_path) as rig:
        yield rig


def large(rig: Rig, number: int, topic: str = "t", *, durable: bool = True) -> Event:
    event = rig.event(number, topic, durable=durable)
    return Event(**{name: getattr(event, name) for name in event.__slots__} | {"data": LARGE})


async def test_one_that_joins_while_the_last_of_its_filter_is_ended_hears_everything(rig: Rig) -> None:
    """What had gathered for the slow one ended it, and its group with it."""
    slow = rig.subscribe(buffer_bytes=4096)
    await rig.append(rig.event(1))
    rig.bus.flush()
    rig.bus.publish(large(rig, 2, durable=False))

    late = rig.subscribe()
    assert slow.subscription.mailbox.ended is EndReason.SLOW_CONSUMER
    await rig.append(rig.event(3))

    assert await late.take(1) == [3]


async def test_one_that_others_leave_no_room_goes_on_before_what_it_missed(rig: Rig) -> None:
    """Its own mailbox is empty; the budget of its connection is used up."""
    budget = Budget(1000)
    full, empty = rig.subscribe("a", budget=budget), rig.subscribe("b", budget=budget)
    before = await rig.append(large(rig, 1, "a"))
    rig.bus.flush()
    await rig.append(rig.event(2, "b"))
    rig.bus.flush()

    assert full.subscription.mailbox.ended is None
    assert empty.subscription.mailbox.ended is EndReason.SLOW_CONSUMER
    assert empty.subscription.mailbox.position == before


async def test_a_wait_ends_at_its_event_whoever_the_following_are_for(rig: Rig) -> None:
    """The events come in several parts, since one of them is not for everybody; all parts in one go."""
    rig.subscribe()
    waiting = asyncio.create_task(
        wait_for(
            rig.bus,
            rig.store,
            rig.clock,
            selection=rig.subscribe().subscription.spec.selection,
            visible=lambda event: event.owner != "somebody",
            timeout=60,
        )
    )
    await asyncio.sleep(0)
    await rig.append(rig.event(1), rig.event(2, owner="somebody"), rig.event(3))

    waited = await waiting
    assert waited.event is not None
    assert waited.cursor == waited.event.cursor


class CutLog:
    """A log that is cut after its state was looked at and before its page is read."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig
        self._read = rig.store.read_forward
        self.cuts = 0

    async def read_forward(self, after: int, selection: EventFilter, limit: int) -> EventPage:
        if limit > 1 and not self.cuts:
            self.cuts += 1
            await self._rig.store.sweep(Retention({"events": Limits(max_count=5)}), 2.0)
        return await self._read(after, selection, limit)


async def test_history_that_is_deleted_while_it_is_read_is_told(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never a page without its beginning."""
    places = [await rig.append(rig.event(number)) for number in range(20)]
    rig.bus.erased()
    cut = CutLog(rig)
    monkeypatch.setattr(rig.store, "read_forward", cut.read_forward)

    reader = rig.subscribe(since=places[2])
    async with asyncio.timeout(60):
        await reader.news.wait()

    assert cut.cuts == 1
    assert reader.subscription.mailbox.take(1 << 20) == []
    assert reader.subscription.mailbox.ended is EndReason.HISTORY_LOST


async def test_a_look_back_tells_of_history_that_is_deleted_meanwhile(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wait of no time reads the log by itself."""
    places = [await rig.append(rig.event(number)) for number in range(20)]
    monkeypatch.setattr(rig.store, "read_forward", CutLog(rig).read_forward)

    with pytest.raises(HistoryLost):
        await wait_for(
            rig.bus,
            rig.store,
            rig.clock,
            selection=EventFilter(),
            visible=lambda _event: True,
            timeout=0,
            since=places[2],
        )


async def test_history_that_cannot_be_read_ends_its_reader(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is told, with the place to try again from; a wait raises."""
    places = [await rig.append(rig.event(number)) for number in range(3)]
    rig.bus.erased()

    async def damaged(_after: int, _selection: EventFilter, _limit: int) -> EventPage:
        raise StoreCorrupt("event 2 is damaged")

    monkeypatch.setattr(rig.store, "read_forward", damaged)
    reader = rig.subscribe(since=places[0])
    async with asyncio.timeout(60):
        await reader.news.wait()

    assert reader.subscription.mailbox.ended is EndReason.CONNECTION_LOST
    assert reader.subscription.mailbox.position == places[0]
    with pytest.raises(StoreFailed):
        await wait_for(
            rig.bus,
            rig.store,
            rig.clock,
            selection=EventFilter(),
            visible=lambda _event: True,
            timeout=60,
            since=places[0],
        )


async def test_a_reader_whose_wake_fails_stops_nobody_else(rig: Rig, caplog: pytest.LogCaptureFixture) -> None:
    """Neither those of other filters in the same handing-out, nor what comes later."""
    failing = rig.subscribe("a")

    def broken() -> None:
        raise RuntimeError("this reader is broken")

    failing.subscription.mailbox._wake = broken
    other = rig.subscribe("b")
    await rig.append(rig.event(1, "a"), rig.event(2, "b"))
    assert await other.take(1) == [2]
    await rig.append(rig.event(3, "b"))
    assert await other.take(1) == [3]
    assert "handing_out_failed" in caplog.text


async def test_a_place_is_not_ahead_of_what_one_commit_brings_in_parts(rig: Rig) -> None:
    """The first part is handed out by its size, in the middle of the commit; the rest is not there yet."""
    reader = rig.subscribe()
    seen: list[int] = []

    def take() -> None:
        seen.extend(event.seq for event in reader.subscription.mailbox.take(CHUNK_BYTES * 2))
        places.append(reader.subscription.mailbox.position)

    places: list[Cursor] = []
    reader.subscription.mailbox._wake = take
    await rig.append(*(large(rig, number) for number in range(50)))
    rig.bus.flush()

    assert seen == list(range(1, 51))
    assert len(places) > 1
    assert all(place.seq in seen for place in places)
    assert [place.seq for place in places] == sorted({place.seq for place in places})


async def test_what_is_erased_in_the_commit_that_brought_it_is_kept_nowhere(rig: Rig) -> None:
    """A reader who comes later gets the event as it is in the log: without its content."""
    start = await rig.append(rig.event(1))
    acceptance = samples.acceptance(1)
    assert acceptance.execution is not None
    session = acceptance.execution.session_id
    await rig.store.accept(acceptance)
    rig.store.append([Published(rig.event(2))], scope="")  # a commit is under way, the next two share theirs
    rig.store.append([Published(rig.event(3, session_id=session))], scope="")
    assert await rig.store.erase_session(session)

    spec = SubscriptionSpec(EventFilter(session_id=session), lambda _event: True, start)
    news = asyncio.Event()
    mailbox = rig.bus.subscribe(spec, news.set).mailbox
    async with asyncio.timeout(60):
        await news.wait()
    (event,) = mailbox.take(1 << 20)
    assert event.id == "id-3-t"
    assert not data_of(event)

"""The bus over a real store: live events, catch-up from the log without gap or repeat, and lost history."""

import asyncio
import random
from collections.abc import AsyncIterator
from itertools import pairwise
from pathlib import Path

import pytest
from bus_rig import Rig

from gatewayd.core.errors import IdConflict
from gatewayd.core.event import Cursor
from gatewayd.core.frames import EndReason, Overflow
from gatewayd.storage.records import Published
from gatewayd.storage.retention import Limits, Retention


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    async with Rig(tmp_path) as rig:
        yield rig


async def test_a_subscriber_hears_what_it_wants_and_may_see(rig: Rig) -> None:
    """The filter says what it wants, `visible` what it may see."""
    reader = rig.subscribe("a.*", visible=lambda event: event.owner != "somebody")
    await rig.append(
        rig.event(1, "a.x"), rig.event(2, "b.x"), rig.event(3, "a.y", owner="somebody"), rig.event(4, "a.z")
    )

    assert await reader.take(2) == [1, 4]
    reader.subscription.close()
    reader.subscription.close()
    assert rig.bus.stats().subscriptions == 0


async def test_history_goes_over_to_live_events_without_a_gap(rig: Rig) -> None:
    """Readers from every place of the log, while it grows: each sees the rest once, in order."""
    places = [await rig.append(rig.event(number)) for number in range(60)]
    readers = [rig.subscribe(since=place, buffer_bytes=4096) for place in places]

    async def write() -> None:
        for number in range(60, 300):
            await rig.append(rig.event(number))

    writing = asyncio.create_task(write())
    taken = await asyncio.gather(*(reader.take(299 - number) for number, reader in enumerate(readers)))
    await writing

    for number, seen in enumerate(taken):
        assert seen == list(range(number + 1, 300))


async def test_a_reader_that_is_cut_goes_on_from_its_place(rig: Rig) -> None:
    """Cut again and again with a tiny buffer, it misses nothing and sees nothing twice."""
    chance = random.Random(7)
    seen: list[int] = []
    cursor = rig.bus.end
    for start in range(0, 200, 20):
        reader = rig.subscribe(since=cursor, buffer_bytes=1000)
        for number in range(start, start + 20):
            await rig.append(rig.event(number))
            if chance.random() < 0.3:
                seen += [int(event.id.split("-")[1]) for event in reader.subscription.mailbox.take(500)]
        seen += [int(event.id.split("-")[1]) for event in reader.subscription.mailbox.take(1)]
        cursor = reader.subscription.mailbox.position
        reader.subscription.close()
    last = rig.subscribe(since=cursor)
    seen += await last.take(200 - len(seen))

    assert seen == list(range(200))


async def test_ephemeral_events_come_after_the_commit_that_they_followed(rig: Rig) -> None:
    """And the others of their batch's stream."""
    reader = rig.subscribe()
    pending = rig.store.append([Published(rig.event(1))], scope="")
    rig.bus.publish(rig.event(2, durable=False))
    rig.bus.publish(rig.event(3, durable=False, stream_id="other"))
    await pending

    assert await reader.take(3) == [3, 1, 2]


async def test_a_refused_unit_holds_up_nothing(rig: Rig) -> None:
    """A conflict abandons its events; what waited behind them is delivered."""
    await rig.store.append([Published(rig.event(1), b"a")], scope="p")
    reader = rig.subscribe()
    refused = rig.store.append([Published(rig.event(1), b"b")], scope="p")
    rig.bus.publish(rig.event(2, durable=False))
    with pytest.raises(IdConflict):
        await refused

    assert await reader.take(1) == [2]


async def test_F51_lost_history_is_told_before_the_first_event(rig: Rig) -> None:
    """Of another log, of the future, and of what retention has taken."""
    places = [await rig.append(rig.event(number)) for number in range(30)]
    await rig.store.sweep(Retention({"events": Limits(max_count=10)}), rig.clock.now())

    for since in (places[3], Cursor("other", 25), Cursor(places[0].epoch, 10_000)):
        reader = rig.subscribe(since=since)
        assert reader.subscription.mailbox.ended is EndReason.HISTORY_LOST
        assert reader.subscription.mailbox.position == since
    assert await rig.subscribe(since=rig.bus.oldest).take(10) == list(range(20, 30))
    assert await rig.subscribe(since=places[25]).take(4) == [26, 27, 28, 29]


async def test_a_slow_reader_costs_the_others_nothing(rig: Rig) -> None:
    """One is cut, one loses the oldest, one has everything; the publisher waited for none of them."""
    cut = rig.subscribe(buffer_bytes=500)
    drops = rig.subscribe(buffer_bytes=500, overflow=Overflow.DROP_OLDEST)
    keeps = rig.subscribe()
    for number in range(50):
        await rig.append(rig.event(number))

    assert cut.subscription.mailbox.ended is EndReason.SLOW_CONSUMER
    assert await keeps.take(50) == list(range(50))
    dropped, place = drops.subscription.mailbox.take_gap()
    rest = [int(event.id.split("-")[1]) for event in drops.subscription.mailbox.take(10_000)]
    assert rest == list(range(dropped, 50))
    assert place is not None
    stats = rig.bus.stats()
    assert (stats.slow_consumers, stats.dropped) == (1, dropped)


async def test_the_end_and_the_oldest_place_are_those_of_the_log(rig: Rig) -> None:
    """An empty log begins at 0; a place that was the end is a place to go on from."""
    assert rig.bus.oldest == rig.bus.end == Cursor(rig.store.log.epoch, 0)
    reader = rig.subscribe(since=rig.bus.end)
    place = await rig.append(rig.event(1))

    assert rig.bus.end == place
    assert await reader.take(1) == [1]


async def test_others_have_their_turn_between_readers(tmp_path: Path) -> None:
    """A handing-out to many does not keep the loop until the last of them has it."""
    async with Rig(tmp_path, share=2) as rig:
        readers = [rig.subscribe() for _ in range(10)]
        rig.bus.publish(rig.event(1, durable=False))
        told = [0]
        async with asyncio.timeout(60):
            while told[-1] < len(readers):
                await asyncio.sleep(0)
                told.append(sum(1 for reader in readers if reader.subscription.mailbox.has_news))

    assert {after - before for before, after in pairwise(told)} == {0, 2}

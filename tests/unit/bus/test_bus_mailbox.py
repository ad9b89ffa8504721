"""Mailboxes: bounded in bytes, and a place that never goes past what the reader has taken or lost."""

import asyncio

import pytest

from gatewayd.bus.budget import Budget
from gatewayd.bus.mailbox import Mailbox
from gatewayd.core.chunk import EVENT_OVERHEAD, Chunk
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.frames import EndReason, Overflow


def event(seq: int, size: int = 100) -> Event:
    return Event(str(seq), EventType.CUSTOM, "x", "s", 0.0, wire=b"x" * size, epoch="e", seq=seq)


def ephemeral(size: int = 100) -> Event:
    return Event("n", EventType.CUSTOM, "x", "s", 0.0, wire=b"x" * size, durable=False)


class Box(Mailbox):
    """One with room for `room` events of 100 bytes; counts how often the reader was woken."""

    def __init__(self, room: int = 3, overflow: Overflow = Overflow.DISCONNECT, budget: Budget | None = None) -> None:
        self.woken = 0
        limit = room * (100 + EVENT_OVERHEAD)
        self.looked = 0
        super().__init__(
            limit_bytes=limit,
            overflow=overflow,
            wake=self._count,
            start=Cursor("e", 0),
            reached=lambda: self.looked,
            budget=budget,
        )

    def give(self, *events: Event) -> bool:
        return self.put(Chunk(events))

    def _count(self) -> None:
        self.woken += 1


def test_the_reader_is_woken_once_and_takes_up_to_so_many_bytes() -> None:
    """At least one, however large."""
    box = Box()
    for seq in (1, 2, 3):
        assert box.give(event(seq))

    assert box.woken == 1
    assert [each.seq for each in box.take(200)] == [1, 2]
    assert box.position == Cursor("e", 2)
    assert [each.seq for each in box.take(1)] == [3]
    assert box.waiting_bytes == 0


def test_a_full_box_that_disconnects_keeps_the_place_before_what_it_lets_go() -> None:
    """The reader goes on from the last event that it took: what waited is not counted as seen."""
    box = Box(room=2)
    box.give(event(1))
    box.take(1000)
    box.give(event(2))
    box.give(event(3))

    assert not box.give(event(4))

    assert box.ended is EndReason.SLOW_CONSUMER
    assert box.take(1000) == []
    box.looked = 9
    assert box.position == Cursor("e", 1)
    assert not box.give(event(5))


def test_a_full_box_that_drops_tells_how_many_and_up_to_where() -> None:
    """The newest stay; the place moves with what was lost."""
    box = Box(room=2, overflow=Overflow.DROP_OLDEST)
    for seq in range(1, 6):
        assert box.give(event(seq))

    assert box.dropped == 3
    assert box.take_gap() == (3, Cursor("e", 3))
    assert box.dropped == 0
    assert [each.seq for each in box.take(1000)] == [4, 5]
    assert box.total_dropped == 3


def test_dropped_ephemeral_events_have_no_place() -> None:
    """They are counted, and the cursor stays."""
    box = Box(room=1, overflow=Overflow.DROP_OLDEST)
    box.give(ephemeral())
    box.give(ephemeral())

    assert box.take_gap() == (1, None)
    assert box.position == Cursor("e", 0)


@pytest.mark.parametrize("overflow", list(Overflow))
def test_an_empty_box_takes_anything(overflow: Overflow) -> None:
    """Its reader has kept up: neither one large event nor many that came together are a reason to cut it off."""
    box = Box(room=1, overflow=overflow)
    assert box.give(*(event(seq) for seq in range(1, 6)))
    assert [each.seq for each in box.take(1000)] == [1, 2, 3, 4, 5]
    box = Box(room=1, overflow=overflow)

    assert box.give(event(1, 1_000_000))
    assert [each.seq for each in box.take(10)] == [1]


def test_what_does_not_concern_the_reader_moves_its_place_only_when_nothing_waits() -> None:
    """A place is never ahead of an event that still waits."""
    box = Box()
    box.looked = 5
    assert box.position == Cursor("e", 5)
    box.give(event(6))
    box.looked = 9
    assert box.position == Cursor("e", 5)
    box.take(1000)
    assert box.position == Cursor("e", 9)


async def test_a_writer_of_history_waits_until_the_reader_took_something() -> None:
    """And is let go when the subscription ends."""
    for end in (False, True):
        box = Box(room=1)
        await box.emptied()
        box.give(event(1))
        waiting = asyncio.create_task(box.emptied())
        await asyncio.sleep(0)
        assert not waiting.done()
        if end:
            box.end(EndReason.UNSUBSCRIBED)
        else:
            box.take(1)
        await asyncio.wait_for(waiting, 60)


@pytest.mark.parametrize("size", range(1, 700, 97))
def test_a_chunk_is_taken_apart_and_put_together_without_losing_its_order(size: int) -> None:
    """Whatever the sizes of chunks and frames: every event once, in order, and the place is that of the last taken."""
    box = Box(room=100)
    for start in (1, 4, 5, 11):
        box.give(*(event(seq) for seq in range(start, {1: 4, 4: 5, 5: 11, 11: 20}[start])))
    seen: list[int] = []
    while chunk := box.take_chunk(size):
        assert len(chunk) == 1 or chunk.content_bytes <= size
        seen += [each.seq for each in chunk.events]
        assert box.position == chunk.cursor == Cursor("e", seen[-1])

    assert seen == list(range(1, 20))
    assert box.waiting_bytes == 0


def test_a_chunk_that_does_not_fit_goes_in_event_by_event() -> None:
    """What the policy lets in is the same as if the events had come one by one."""
    drops = Box(room=2, overflow=Overflow.DROP_OLDEST)
    assert drops.give(event(1))
    assert drops.give(*(event(seq) for seq in range(2, 6)))
    assert drops.take_gap() == (3, Cursor("e", 3))
    assert [each.seq for each in drops.take(1000)] == [4, 5]

    cut = Box(room=2)
    assert cut.give(event(1))
    assert not cut.give(*(event(seq) for seq in range(2, 6)))
    assert cut.ended is EndReason.SLOW_CONSUMER
    assert cut.position == Cursor("e", 0)


def test_mailboxes_of_one_connection_share_its_budget() -> None:
    """Many of them hold no more together than one may; each acts by its own policy, and room comes back."""
    budget = Budget(3 * (100 + EVENT_OVERHEAD))
    first = Box(room=3, budget=budget)
    cut = Box(room=3, budget=budget)
    drops = Box(room=3, budget=budget, overflow=Overflow.DROP_OLDEST)
    assert first.give(event(1), event(2))
    assert drops.give(event(1))
    assert drops.give(event(2))
    assert not cut.give(event(1))
    assert cut.ended is EndReason.SLOW_CONSUMER
    assert drops.take_gap() == (1, Cursor("e", 1))
    assert budget.used == first.waiting_bytes + drops.waiting_bytes == budget.limit

    drops.take(1000)
    assert first.give(event(3))
    assert drops.give(event(3))
    assert drops.waiting_events == 0
    assert drops.has_news
    assert drops.take_gap() == (1, Cursor("e", 3))
    first.end(EndReason.UNSUBSCRIBED)
    assert budget.used == 0


async def test_history_waits_for_the_budget_that_another_mailbox_holds() -> None:
    """Its own being empty is not room."""
    budget = Budget(100 + EVENT_OVERHEAD)
    holder, empty = Box(budget=budget), Box(budget=budget)
    holder.give(event(1))
    assert not empty.fits(Chunk((event(1),)))
    waiting = asyncio.create_task(empty.emptied())
    await asyncio.sleep(0)
    assert not waiting.done()
    holder.take(1)
    await asyncio.wait_for(waiting, 60)
    assert empty.fits(Chunk((event(1),)))

"""What is addressed to one client: bounded, in order, and every loss is told."""

import random

import pytest

from gatewayd.conversation.inbox import Inbox
from gatewayd.core.chunk import EVENT_OVERHEAD, Chunk
from gatewayd.core.event import Event, EventType

SIZE = 100
COST = SIZE + EVENT_OVERHEAD


def chunk(number: int, *, durable: bool = True, size: int = SIZE) -> Chunk:
    event = Event(
        str(number), EventType.CUSTOM, "x", "s", float(number), durable=durable, custom_type="n", wire=b"x" * size
    )
    return Chunk((event.stamped("e", number) if durable else event,))


def taken(inbox: Inbox, max_bytes: int = 1 << 20) -> list[int]:
    found = inbox.take(max_bytes)
    return [int(event.id) for event in found.events] if found is not None else []


def test_a_chunk_that_many_share_is_handed_on_as_it_is() -> None:
    """One encoding serves all: that of a broadcast to everybody."""
    one, shared = Inbox(), chunk(1)
    one.put(shared, 1000)

    assert one.take(1000) is shared
    assert one.take(1000) is None
    assert not one


def test_the_oldest_go_first_and_the_gap_has_their_place() -> None:
    inbox = Inbox()
    for number in range(1, 8):
        inbox.put(chunk(number, durable=number != 4), 3 * COST)

    assert (inbox.events, inbox.bytes, inbox.oldest) == (3, 3 * COST, 5.0)
    dropped, place = inbox.take_gap()
    assert (dropped, place and place.seq) == (4, 3)
    assert taken(inbox) == [5, 6, 7]
    assert inbox.take_gap() == (0, None)
    assert inbox.total_dropped == 4


def test_an_empty_one_takes_anything_but_where_nothing_may_wait() -> None:
    inbox = Inbox()
    inbox.put(chunk(1, size=5000), COST)
    assert inbox.events == 1
    inbox.put(chunk(2), 0)

    assert (inbox.events, inbox.bytes, inbox.dropped) == (0, 0, 2)


def test_what_was_not_sent_waits_again_in_its_order_with_what_subscriptions_have_not_brought() -> None:
    inbox = Inbox()
    for number in (1, 4, 6):
        inbox.put(chunk(number, durable=False), 1 << 20)
    assert taken(inbox, 1) == [1]
    inbox.sent()
    assert taken(inbox, 1) == [4]

    fifth = chunk(5).events[0]
    inbox.recall([[chunk(3).events[0], fifth], [fifth, chunk(7).events[0]]])
    assert inbox.bytes == 5 * COST
    assert taken(inbox) == [3, 4, 5, 6, 7]


def test_a_gap_that_was_not_told_is_told_again() -> None:
    inbox = Inbox()
    for number in range(1, 5):
        inbox.put(chunk(number), 2 * COST)
    assert inbox.take_gap()[0] == 2
    inbox.put(chunk(5), 2 * COST)
    inbox.recall([])
    assert inbox.take_gap() == (3, chunk(3).cursor)
    inbox.sent()
    inbox.recall([])
    assert inbox.dropped == 0


def test_heartbeats_of_a_connection_that_is_over_are_nobodys() -> None:
    inbox = Inbox()
    inbox.put(Chunk((Event("h", EventType.HEARTBEAT, "x", "s", 1.0, durable=False, wire=b"x"),)), 1 << 20)
    inbox.recall([])
    assert not inbox
    assert inbox.bytes == 0


def test_a_smaller_bound_costs_the_oldest_and_they_are_told() -> None:
    inbox = Inbox()
    for number in range(1, 6):
        inbox.put(chunk(number), 1 << 20)
    inbox.shrink(2 * COST)
    assert (inbox.events, inbox.take_gap()) == (2, (3, chunk(3).cursor))
    inbox.shrink(1)
    assert taken(inbox) == [5]
    inbox.put(chunk(6), 1 << 20)
    inbox.shrink(0)
    assert (inbox.events, inbox.bytes, inbox.dropped) == (0, 0, 2)


def test_its_reader_is_woken_when_something_comes_into_an_empty_one() -> None:
    """An event or a gap; one that has something to take needs no word of more."""
    inbox, woken = Inbox(), []
    inbox.wake = lambda: woken.append((inbox.events, inbox.dropped))
    inbox.put(chunk(1), 2 * COST)
    inbox.put(chunk(2), 2 * COST)
    assert taken(inbox) == [1, 2]
    inbox.put(chunk(3), 0)
    inbox.put(chunk(4), COST)
    inbox.take_gap()
    assert taken(inbox) == [4]
    inbox.put(chunk(5), COST)

    assert woken == [(1, 0), (0, 1), (1, 0)]


@pytest.mark.parametrize("seed", range(50))
def test_whatever_comes_what_is_taken_and_what_is_told_is_all_of_it(seed: int) -> None:
    """In the order of their coming, each once: taken, or counted as dropped before the next that is taken."""
    chance, inbox = random.Random(seed), Inbox()
    put, seen, lost = 0, [], 0
    for _ in range(300):
        if chance.random() < 0.6:
            put += 1
            limit = chance.choice([0, COST, 3 * COST, 20 * COST])
            inbox.put(chunk(put, durable=chance.random() < 0.5, size=chance.randrange(1, 400)), limit)
        elif inbox.dropped:
            lost += inbox.take_gap()[0]
        else:
            seen += taken(inbox, chance.choice([1, 500, 100_000]))
        assert inbox.bytes >= 0
        assert put == len(seen) + lost + inbox.dropped + inbox.events
    assert seen == sorted(set(seen))

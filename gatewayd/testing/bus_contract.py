"""The bus's conformance suite: every bus passes it, over a real store.

A test subclasses `BusContract` and supplies an async fixture `bus` of a fresh `Wired` one. The tests' names are the
promises of `gatewayd.bus.base`.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import pytest

from gatewayd.core.chunk import EVENT_OVERHEAD
from gatewayd.core.errors import IdConflict
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.frames import EndReason, Overflow
from gatewayd.core.topic import TopicPattern
from gatewayd.storage.records import Published
from gatewayd.storage.retention import Limits, Retention
from gatewayd.testing.handler_contract import HandlerContract
from gatewayd.testing.wired import Wired


def _ids(events: Sequence[Event]) -> list[str]:
    return [event.id for event in events]


class BusContract(HandlerContract):
    """See the module's docstring."""

    async def test_an_event_reaches_who_asked_for_it_and_nobody_else(self, bus: Wired) -> None:
        mine = bus.read(EventFilter(topic=TopicPattern.parse("orders.*")))
        other = bus.read(EventFilter(stream_id="elsewhere"))

        await bus.append(bus.event(topic="orders.eu"), bus.event(topic="people.eu"), bus.event())
        bus.bus.publish(bus.ephemeral("elsewhere"))

        assert [event.topic for event in await mine.until(1)] == ["orders.eu"]
        assert [event.stream_id for event in await other.until(1)] == ["elsewhere"]

    async def test_durable_events_arrive_in_the_order_of_the_log_with_their_place(self, bus: Wired) -> None:
        reader = bus.read()

        written = await bus.append(*(bus.event(f"s{number % 3}") for number in range(50)))

        seen = await reader.until(50)
        assert _ids(seen) == _ids(written)
        assert [event.seq for event in seen] == list(range(seen[0].seq, seen[0].seq + 50))
        assert reader.subscription.mailbox.position == seen[-1].cursor

    async def test_what_nobody_has_subscribed_to_is_unheard_and_counted(self, bus: Wired) -> None:
        kind, other = EventType.LLM_TEXT_DELTA, EventType.LLM_REASONING_DELTA
        assert bus.bus.unheard(kind)
        some = bus.read(EventFilter(frozenset({kind}), execution_id="x"))
        assert (bus.bus.unheard(kind), bus.bus.unheard(other)) == (False, True)
        every = bus.read(EventFilter(stream_id="elsewhere"))
        assert not bus.bus.unheard(other)
        every.subscription.close()
        assert (bus.bus.unheard(kind), bus.bus.unheard(other)) == (False, True)
        some.subscription.close()
        assert bus.bus.unheard(kind)

        assert bus.bus.stats().by_type == {kind.label: 2, other.label: 2}

    async def test_an_ephemeral_event_waits_for_what_its_stream_submitted_before(self, bus: Wired) -> None:
        reader = bus.read()
        first, delta, elsewhere = bus.event("a"), bus.ephemeral("a"), bus.ephemeral("b")

        writing = bus.append(first)
        task = asyncio.gather(writing)
        await asyncio.sleep(0)  # submitted, and not on disk yet
        bus.bus.publish(delta)
        bus.bus.publish(elsewhere)
        bus.bus.flush()
        reader.take()
        at_once = _ids(reader.seen)
        await task

        assert at_once == [elsewhere.id]
        assert _ids(await reader.until(3)) == [elsewhere.id, first.id, delta.id]

    async def test_the_ephemeral_events_of_a_batch_come_where_they_stand_in_it(self, bus: Wired) -> None:
        reader = bus.read()
        kinds = (bus.ephemeral, bus.event, bus.ephemeral, bus.event, bus.ephemeral)
        batch = [*(make("a") for make in kinds), bus.ephemeral("b")]
        stored = bus.store.append([Published(event) for event in batch if event.durable], scope="")
        bus.bus.publish_with(batch, stored)
        later = bus.ephemeral("a"), bus.ephemeral("b")
        for event in later:
            bus.bus.publish(event)
        bus.bus.flush()
        reader.take()
        at_once = _ids(reader.seen)
        await stored

        seen = _ids(await reader.until(8))
        assert at_once == []
        assert [id_ for id_ in seen if id_ in _ids([*batch[:5], later[0]])] == _ids([*batch[:5], later[0]])
        assert [id_ for id_ in seen if id_ in _ids([batch[5], later[1]])] == _ids([batch[5], later[1]])

    async def test_nothing_of_a_refused_batch_is_delivered(self, bus: Wired) -> None:
        reader = bus.read()
        known = bus.event("a")
        await bus.store.append([Published(known, b"its content")], scope="s")
        batch = [bus.ephemeral("a"), bus.ephemeral("b"), replace(known), bus.ephemeral("a")]
        stored = bus.store.append([Published(batch[2], b"another content")], scope="s")
        bus.bus.publish_with(batch, stored)
        behind = bus.ephemeral("a"), bus.ephemeral("b")
        for event in behind:
            bus.bus.publish(event)
        with pytest.raises(IdConflict):
            await stored
        after = await bus.append(bus.event("a"))

        seen = _ids(await reader.until(4))
        assert seen[0] == known.id
        assert seen[-1] == after[0].id
        assert sorted(seen[1:-1]) == sorted(_ids(behind))

    async def test_a_repeated_batch_brings_its_ephemeral_events_alone(self, bus: Wired) -> None:
        reader = bus.read()
        known, fresh = bus.event("a"), bus.event("a")
        await bus.store.append([Published(known, b"its content")], scope="s")
        batch = [bus.ephemeral("a"), known, bus.ephemeral("a"), fresh, bus.ephemeral("a")]
        stored = bus.store.append([Published(known, b"its content"), Published(fresh, b"fresh")], scope="s")
        bus.bus.publish_with(batch, stored)
        await stored
        again = bus.store.append([Published(known, b"its content")], scope="s")
        last = bus.ephemeral("a")
        bus.bus.publish_with([known, last], again)
        await again

        first, rest = batch[0].id, [event.id for event in batch if event is not known][1:]
        assert _ids(await reader.until(6)) == [known.id, first, *rest, last.id]

    async def test_a_reader_from_a_cursor_gets_history_then_live_without_gap_or_repeat(self, bus: Wired) -> None:
        old = await bus.append(*(bus.event() for _ in range(1200)))
        reader = bus.read(since=Cursor(old[0].epoch, old[99].seq))

        for _ in range(20):
            await bus.append(*(bus.event() for _ in range(10)))
            reader.take()

        seen = await reader.until(1100 + 200)
        assert [event.seq for event in seen] == list(range(old[99].seq + 1, old[99].seq + 1 + 1300))

    async def test_history_that_is_gone_is_told_before_the_first_event(self, bus: Wired) -> None:
        old = await bus.append(*(bus.event() for _ in range(20)))
        await bus.store.sweep(Retention({"events": Limits(max_count=5)}), 0.0)

        assert await bus.read(since=Cursor(old[0].epoch, old[0].seq)).ended() is EndReason.HISTORY_LOST
        assert await bus.read(since=Cursor("another", 1)).ended() is EndReason.HISTORY_LOST
        assert await bus.read(since=Cursor(old[0].epoch, old[-1].seq + 1)).ended() is EndReason.HISTORY_LOST

    async def test_a_reader_that_does_not_read_is_cut_and_nobody_else_notices(self, bus: Wired) -> None:
        slow, quick = bus.read(buffer=4096), bus.read()
        start = slow.subscription.mailbox.position

        for _ in range(40):
            await bus.append(bus.event(text="x" * 200))
            quick.take()

        assert await slow.ended() is EndReason.SLOW_CONSUMER
        assert slow.subscription.mailbox.position == start
        assert slow.subscription.mailbox.waiting_bytes == 0
        assert len(await quick.until(40)) == 40
        assert bus.bus.stats().slow_consumers == 1

    async def test_drop_oldest_keeps_the_newest_and_tells_the_gap(self, bus: Wired) -> None:
        reader = bus.read(overflow=Overflow.DROP_OLDEST, buffer=20 * (EVENT_OVERHEAD + 300))

        written = await bus.append(bus.event(text="x" * 200))  # one that is not read: what follows finds it waiting
        bus.bus.flush()
        written += await bus.append(*(bus.event(text="x" * 200) for _ in range(59)))
        bus.bus.flush()
        dropped, place = reader.subscription.mailbox.take_gap()
        reader.take()
        assert dropped == 60 - len(reader.seen)
        assert dropped > 0
        assert place == written[dropped - 1].cursor
        assert _ids(reader.seen) == _ids(written[dropped:])

    async def test_what_a_reader_may_not_see_it_does_not_get_from_history_either(self, bus: Wired) -> None:
        secret = replace(bus.event("secret"), owner="somebody")
        written = await bus.append(bus.event("public"), secret, bus.event("public"))
        start = Cursor(written[0].epoch, written[0].seq - 1)
        reader = bus.read(since=start, visible=lambda event: event.owner != "somebody")

        await bus.append(replace(bus.event("secret"), target="somebody", owner="somebody"), bus.event("public"))

        assert [event.stream_id for event in await reader.until(3)] == ["public"] * 3
        assert reader.subscription.mailbox.position.seq == written[0].seq + 4

    async def test_a_closed_subscription_gets_nothing_more(self, bus: Wired) -> None:
        gone, stays = bus.read(), bus.read()
        gone.subscription.close()
        gone.subscription.close()

        await bus.append(bus.event())

        assert len(await stays.until(1)) == 1
        gone.take()
        assert gone.seen == []
        assert bus.bus.stats().subscriptions == 1

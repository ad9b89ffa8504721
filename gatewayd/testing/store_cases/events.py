"""The event log: order, identity, idempotency, paging."""

import asyncio
from dataclasses import replace
from typing import Any

import pytest

from gatewayd.core.errors import ExecutionFinished, IdConflict
from gatewayd.core.event import EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.topic import TopicPattern
from gatewayd.storage.records import Published
from gatewayd.storage.retention import Limits, Retention
from gatewayd.testing.store_cases.samples import ALL, NOW, Harness, acceptance, event, finish, published


class EventCases:
    async def test_a_new_log_is_empty_and_has_a_name(self, harness: Harness) -> None:
        log = harness.store.log
        assert (log.first_seq, log.last_seq) == (0, 0)
        assert log.epoch

    async def test_events_are_numbered_from_one_in_the_order_of_the_calls(self, harness: Harness) -> None:
        waiting = [harness.store.append(published(f"e{n}"), scope="ann") for n in range(200)]
        places = [(await receipt)[0].seq for receipt in waiting]
        assert places == list(range(1, 201))
        assert harness.store.log.last_seq == 200
        assert [found.id for found in harness.sink.events] == [f"e{n}" for n in range(200)]

    async def test_a_committed_event_is_stamped_and_has_its_wire_form(self, harness: Harness) -> None:
        sent = event("e1", topic="orders.eu", owner="ann")
        (stored,) = await harness.store.append([Published(sent, b"d")], scope="ann")
        assert stored == replace(sent, epoch=harness.store.log.epoch, seq=1)
        assert stored.wire
        assert harness.sink.events == [stored]
        assert harness.sink.events[0].wire == stored.wire

    async def test_what_is_read_is_what_was_stored_after_a_restart_too(self, harness: Harness) -> None:
        fields: dict[str, Any] = {
            "target": "t",
            "node_id": "n",
            "execution_id": "x",
            "session_id": "s",
            "correlation_id": "c",
        }
        stored = await harness.store.append(published("e1", "e2", topic="a.b", owner="ann", **fields), scope="ann")
        epoch = harness.store.log.epoch
        await harness.reopen()
        page = await harness.store.read_forward(0, ALL, 10)
        assert [found.wire for found in page.events] == [kept.wire for kept in stored]
        assert [replace(found, data={}) for found in page.events] == [replace(kept, data={}) for kept in stored]
        assert harness.store.log.epoch == epoch

    async def test_an_event_of_any_time_is_read_again(self, harness: Harness) -> None:
        times = (-1.0, -1.0, 0.0, NOW)
        await harness.store.append([Published(event(f"e{n}", time=time)) for n, time in enumerate(times)], scope="ann")
        page = await harness.store.read_forward(0, ALL, 10)
        assert tuple(found.time for found in page.events) == times

    async def test_the_sink_hears_expected_then_committed_before_the_caller(self, harness: Harness) -> None:
        receipt = harness.store.append(published("e1", "e2", stream="a"), scope="ann")
        assert harness.sink.heard == [("expected", ["a", "a"])]
        await receipt
        assert harness.sink.heard[1:] == [("committed", ["e1", "e2"])]

    async def test_what_is_noted_comes_in_its_order_among_the_rest(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1))
        harness.sink.heard.clear()
        for number in range(3):
            harness.store.note(event(f"n{number}", stream="a"))
        ended = harness.store.finish(finish(1, events=(event("end", stream="a"),)))
        harness.store.note(event("after", stream="a"))
        assert harness.sink.heard == [("expected", ["a"])] * 5
        await ended
        await harness.store.append(published("last"), scope="ann")
        found = (await harness.store.read_forward(0, ALL, 10)).events
        assert [one.id for one in found][-6:] == ["n0", "n1", "n2", "end", "after", "last"]
        assert [one.id for one in harness.sink.events][-6:] == ["n0", "n1", "n2", "end", "after", "last"]

    async def test_what_is_noted_is_written_though_nothing_else_is(self, harness: Harness) -> None:
        harness.store.note(event("n0"))
        await harness.reopen()
        assert [one.id for one in (await harness.store.read_forward(0, ALL, 10)).events] == ["n0"]

    async def test_a_noted_event_that_cannot_be_written_costs_the_others_nothing(self, harness: Harness) -> None:
        for one in (event("n0"), event("n1", node_id="\ud800"), event("n2")):
            harness.store.note(one)
        await harness.store.append(published("last"), scope="ann")
        assert [one.id for one in harness.sink.events] == ["n0", "n2", "last"]
        assert ("abandoned", ["agent"]) in harness.sink.heard

    async def test_publishing_twice_gives_the_first_place_and_no_second_event(self, harness: Harness) -> None:
        first = await harness.store.append(published("e1", "e2"), scope="ann")
        again = await harness.store.append(published("e1", "e2"), scope="ann")
        assert [kept.cursor for kept in again] == [kept.cursor for kept in first]
        assert harness.sink.heard[-1] == ("abandoned", ["agent", "agent"])
        assert harness.store.log.last_seq == 2

    async def test_publishing_twice_is_noticed_in_one_batch_and_in_one_group(self, harness: Harness) -> None:
        batch = harness.store.append(published("e1", "e1"), scope="ann")
        single = harness.store.append(published("e1"), scope="ann")
        assert [kept.seq for kept in await batch] == [1, 1]
        assert [kept.seq for kept in await single] == [1]
        assert harness.store.log.last_seq == 1

    async def test_a_batch_that_is_partly_known_accounts_for_every_event(self, harness: Harness) -> None:
        await harness.store.append(published("e1", stream="a"), scope="ann")
        mixed = [*published("e1", stream="a"), *published("e2", stream="b")]
        assert [kept.seq for kept in await harness.store.append(mixed, scope="ann")] == [1, 2]
        assert harness.sink.heard[-3:] == [("expected", ["a", "b"]), ("committed", ["e2"]), ("abandoned", ["a"])]

    async def test_ids_are_scoped(self, harness: Harness) -> None:
        await harness.store.append(published("e1", digest=b"one"), scope="ann")
        (other,) = await harness.store.append(published("e1", digest=b"two"), scope="bob")
        assert other.seq == 2

    async def test_another_content_under_a_known_id_fails_the_whole_batch(self, harness: Harness) -> None:
        await harness.store.append(published("e1"), scope="ann")
        batch = [*published("e2"), *published("e1", digest=b"other")]
        before = harness.store.append(published("e0"), scope="ann")
        conflict = harness.store.append(batch, scope="ann")
        after = harness.store.append(published("e3"), scope="ann")
        with pytest.raises(IdConflict):
            await conflict
        assert (await before)[0].seq == 2
        assert (await after)[0].seq == 3
        assert ("abandoned", ["agent", "agent"]) in harness.sink.heard
        assert [found.id for found in (await harness.store.read_forward(0, ALL, 10)).events] == ["e1", "e0", "e3"]

    async def test_a_failed_unit_consumes_no_number_and_sinks_no_other(self, harness: Harness) -> None:
        await harness.store.accept(acceptance(1))
        await harness.store.finish(finish(1))
        receipts = [
            harness.store.append(published("e1"), scope="ann"),
            harness.store.finish(finish(1, events=(event("lost"),))),
            harness.store.append(published("e2"), scope="ann"),
        ]
        results = await asyncio.gather(*receipts, return_exceptions=True)
        assert isinstance(results[1], ExecutionFinished)
        assert [found.id for found in harness.sink.events] == ["e1", "e2"]
        assert harness.store.log.last_seq == 2

    async def test_reading_forward_is_paged_and_filtered(self, harness: Harness) -> None:
        for n in range(10):
            await harness.store.append(published(f"e{n}", stream="ab"[n % 2], topic=f"t.{n % 3}"), scope="ann")
        page = await harness.store.read_forward(2, EventFilter(stream_id="a"), 2)
        assert [found.seq for found in page.events] == [3, 5]
        assert page.scanned_to == 5
        rest = await harness.store.read_forward(page.scanned_to, EventFilter(stream_id="a"), 10)
        assert [found.seq for found in rest.events] == [7, 9]
        assert rest.scanned_to == 10
        topics = await harness.store.read_forward(0, EventFilter(topic=TopicPattern.parse("t.2")), 10)
        assert [found.seq for found in topics.events] == [3, 6, 9]
        none = await harness.store.read_forward(0, EventFilter(types=frozenset({EventType.ERROR})), 10)
        assert (none.events, none.scanned_to) == ((), 10)

    async def test_reading_backward_starts_at_the_newest(self, harness: Harness) -> None:
        for n in range(6):
            await harness.store.append(published(f"e{n}", stream="ab"[n % 2]), scope="ann")
        page = await harness.store.read_backward(0, EventFilter(stream_id="b"), 2)
        assert [found.seq for found in page.events] == [6, 4]
        rest = await harness.store.read_backward(page.scanned_to, EventFilter(stream_id="b"), 2)
        assert [found.seq for found in rest.events] == [2]
        assert rest.scanned_to == 1

    async def test_sweeping_moves_the_beginning_and_never_a_number(self, harness: Harness) -> None:
        for n in range(10):
            await harness.store.append(published(f"e{n}"), scope="ann")
        deleted = await harness.store.sweep(Retention({"events": Limits(max_count=4)}), NOW)
        assert deleted == {"events": 6}
        assert (harness.store.log.first_seq, harness.store.log.last_seq) == (7, 10)
        await harness.store.sweep(Retention({"events": Limits(max_age=1)}), NOW + 10)
        assert (harness.store.log.first_seq, harness.store.log.last_seq) == (11, 10)
        await harness.reopen()
        assert (harness.store.log.first_seq, harness.store.log.last_seq) == (11, 10)
        (following,) = await harness.store.append(published("new"), scope="ann")
        assert following.seq == 11

    async def test_sweeping_by_bytes_keeps_the_newest_that_fit(self, harness: Harness) -> None:
        for n in range(10):
            await harness.store.append(published(f"e{n}", content="x" * 1000), scope="ann")
        await harness.store.sweep(Retention({"events": Limits(max_bytes=5000)}), NOW)
        kept = (await harness.store.read_forward(0, ALL, 100)).events
        assert [found.id for found in kept] == [f"e{n}" for n in range(10 - len(kept), 10)]
        assert 2 <= len(kept) <= 5

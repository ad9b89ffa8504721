"""Publishing and subscribing: order, places in the log, filters, what is refused and what comes after a restart."""

import asyncio

import pytest
from gateway.v1 import event_pb2
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import (
    Event,
    GatewayError,
    HistoryLost,
    InvalidArgument,
    PermissionDenied,
    event_filter,
    new_event,
)
from gatewayctl.events import event_type
from tests.rigs.house import House
from tests.rigs.notes import note, number_of, take
from tests.rigs.stream import RawStream, reason_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_what_is_published_arrives_in_order_with_its_place(rig: House) -> None:
    """A batch is on disk when it is acknowledged; its events come once, in order, with rising places (P4.6)."""
    async with rig.client.subscribe(event_filter(topic="order.>")) as events:
        cursor = await rig.client.publish([note(number, "order.a") for number in range(50)])
        for number in range(50, 100):
            await rig.client.publish(note(number, "order.b"))
        seen = await take(events, 100)

    assert [number_of(event) for event in seen] == list(range(100))
    places = [event.seq for event in seen]
    assert places == sorted(set(places))
    assert cursor == f"{seen[49].epoch}:{seen[49].seq}"
    assert {(event.source, event.stream_id) for event in seen} == {("local", "test")}


async def test_ephemeral_events_keep_their_place_among_durable_ones(rig: House) -> None:
    """An ephemeral event comes where it was published among the durable ones of its stream, and has no seq (P4.6)."""
    async with RawStream(rig.daemon.address) as stream:
        await stream.hello("mixer")
        await stream.subscribe("all", event_filter(topic="mixed"))
        for number in range(0, 300, 3):
            batch = [note(number, "mixed"), note(number + 1, "mixed", ephemeral=True), note(number + 2, "mixed")]
            await stream.ask(pb.ConnectRequest(publish=pb.Publish(events=batch)))
        seen: list[Event] = []
        while len(seen) < 300:
            seen += (await stream.take("delivery")).delivery.events

    assert [number_of(event) for event in seen] == list(range(300))
    assert [number_of(event) for event in seen if not event.HasField("seq")] == list(range(1, 300, 3))


async def test_F52_a_repeated_publish_has_the_first_ones_place(rig: House) -> None:
    """The same id and content is acknowledged as the first; it is in the log once (P4.6)."""
    event = note(1, "twice")
    event.id = "publish-1"
    first = await rig.client.publish(event)
    await rig.client.publish(note(2, "twice"))

    again = await rig.client.publish(event)

    assert again == first
    assert [number_of(each) for each in await rig.events(topic="twice")] == [1, 2]


async def test_F52_the_same_id_with_other_content_is_a_conflict(rig: House) -> None:
    """ID_CONFLICT, and the whole batch is refused."""
    event = note(1, "conflict")
    event.id = "publish-2"
    await rig.client.publish(event)
    other = note(2, "conflict")
    other.id = "publish-2"

    with pytest.raises(GatewayError) as refused:
        await rig.client.publish([note(3, "conflict"), other])

    assert refused.value.reason == "ID_CONFLICT"
    assert [number_of(each) for each in await rig.events(topic="conflict")] == [1]


async def test_ids_of_two_principals_do_not_know_each_other(rig: House) -> None:
    """Ids are scoped per principal (P4.6)."""
    event = note(1, "scoped")
    event.id = "publish-3"
    await rig.client.publish(event)
    other = note(2, "scoped")
    other.id = "publish-3"
    async with rig.daemon.client("other", token=rig.daemon.token) as client:
        await client.publish(other)

    assert [each.source for each in await rig.events(topic="scoped")] == ["local", "default"]


@pytest.mark.parametrize("field", ["source", "time", "epoch", "seq"])
async def test_the_servers_fields_are_refused(rig: House, field: str) -> None:
    """source, time, epoch and seq are the server's to set: SERVER_ONLY_FIELD (P3.4)."""
    event = note(1, "forged")
    setattr(event, field, {"source": "gatewayd", "time": 1.0, "epoch": "e", "seq": 7}[field])

    with pytest.raises(InvalidArgument) as refused:
        await rig.client.publish(event)

    assert refused.value.reason == "SERVER_ONLY_FIELD"
    assert not await rig.events(topic="forged")


@pytest.mark.parametrize("kind", ["connect", "session_started", "config_reloaded", "channel_state_changed"])
async def test_F60_the_servers_types_are_refused(rig: House, kind: str) -> None:
    """Who may emit a type is in the catalogue; a client never speaks as the gateway (P4.1)."""
    with pytest.raises(PermissionDenied):
        await rig.client.publish(new_event(kind))


async def test_a_refused_event_refuses_its_batch_and_nothing_more(rig: House) -> None:
    """All or nothing; the stream goes on, and others' batches are untouched (P3.3)."""
    bad = note(1, "bad topic with spaces")
    with pytest.raises(InvalidArgument):
        await rig.client.publish([note(0, "whole"), bad])

    await rig.client.publish(note(2, "whole"))

    assert [number_of(each) for each in await rig.events(topic="whole")] == [2]


async def test_filters_are_anded(rig: House) -> None:
    """Types, stream, session, correlation and topic pattern all have to fit (P4.3)."""
    wanted = event_filter(["custom"], topic="filter.*.x", correlation_id="c1", stream_id="s1")
    async with rig.client.subscribe(wanted) as events:
        await rig.client.publish(
            [
                note(1, "filter.a.x", correlation_id="c2", stream_id="s1"),
                note(2, "filter.a.x", correlation_id="c1", stream_id="s2"),
                note(3, "filter.a.y", correlation_id="c1", stream_id="s1"),
                note(4, "filter.a.b.x", correlation_id="c1", stream_id="s1"),
                new_event("message", {"content": "4"}, topic="filter.a.x", correlation_id="c1", stream_id="s1"),
                note(5, "filter.a.x", correlation_id="c1", stream_id="s1"),
            ]
        )
        assert [number_of(event) for event in await take(events, 1)] == [5]


async def test_an_empty_set_of_types_is_refused(rig: House) -> None:
    """No types is a mistake; all types is said by all_types (P4.3)."""
    async with RawStream(rig.daemon.address) as stream:
        await stream.hello("nothing")
        subscribe = pb.Subscribe(subscription_id="s", filter=event_pb2.EventFilter())

        error = await stream.rejected(await stream.ask(pb.ConnectRequest(subscribe=subscribe)))

        assert reason_of(error) == "INVALID_ARGUMENT"
        await stream.subscribe("s")


async def test_unsubscribe_says_whether_there_was_one(rig: House) -> None:
    """A subscription ends with its last word; ending it again finds nothing (P4.3)."""
    async with RawStream(rig.daemon.address) as stream:
        await stream.hello("leaver")
        await stream.subscribe("s", event_filter(topic="left"))
        again = pb.Subscribe(subscription_id="s", filter=event_filter())
        assert (
            reason_of(await stream.rejected(await stream.ask(pb.ConnectRequest(subscribe=again)))) == "ALREADY_EXISTS"
        )

        leave = pb.ConnectRequest(unsubscribe=pb.Unsubscribe(subscription_id="s"))
        first = await stream.accepted(await stream.ask(leave))
        ended = (await stream.take("ended")).ended
        leave.request_id = ""
        second = await stream.accepted(await stream.ask(leave))

        assert (first.existed, second.existed) == (True, False)
        assert ended.reason == pb.END_REASON_UNSUBSCRIBED
        assert ended.cursor == first.cursor


async def test_a_cursor_goes_on_behind_what_was_seen(rig: House) -> None:
    """Gap-free from any place of the log, over to what comes live (P3.5)."""
    cursors = [await rig.client.publish(note(number, "since")) for number in range(20)]

    async with rig.client.subscribe(event_filter(topic="since"), since=cursors[4]) as events:
        await rig.client.publish(note(20, "since"))
        seen = await take(events, 16)

    assert [number_of(event) for event in seen] == list(range(5, 21))


async def test_F51_a_cursor_of_the_future_or_of_another_log_is_told(rig: House) -> None:
    """HISTORY_LOST with the oldest place; never silence, and never events from somewhere else (P3.5)."""
    cursor = await rig.client.publish(note(1, "future"))
    epoch, _, seq = cursor.partition(":")
    for wrong in (f"{epoch}:{int(seq) + 1000}", f"01ARZ3NDEKTSV4RRFFQ69G5FAV:{seq}"):
        async with rig.client.subscribe(event_filter(topic="future"), since=wrong) as events:
            with pytest.raises(HistoryLost) as lost:
                await take(events, 1)
        assert lost.value.metadata["oldest_cursor"].startswith(epoch)


async def test_F51_a_cursor_that_is_none_is_refused(rig: House) -> None:
    """What the gateway never gave out is INVALID_ARGUMENT."""
    async with RawStream(rig.daemon.address) as stream:
        await stream.hello("guesser")
        subscribe = pb.Subscribe(subscription_id="s", filter=event_filter(), since="yesterday")
        assert reason_of(await stream.rejected(await stream.ask(pb.ConnectRequest(subscribe=subscribe)))) == (
            "INVALID_ARGUMENT"
        )


async def test_wait_for_event_looks_back_and_waits(rig: House) -> None:
    """The first match behind a cursor, or the next; a timeout is an answer (P4.5)."""
    cursor = await rig.client.publish(note(1, "wait"))
    await rig.client.publish(note(2, "wait"))

    event, behind = await rig.event(topic="wait", since=cursor)
    waiting = asyncio.create_task(rig.event(topic="wait", since=behind))
    await rig.client.publish(note(3, "wait"))
    later, _ = await waiting
    request = pb.WaitForEventRequest(filter=event_filter(topic="wait.never"))
    request.timeout.FromMilliseconds(0)
    none = await rig.client.call("EventService/WaitForEvent", request, pb.WaitForEventResponse)

    assert (number_of(event), number_of(later)) == (2, 3)
    assert none.timed_out


async def test_a_targeted_event_reaches_only_its_client(rig: House) -> None:
    """An event with a target is for that client (P4.1)."""
    async with rig.daemon.client("alpha") as alpha, rig.daemon.client("beta") as beta:
        async with alpha.subscribe(event_filter(topic="aim")) as hers, beta.subscribe(event_filter(topic="aim")) as his:
            await rig.client.publish([note(1, "aim", target="alpha"), note(2, "aim", target="beta"), note(3, "aim")])

            assert [number_of(event) for event in await take(hers, 2)] == [1, 3]
            assert [number_of(event) for event in await take(his, 2)] == [2, 3]


async def test_the_stats_count_what_happened(rig: House) -> None:
    """GetEventStats: published, kept, by type, subscriptions (P4.4)."""
    before = await rig.client.call("EventService/GetEventStats", pb.GetEventStatsRequest(), pb.GetEventStatsResponse)
    async with rig.client.subscribe(event_filter(topic="stats")):
        await rig.client.publish([note(1, "stats"), note(2, "stats", ephemeral=True)])
        after = await rig.client.call("EventService/GetEventStats", pb.GetEventStatsRequest(), pb.GetEventStatsResponse)

    custom = [{each.type: each.count for each in stats.by_type}[event_type("custom")] for stats in (before, after)]
    assert custom[1] - custom[0] == 2
    assert after.published >= before.published + 2
    assert after.kept >= before.kept + 1
    assert after.subscriptions == before.subscriptions + 1

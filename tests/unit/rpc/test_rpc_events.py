"""Events over unary calls: publish, list, wait, count."""

import asyncio

import grpc
import pytest
from gateway.v1 import event_pb2, event_service_pb2, event_type_pb2
from google.protobuf.duration_pb2 import Duration
from rpc_rig import Aborted, FakeCall

from gatewayd.config.checking import read
from gatewayd.config.model import GatewayConfig


def custom(name, topic="", **fields):
    event = event_pb2.Event(id=name, type=event_type_pb2.EVENT_TYPE_CUSTOM, custom_type="order", topic=topic, **fields)
    event.custom.json.update({"name": name})
    return event


ALL = event_pb2.EventFilter(all_types=True)
CUSTOM = event_pb2.EventFilter(types=[event_type_pb2.EVENT_TYPE_CUSTOM])


async def publish(rig, *events, who="ann"):
    request = event_service_pb2.PublishRequest(events=events).SerializeToString()
    return await rig.events.Publish(request, FakeCall(who))


async def listed(rig, who="ann", **request):
    data = await rig.events.ListEvents(event_service_pb2.ListEventsRequest(**request), FakeCall(who))
    return event_service_pb2.ListEventsResponse.FromString(data)


async def wait(rig, who="ann", left=None, **request):
    return await rig.events.WaitForEvent(event_service_pb2.WaitForEventRequest(**request), FakeCall(who, left))


async def test_what_is_published_is_listed_newest_first_as_it_was_stamped(rig):
    answer = await publish(rig, custom("a"), custom(""), custom("c"))
    assert answer.event_ids[0] == "a"
    assert len(answer.event_ids[1]) == 26
    page = await listed(rig)
    assert [event.id for event in page.events] == list(reversed(answer.event_ids))
    newest = page.events[0]
    assert (newest.source, newest.stream_id, newest.seq) == ("ann", "ann", 3)
    assert answer.cursor == f"{newest.epoch}:{newest.seq}"
    assert newest.custom.json["name"] == "c"


async def test_a_batch_that_is_wrong_is_refused_as_a_whole(rig):
    with pytest.raises(Aborted) as caught:
        await publish(rig, custom("a"), custom("b", source="me"))
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.INVALID_ARGUMENT, "SERVER_ONLY_FIELD")
    assert not (await listed(rig)).events


@pytest.mark.parametrize("count", [0, 1001, 100_000])
async def test_a_batch_of_too_many_or_of_nothing_is_the_callers_fault_at_any_size(rig, count):
    """Not LIMIT_EXCEEDED with a delay after which the same would be refused again."""
    request = b"\x0a\x00" * count
    with pytest.raises(Aborted) as caught:
        await rig.events.Publish(request, FakeCall("ann"))
    assert caught.value.reason == "INVALID_ARGUMENT"
    assert f"holds {count} events; from 1 to 1000" in caught.value.message


async def test_whatever_is_refused_for_lack_of_right_is_audited_once_and_nothing_else_is(rig):
    """A forged field, a type of the gateway's own, and filters and sends beyond the scopes (F60)."""
    paid = event_pb2.EventFilter(types=[event_type_pb2.EVENT_TYPE_CUSTOM], topic="paid.eu")
    for asked in (
        publish(rig, custom("a"), custom("b", source="me")),
        publish(rig, event_pb2.Event(type=event_type_pb2.EVENT_TYPE_EXECUTION_STARTED)),
        publish(rig, custom("c"), who="teller"),
        listed(rig, "narrow", filter=ALL),
        wait(rig, "narrow", filter=paid),
        publish(rig, custom("bad topic", topic="a b")),
        wait(rig),
    ):
        with pytest.raises(Aborted):
            await asked
    await publish(rig, custom("flush"))  # the trail is written behind the answer
    rows = [(row.principal, row.action, row.subject) for row in await rig.store.list_audit(limit=20)]
    called = "/gateway.v1.EventService/Publish"
    assert rows[::-1] == [
        ("ann", called, "source"),
        ("ann", called, "execution_started"),
        ("teller", "events.publish", "custom@*"),
        ("narrow", "events.subscribe", "*@*"),
        ("narrow", "events.subscribe", "custom@paid.eu"),
    ]


@pytest.mark.parametrize("more", [{}, {"source": "me"}, {"custom_type": "x"}])
async def test_a_type_of_the_gateways_own_is_refused_for_that_and_nothing_else(rig, more):
    started = event_pb2.Event(type=event_type_pb2.EVENT_TYPE_EXECUTION_STARTED, **more)
    with pytest.raises(Aborted) as caught:
        await publish(rig, custom("a"), started)
    assert caught.value.reason == "PERMISSION_DENIED"
    assert caught.value.message == "events[1]: execution_started events are the gateway's own to emit"
    assert not (await listed(rig)).events


async def test_a_type_of_workers_is_refused_to_who_is_none(rig):
    with pytest.raises(Aborted) as caught:
        await publish(rig, event_pb2.Event(type=event_type_pb2.EVENT_TYPE_TOOL_CALL_STARTED, execution_id="x"))
    assert caught.value.reason == "PERMISSION_DENIED"
    assert "of workers" in caught.value.message
    assert "gateway's own" not in caught.value.message


async def test_what_scopes_do_not_cover_is_audited_here_and_a_bad_token_by_the_authenticator_alone(rig):
    for who in ("nobody", "unknown"):
        with pytest.raises(Aborted):
            await listed(rig, who)
    await publish(rig, custom("flush"))  # the trail is written behind the answer
    (row,) = await rig.store.list_audit(limit=10)
    assert (row.principal, row.detail) == ("nobody", "PERMISSION_DENIED")


async def test_pages_go_back_through_the_log(rig):
    await publish(rig, *(custom(f"{number:03}") for number in range(250)))
    seen, token = [], ""
    while True:
        page = await listed(rig, page_size=60, page_token=token)
        seen += [event.id for event in page.events]
        token = page.next_page_token
        if not token:
            break
    assert seen == [f"{number:03}" for number in reversed(range(250))]


async def test_a_token_of_another_filter_is_refused(rig):
    await publish(rig, custom("a"), custom("b"))
    token = (await listed(rig, page_size=1)).next_page_token
    with pytest.raises(Aborted) as caught:
        await listed(rig, page_size=1, page_token=token, filter=CUSTOM)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_page_ends_at_a_mebibyte(rig):
    big = [custom(f"{number}") for number in range(8)]
    for event in big:
        event.custom.json.update({str(key): "x" * 60_000 for key in range(4)})
    await publish(rig, *big)
    page = await listed(rig)
    assert [event.id for event in page.events] == ["7", "6", "5", "4"]
    rest = await listed(rig, page_token=page.next_page_token)
    assert [event.id for event in rest.events] == ["3", "2", "1", "0"]


async def test_without_a_filter_everybody_sees_what_their_scopes_cover(rig):
    rig.connect("bob", "b1")
    await publish(rig, custom("a"), custom("b", "orders.eu"), custom("c", "secrets.eu"))
    await publish(rig, custom("d", target="bob"), who="bob")
    assert [event.id for event in (await listed(rig)).events] == ["c", "b", "a"]
    assert [event.id for event in (await listed(rig, "bob")).events] == ["d", "c", "b", "a"]
    assert [event.id for event in (await listed(rig, "narrow")).events] == ["b"]
    with pytest.raises(Aborted) as caught:
        await listed(rig, "narrow", filter=CUSTOM)
    assert caught.value.reason == "PERMISSION_DENIED"


async def test_behind_a_cursor_events_are_listed_oldest_first(rig):
    start = str(rig.bus.end)
    await publish(rig, *(custom(f"{number}") for number in range(250)))
    seen, token = [], ""
    while True:
        page = await listed(rig, since=start, page_token=token, filter=CUSTOM)
        assert len(page.events) <= 100
        seen += [event.id for event in page.events]
        if not (token := page.next_page_token):
            break
    assert seen == [f"{number}" for number in range(250)]
    assert [event.id for event in (await listed(rig, since=str(rig.bus.end))).events] == []
    for lost in ("other:1", f"{rig.store.log.epoch}:9999"):
        with pytest.raises(Aborted) as caught:
            await listed(rig, since=lost)
        assert caught.value.reason == "HISTORY_LOST"


async def test_a_target_is_somebody_that_the_publisher_may_address(rig):
    """Two principals never meet: what is not one's own does not exist, unless one may see all sessions (P13.2)."""
    for who, client_id in [("ann", "a1"), ("ann", "a2"), ("bob", "b1"), ("bob", "ann"), ("bob", "x"), ("root", "x")]:
        rig.connect(who, client_id)

    async def reached(who: str, target: str) -> object:
        try:
            return (await publish(rig, custom("", target=target), who=who)).count
        except Aborted as error:
            return error.reason

    assert [await reached("ann", name) for name in ("a1", "ann", "b1", "bob", "nobody", "echo")] == [
        1,
        2,
        "NOT_FOUND",
        "NOT_FOUND",
        "NOT_FOUND",
        0,
    ]
    assert [await reached("bob", name) for name in ("ann", "bob", "x")] == [1, 3, 1]
    assert [await reached("root", name) for name in ("a2", "ann", "x", "b1")] == [1, 2, 1, 1]
    rig.connect("ann", "b1")
    assert await reached("root", "b1") == "INVALID_ARGUMENT"


async def test_a_target_that_nobody_is_known_by_refuses_its_batch(rig):
    rig.connect("ann", "a1")
    with pytest.raises(Aborted) as caught:
        await publish(rig, custom("a"), custom("b", target="a1"), custom("c", target="gone"))
    assert caught.value.reason == "NOT_FOUND"
    assert "events[2].target" in str(caught.value)
    assert not (await listed(rig)).events


async def test_an_event_that_names_a_session_is_its_owners(rig):
    """Whoever publishes it: another's session is not heard of in it (P13.2)."""
    await publish(rig, custom("a", session_id="s1"), who="ann")
    assert [event.id for event in (await listed(rig)).events] == ["a"]
    assert (await listed(rig, "bob")).events == []
    assert [event.id for event in (await listed(rig, "root")).events] == ["a"]


async def test_events_of_a_session_are_its_owners(rig):
    await rig.work(1, owner="bob", finished=False)
    assert [event.id for event in (await listed(rig)).events] == []
    assert [event.id for event in (await listed(rig, "bob")).events] == ["e1"]
    assert [event.id for event in (await listed(rig, "root")).events] == ["e1"]


async def test_a_wait_ends_with_the_first_match_and_its_place(rig):
    waiting = asyncio.create_task(wait(rig, filter=CUSTOM))
    await rig.clock.settle()
    await publish(rig, custom("a"), custom("b"))
    answer = await waiting
    assert (answer.event.id, answer.timed_out, answer.cursor) == ("a", False, f"{answer.event.epoch}:1")
    after = await wait(rig, filter=CUSTOM, since=answer.cursor, timeout=Duration())
    assert after.event.id == "b"
    assert rig.bus.stats().subscriptions == 0


async def test_an_ephemeral_event_ends_a_wait_at_the_place_before_it(rig):
    first = await publish(rig, custom("a"))
    waiting = asyncio.create_task(wait(rig, filter=CUSTOM))
    await rig.clock.settle()
    await publish(rig, custom("b", ephemeral=True))
    answer = await waiting
    assert (answer.event.id, answer.cursor) == ("b", first.cursor)


async def test_that_nothing_comes_in_time_is_an_answer(rig):
    await publish(rig, custom("a"))
    answer = await rig.clock.run(wait(rig, filter=CUSTOM, timeout=Duration(seconds=5)))
    assert answer.timed_out
    assert not answer.HasField("event")
    assert answer.cursor == str(rig.bus.end)
    assert rig.clock.monotonic() == 5


@pytest.mark.parametrize(("left", "seconds"), [(None, 600.0), (10.0, 9.5), (1.0, 0.9), (5000.0, 600.0)])
async def test_without_a_timeout_the_deadline_of_the_call_holds(rig, left, seconds):
    answer = await rig.clock.run(wait(rig, filter=CUSTOM, left=left))
    assert answer.timed_out
    assert rig.clock.monotonic() == pytest.approx(seconds)


async def test_an_immediate_look_goes_back_from_a_cursor(rig):
    start = str(rig.bus.end)
    await publish(rig, custom("a"), custom("b", "orders.eu"))
    now = await wait(rig, filter=CUSTOM, timeout=Duration())
    assert (now.timed_out, now.cursor) == (True, str(rig.bus.end))
    orders = event_pb2.EventFilter(all_types=True, topic="orders.>")
    back = await wait(rig, filter=orders, since=start, timeout=Duration())
    assert back.event.id == "b"
    none = await wait(rig, filter=orders, since=back.cursor, timeout=Duration())
    assert (none.timed_out, none.cursor) == (True, back.cursor)


@pytest.mark.parametrize("timeout", [Duration(), Duration(seconds=3)])
async def test_history_that_is_lost_is_said(rig, timeout):
    await publish(rig, custom("a"))
    with pytest.raises(Aborted) as caught:
        await wait(rig, filter=CUSTOM, since="another-epoch:1", timeout=timeout)
    assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.OUT_OF_RANGE, "HISTORY_LOST")
    assert caught.value.info.metadata["oldest_cursor"] == str(rig.bus.oldest)
    assert rig.bus.stats().subscriptions == 0


async def test_a_wait_looks_back_first_and_then_goes_on(rig):
    start = str(rig.bus.end)
    rig.connect("bob", "b1")
    await publish(rig, *(custom(f"{number}", target="bob") for number in range(700)), who="bob")
    waiting = asyncio.create_task(wait(rig, filter=CUSTOM, since=start))
    await rig.clock.settle()
    await publish(rig, custom("mine"))
    answer = await asyncio.wait_for(waiting, 60)
    assert (answer.event.id, answer.event.seq) == ("mine", 701)


async def test_a_wait_that_found_something_early_leaves_no_reader_behind(rig):
    start = str(rig.bus.end)
    await publish(rig, *(custom(f"{number}") for number in range(900)))
    answer = await asyncio.wait_for(wait(rig, filter=CUSTOM, since=start), 60)
    assert answer.event.id == "0"
    await asyncio.wait_for(rig.tasks.wait(), 60)
    assert rig.bus.stats().slow_consumers == 0


async def test_a_wait_needs_a_filter(rig):
    with pytest.raises(Aborted) as caught:
        await wait(rig)
    assert caught.value.code is grpc.StatusCode.INVALID_ARGUMENT


async def test_the_counts(rig):
    await publish(rig, custom("a"), custom("b"), custom("c", ephemeral=True))
    stats = await rig.events.GetEventStats(event_service_pb2.GetEventStatsRequest(), FakeCall("root"))
    assert (stats.published, stats.kept, stats.subscriptions) == (3, 2, 0)
    assert [(one.type, one.count) for one in stats.by_type] == [(event_type_pb2.EVENT_TYPE_CUSTOM, 3)]
    assert (stats.oldest_cursor, stats.cursor) == (str(rig.bus.oldest), str(rig.bus.end))
    with pytest.raises(Aborted) as caught:
        await rig.events.GetEventStats(event_service_pb2.GetEventStatsRequest(), FakeCall("ann"))
    assert caught.value.reason == "PERMISSION_DENIED"


async def test_the_publish_rate_holds_here_too(rig):
    rig.router.config = read(GatewayConfig, {"gateway": {"limits": {"publish_rate": 2}}})
    service = rig.events
    request = event_service_pb2.PublishRequest(events=[custom("a"), custom("b")]).SerializeToString()
    await service.Publish(request, FakeCall("ann"))
    with pytest.raises(Aborted) as caught:
        await service.Publish(request, FakeCall("ann"))
    assert caught.value.info.metadata["limit"] == "limits.publish_rate"
    await service.Publish(request, FakeCall("bob"))
    await rig.clock.advance(1.0)
    await service.Publish(request, FakeCall("ann"))


FILTERS = {
    "topic": ({"topic": "orders.eu"}, {"topic": "orders.*"}),
    "stream_id": ({"stream_id": "st"}, {"stream_id": "st"}),
    "node_id": ({"node_id": "no"}, {"node_id": "no"}),
    "execution_id": ({"execution_id": "ex"}, {"execution_id": "ex"}),
    "session_id": ({"session_id": "se"}, {"session_id": "se"}),
    "correlation_id": ({"correlation_id": "co"}, {"correlation_id": "co"}),
}


@pytest.mark.parametrize("look_back", [True, False])
@pytest.mark.parametrize("field", FILTERS)
async def test_a_wait_takes_each_filter_back_and_forward(rig, field, look_back):
    """P4.5: the first match, of what is kept behind a cursor and of what comes."""
    envelope, wanted = FILTERS[field]
    start = str(rig.bus.end)
    selection = event_pb2.EventFilter(types=[event_type_pb2.EVENT_TYPE_CUSTOM], **wanted)
    events = (custom("no"), custom("yes", **envelope), custom("later", **envelope))
    if look_back:
        await publish(rig, *events)
        answer = await wait(rig, filter=selection, since=start, timeout=Duration())
    else:
        waiting = asyncio.create_task(wait(rig, filter=selection))
        await rig.clock.settle()
        await publish(rig, *events)
        answer = await asyncio.wait_for(waiting, 60)
    assert (answer.event.id, answer.timed_out) == ("yes", False)
    assert (await wait(rig, filter=selection, since=answer.cursor, timeout=Duration())).event.id == "later"


async def test_F61_who_waits_for_an_event_waits_no_longer_than_the_token_is_good(rig):
    """Neither is it told what comes in the moment of the revocation; others go on waiting."""
    waiting = {who: asyncio.create_task(wait(rig, who, filter=ALL)) for who in ("root", "ann")}
    await rig.clock.settle()
    rig.gate.waits.end_revoked(frozenset({"digest of ann", "digest of nobody"}))
    await publish(rig, custom("late"), who="bob")
    with pytest.raises(Aborted) as ended:
        await waiting["ann"]
    assert ended.value.reason == "UNAUTHENTICATED"
    assert (await waiting["root"]).event.id == "late"


async def test_a_wait_that_is_cancelled_and_revoked_at_once_is_cancelled(rig):
    waiting = asyncio.create_task(wait(rig, "ann", filter=ALL))
    await rig.clock.settle()
    rig.gate.waits.end_revoked(frozenset({"digest of ann"}))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    rig.gate.waits.end_revoked(frozenset({"digest of ann"}))


async def test_who_waits_for_an_event_is_told_that_the_gateway_stops(rig):
    waiting = asyncio.create_task(wait(rig, "ann", filter=ALL))
    await rig.clock.settle()
    rig.gate.waits.drain()
    for asked in (waiting, wait(rig, "ann", filter=ALL)):
        with pytest.raises(Aborted) as ended:
            await asked
        assert ended.value.reason == "DRAINING"

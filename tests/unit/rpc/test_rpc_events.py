"""Events over unary calls: publish, list, count."""

import grpc
import pytest
from events_rig import ALL, CUSTOM, custom, listed, publish, wait
from gateway.v1 import event_pb2, event_service_pb2, event_type_pb2
from rpc_rig import Aborted, FakeCall

from gatewayd.config.checking import read
from gatewayd.config.model import GatewayConfig


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

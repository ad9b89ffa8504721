"""Waiting for an event over a unary call: what ends it, where it looks back to, and what it leaves behind."""

import asyncio

import grpc
import pytest
from events_rig import ALL, CUSTOM, custom, publish, wait
from gateway.v1 import event_pb2, event_type_pb2
from google.protobuf.duration_pb2 import Duration
from rpc_rig import Aborted

from gatewayd.access.principals import LostProof

FILTERS = {
    "topic": ({"topic": "orders.eu"}, {"topic": "orders.*"}),
    "stream_id": ({"stream_id": "st"}, {"stream_id": "st"}),
    "node_id": ({"node_id": "no"}, {"node_id": "no"}),
    "execution_id": ({"execution_id": "ex"}, {"execution_id": "ex"}),
    "session_id": ({"session_id": "se"}, {"session_id": "se"}),
    "correlation_id": ({"correlation_id": "co"}, {"correlation_id": "co"}),
}


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
    rig.gate.waits.end_lost(LostProof(frozenset({"digest of ann", "digest of nobody"})))
    await publish(rig, custom("late"), who="bob")
    with pytest.raises(Aborted) as ended:
        await waiting["ann"]
    assert ended.value.reason == "UNAUTHENTICATED"
    assert (await waiting["root"]).event.id == "late"


async def test_a_wait_that_is_cancelled_and_revoked_at_once_is_cancelled(rig):
    waiting = asyncio.create_task(wait(rig, "ann", filter=ALL))
    await rig.clock.settle()
    rig.gate.waits.end_lost(LostProof(frozenset({"digest of ann"})))
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    rig.gate.waits.end_lost(LostProof(frozenset({"digest of ann"})))


async def test_who_waits_for_an_event_is_told_that_the_gateway_stops(rig):
    waiting = asyncio.create_task(wait(rig, "ann", filter=ALL))
    await rig.clock.settle()
    rig.gate.waits.drain()
    for asked in (waiting, wait(rig, "ann", filter=ALL)):
        with pytest.raises(Aborted) as ended:
            await asked
        assert ended.value.reason == "DRAINING"

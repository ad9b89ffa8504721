"""Batches that mix durable and ephemeral events: in their order, or not at all; and whom a broadcast reaches."""

import asyncio

import pytest
from gateway.v1 import event_pb2, event_service_pb2, event_type_pb2
from rpc_rig import Aborted, FakeCall

from gatewayd.bus.base import SubscriptionSpec
from gatewayd.core.filter import EventFilter


def custom(name, **fields):
    event = event_pb2.Event(id=name, type=event_type_pb2.EVENT_TYPE_CUSTOM, custom_type="order", **fields)
    event.custom.json.update({"name": name})
    return event


async def publish(rig, *events, who="ann"):
    request = event_service_pb2.PublishRequest(events=events).SerializeToString()
    return await rig.events.Publish(request, FakeCall(who))


class Listener:
    """What reaches somebody who wants everything."""

    def __init__(self, rig):
        self._bus = rig.bus
        spec = SubscriptionSpec(EventFilter(), lambda _event: True)
        self._mailbox = rig.bus.subscribe(spec, lambda: None).mailbox

    def heard(self):
        self._bus.flush()
        return [event.id for event in self._mailbox.take(1 << 20)]


async def test_ephemeral_events_keep_their_place_in_a_batch(rig):
    """Also those between two durable ones; what is not of the batch, and of another stream, does not wait for them."""
    listener = Listener(rig)
    names = [("a", False), ("B", True), ("c", False), ("D", True), ("e", False), ("f", False), ("G", True)]
    batch = [custom(name, ephemeral=not durable) for name, durable in names]
    other = custom("other", ephemeral=True, stream_id="other")
    publishing = asyncio.create_task(publish(rig, *batch, other))
    await asyncio.sleep(0)
    await publish(rig, custom("alone", ephemeral=True, stream_id="else"))
    assert listener.heard() == ["alone"]
    await publishing
    assert listener.heard() == ["a", "B", "c", "D", "e", "f", "G", "other"]


async def test_two_batches_of_one_stream_follow_each_other(rig):
    listener = Listener(rig)
    first = [custom(name, ephemeral=name.islower()) for name in "AbC"]
    second = [custom(name, ephemeral=name.islower()) for name in "dEf"]
    await asyncio.gather(publish(rig, *first), publish(rig, *second))
    assert listener.heard() == ["A", "b", "C", "d", "E", "f"]


async def test_a_batch_that_the_store_does_not_take_reaches_nobody(rig):
    """Not even its ephemeral part: the publisher will send all of it again."""
    listener = Listener(rig)
    rig.store._writer._queue_limit = 0
    with pytest.raises(Aborted) as caught:
        await publish(rig, custom("a", ephemeral=True), custom("B"), custom("c", ephemeral=True))
    assert caught.value.reason == "STORE_BUSY"
    assert listener.heard() == []


async def test_a_batch_that_is_refused_when_it_is_written_reaches_nobody(rig):
    """The id of a durable one is taken: its ephemeral ones do not come either, whatever their stream."""
    listener = Listener(rig)
    await publish(rig, custom("A"))
    other = event_pb2.Event(id="A", type=event_type_pb2.EVENT_TYPE_CUSTOM, custom_type="other")
    other.custom.json.update({"name": "another"})
    batch = [custom("b", ephemeral=True), custom("C"), other, custom("d", ephemeral=True, stream_id="else")]
    with pytest.raises(Aborted) as caught:
        await publish(rig, *batch)
    await publish(rig, custom("e", ephemeral=True), custom("f", ephemeral=True, stream_id="else"))

    assert caught.value.reason == "ID_CONFLICT"
    assert listener.heard() == ["A", "e", "f"]


async def test_a_broadcast_of_a_session_is_counted_for_those_who_may_hear_it(rig):
    rig.connect("ann", "a1")
    rig.connect("ann", "a2")
    rig.connect("bob", "b1")
    told = event_pb2.Event(id="all", type=event_type_pb2.EVENT_TYPE_BROADCAST)
    told.broadcast.content = "to everybody"
    assert (await publish(rig, told)).count == 3
    told.id, told.session_id = "mine", "s1"
    assert (await publish(rig, told)).count == 2

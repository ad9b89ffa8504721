"""Acknowledged messages of push topics in the SDK, over a real socket with cuts at awkward points."""

import asyncio

import pytest
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import ClientClosed, Gap
from tests.ctl.fake_gateway import FakeGateway
from tests.ctl.sdk_rig import client_of
from tests.ctl.topics_rig import numbers, take, until

pytestmark = pytest.mark.usefixtures("quiet_environment")


async def test_what_is_acknowledged_in_one_turn_goes_out_in_one_frame(gateway: FakeGateway, topic: str) -> None:
    async with client_of(gateway) as client, client.topics.join(topic, acknowledged=True) as messages:
        for number in range(20):
            gateway.push.say(topic, {"n": number}, acknowledged=True)
        got = await take(messages, 20)
        for message in got[:12]:
            await message.ack()
            await message.ack()  # says nothing new
        await until(lambda: gateway.push.frames)
        await asyncio.gather(*(message.ack() for message in got[12:]))
        await until(lambda: not any(gateway.push.pending.values()))

    assert numbers(got) == list(range(20))
    ids = [message.delivery_id for message in got]
    assert gateway.push.frames == [("ack", ids[:12]), ("ack", ids[12:])]


async def test_no_frame_has_more_acknowledgements_than_the_daemon_takes(gateway: FakeGateway, topic: str) -> None:
    async with client_of(gateway) as client, client.topics.join(topic, acknowledged=True) as messages:
        for number in range(2500):
            gateway.push.say(topic, {"n": number}, acknowledged=True)
        for message in await take(messages, 2500):
            await message.ack()

    assert [len(ids) for _, ids in gateway.push.frames] == [1000, 1000, 500]
    assert not any(gateway.push.pending.values())
    assert gateway.push.left == []


async def test_a_nack_brings_it_again(gateway: FakeGateway, topic: str) -> None:
    async with client_of(gateway) as client, client.topics.join(topic, acknowledged=True) as messages:
        gateway.push.say(topic, {"n": 1}, acknowledged=True)
        (first,) = await take(messages)
        await first.nack()
        (again,) = await take(messages)
        await again.ack()

    assert (first.redelivered, again.redelivered) == (0, 1)
    assert again.message_id == first.message_id
    assert [kind for kind, _ in gateway.push.frames] == ["nack", "ack"]


async def test_a_lost_connection_is_joined_again_and_brings_what_was_not_acknowledged(
    gateway: FakeGateway, topic: str
) -> None:
    async with client_of(gateway) as client, client.topics.join(topic, acknowledged=True, status="busy") as messages:
        for number in range(3):
            gateway.push.say(topic, {"n": number}, acknowledged=True)
        first = await take(messages, 2)
        await first[0].ack()
        await until(lambda: gateway.push.frames)
        gateway.streams[0].cut()
        await until(lambda: messages.connects == 2)
        assert gateway.push.pending[topic, "tester"]
        await client.topics.update_presence()  # its answer comes behind the copies
        second = await take(messages, 2)
        assert messages.pending == 2
        await asyncio.gather(*(message.ack() for message in second))

    assert numbers(first) == [0, 1]
    # The third waited here unread: its copy takes its place, and only that is given.
    assert sorted((message.data["n"], message.redelivered) for message in second) == [(1, 1), (2, 1)]
    assert [join.status for join in gateway.push.joins] == ["busy", "busy"]
    assert not any(gateway.push.pending.values())


async def test_an_acknowledgement_that_was_lost_is_repeated_and_its_message_not_given_again(
    gateway: FakeGateway, topic: str
) -> None:
    gateway.cuts["got_ack"] = 1
    async with client_of(gateway) as client, client.topics.join(topic, acknowledged=True) as messages:
        gateway.push.say(topic, {"n": 1}, acknowledged=True)
        (first,) = await take(messages)
        await first.ack()
        await until(lambda: not any(gateway.push.pending.values()))
        gateway.push.say(topic, {"n": 2}, acknowledged=True)
        (second,) = await take(messages)
        await second.ack()

    assert second.data == {"n": 2}
    assert len(gateway.hellos) == 2


async def test_a_copy_of_a_delivery_is_not_given_twice(gateway: FakeGateway, topic: str) -> None:
    async with client_of(gateway) as client, client.topics.join(topic, acknowledged=True) as messages:
        gateway.push.say(topic, {"n": 1}, acknowledged=True)
        (waiting,) = gateway.push.pending[topic, "tester"].values()
        gateway.push.deliver("tester", waiting)
        (first,) = await take(messages)
        gateway.push.deliver("tester", waiting)  # the same attempt
        gateway.push.redeliver("tester", topic)  # another one, while the first is in hand
        gateway.push.say(topic, {"n": 2}, acknowledged=True)
        await client.topics.update_presence()  # its answer comes behind everything above
        await first.ack()
        (second,) = await take(messages)
        gateway.push.redeliver("tester", topic)
        (again,) = await take(messages)  # nobody has acknowledged it: it is told as what it is
        await again.ack()

    assert (first.data, second.data, again.data) == ({"n": 1}, {"n": 2}, {"n": 2})
    assert (second.redelivered, again.redelivered) == (0, 1)


async def test_acknowledgements_wait_for_a_busy_daemon(gateway: FakeGateway, topic: str) -> None:
    async with client_of(gateway) as client, client.topics.join(topic, acknowledged=True) as messages:
        gateway.push.say(topic, {"n": 1}, acknowledged=True)
        (message,) = await take(messages)
        gateway.push.busy = 2
        await message.ack()
        await until(lambda: not any(gateway.push.pending.values()))

    assert gateway.push.busy == 0
    assert gateway.push.frames == [("ack", [message.delivery_id])]


async def test_closing_the_client_waits_for_acknowledgements(gateway: FakeGateway, topic: str) -> None:
    async with client_of(gateway) as client:
        messages = await client.topics.join(topic, acknowledged=True).started()
        gateway.push.say(topic, {"n": 1}, acknowledged=True)
        gateway.push.say(topic, {"n": 2}, acknowledged=True)
        one, two = await take(messages, 2)
        await one.ack()

    assert gateway.push.frames == [("ack", [one.delivery_id])]
    assert list(gateway.push.pending[topic, "tester"]) == [two.delivery_id]
    with pytest.raises(ClientClosed):
        await two.ack()
    with pytest.raises(ClientClosed):
        await anext(messages)
    with pytest.raises(ClientClosed):
        client.topics.join("other")


async def test_leaving_for_good_ends_an_acknowledged_membership(gateway: FakeGateway, topic: str) -> None:
    async with client_of(gateway) as client:
        async with client.topics.join(topic, acknowledged=True) as messages:
            gateway.push.say(topic, {"n": 1}, acknowledged=True)
            (message,) = await take(messages)
            await message.ack()
            assert await messages.leave()
        assert [each async for each in messages] == []
        assert gateway.push.left == [topic]
        assert gateway.push.frames == [("ack", [message.delivery_id])]
        async with client.topics.join(topic) as again:
            assert again.connects == 1


async def test_a_slow_reader_bounds_the_buffer_and_is_told_what_it_has_missed(gateway: FakeGateway, topic: str) -> None:
    """The stream is read on for everybody else, and messages to be acknowledged stay with the daemon."""
    gaps: list[Gap] = []
    async with client_of(gateway) as client:
        messages = await client.topics.join(topic, acknowledged=True, buffer_bytes=2000, on_gap=gaps.append).started()
        for number in range(100):
            gateway.push.say(topic, {"n": number, "text": "." * 100}, acknowledged=number % 2 == 0)
        async with asyncio.timeout(60):
            assert (await client.send("echo", "hello")).content == "you said: hello"

        held = messages._room.used
        kept = len(messages._items)
        got = await take(messages, kept)
        gateway.push.say(topic, {"n": 100})
        assert numbers(await take(messages)) == [100]
        for message in got:
            await message.ack()
        await until(lambda: len(gateway.push.pending[topic, "tester"]) == 50 - (kept + 1) // 2)
        gateway.push.redeliver("tester", topic)
        (again,) = await take(messages)

    assert held <= 2000 + 300
    assert 0 < kept < 20
    assert numbers(got) == list(range(kept))
    assert gaps == [Gap("paused", 50 - kept // 2, "")]
    assert (again.data["n"], again.redelivered) == (kept + kept % 2, 1)


async def test_a_reader_that_acknowledges_in_its_loop_gets_everything(gateway: FakeGateway, topic: str) -> None:
    """However small the buffer, and without waiting for an answer that comes behind what does not fit."""
    async with client_of(gateway) as client:
        async with client.topics.join(topic, acknowledged=True, buffer_bytes=100) as messages:
            for number in range(200):
                gateway.push.say(topic, {"n": number}, acknowledged=True)
            got: list[int] = []
            async with asyncio.timeout(60):
                async for message in messages:
                    await asyncio.sleep(0)
                    await message.ack()
                    got.append(message.data["n"])
                    if len(got) == 200:
                        break

    assert got == list(range(200))
    assert not any(gateway.push.pending.values())


@pytest.mark.parametrize("point", ["got_push", "did_push"])
async def test_an_acknowledged_push_survives_a_cut_and_is_pushed_once(
    gateway: FakeGateway, topic: str, point: str
) -> None:
    gateway.push.members[topic] = {"a": pb.JoinTopic(acknowledged=True)}
    gateway.cuts[point] = 1

    async with client_of(gateway) as client:
        assert await client.topics.push(topic, {"n": 1}, acknowledged=True) == 1

    assert len(gateway.push.pending[topic, "a"]) == 1
    assert len(gateway.hellos) == 2

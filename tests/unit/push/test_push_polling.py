"""Clients that ask: registration, waiting, bounds, and what ends a registration."""

import asyncio

import pytest
from gateway.v1 import topic_pb2

from gatewayd.access.principals import LostProof, Principal
from gatewayd.access.scopes import EVERY_SCOPE
from gatewayd.core.errors import AlreadyExists, LimitExceeded, PollerNotFound, Unauthenticated
from gatewayd.core.push import Registered
from gatewayd.push.topics import Wish
from tests.rigs.push_house import Hand, PushRig

LOCAL = Principal("local", EVERY_SCOPE)
MALLORY = Principal("mallory", EVERY_SCOPE, token_sha256="m" * 64)


class Asking:
    """A client that polls."""

    def __init__(self, rig: PushRig, name: str = "ann", principal: Principal = LOCAL) -> None:
        self.rig, self.principal = rig, principal
        self.made: Registered = rig.house.pollers.register(principal, name)

    @property
    def poller(self):
        return self.rig.house.pollers.find(self.principal, self.made.token)

    async def join(self, topic: str, *, acknowledged: bool = False) -> None:
        await self.rig.house.topics.join(
            await self.rig.topic(topic), self.poller.client, Wish(acknowledged, "", None, watch_presence=False)
        )

    async def poll(self, wait: float | None = 0, count: int = 0) -> list[str]:
        found = await self.rig.house.pollers.poll(self.poller, wait, count)
        return [topic_pb2.TopicMessage.FromString(one).data["text"] for one in found.messages]


async def test_a_poll_waits_for_the_first_message_and_no_longer_than_the_wait(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Asking(rig)
        await ann.join("news")
        assert await ann.poll(0) == []
        waiting = asyncio.create_task(ann.poll(None))
        await rig.pass_time(10)
        assert not waiting.done()
        await rig.push("news", "hello")
        assert await waiting == ["hello"]
        waiting = asyncio.create_task(ann.poll(500))
        await rig.pass_time(29)
        assert not waiting.done()
        await rig.pass_time(2)
        assert waiting.result() == []


async def test_batches_and_the_queue_are_bounded_and_the_rest_of_what_is_acknowledged_is_on_disk(tmp_path):
    async with PushRig(tmp_path, {"polling": {"batch": 4, "queue": 10}}) as rig:
        ann = Asking(rig)
        await ann.join("news", acknowledged=True)
        for number in range(30):
            await rig.push("news", str(number), acknowledged=True)
        assert len(ann.poller.client.queue) == 10
        heard: list[str] = []
        while len(heard) < 30:
            texts = await ann.poll(0, 100)
            assert len(texts) <= 4
            heard += texts
            out = [key for key, owed in ann.poller.client.queue.out.items() if owed.deadline is not None]
            await rig.house.delivery.receipts.ack(ann.poller.client, out)
            await rig.settle()
        assert heard == [str(number) for number in range(30)]
        for number in range(30):
            await rig.push("news", str(number))
        found = await rig.house.pollers.poll(ann.poller, 0, 3)
        assert (len(found.messages), found.dropped) == (3, 20)


async def test_what_was_not_acknowledged_comes_in_a_later_poll(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Asking(rig)
        await ann.join("news", acknowledged=True)
        await rig.push("news", "hello", acknowledged=True)
        assert await ann.poll() == ["hello"]
        assert await ann.poll() == []
        await rig.pass_time(31)
        assert await ann.poll() == ["hello"]


async def test_a_token_is_bound_to_its_principal_and_replaced_by_the_next(tmp_path):
    async with PushRig(tmp_path) as rig:
        first = Asking(rig)
        await first.join("news")
        with pytest.raises(PollerNotFound):
            rig.house.pollers.find(MALLORY, first.made.token)
        waiting = asyncio.create_task(first.poll(30))
        await rig.clock.settle()
        second = Asking(rig)
        assert second.made.token != first.made.token
        with pytest.raises(PollerNotFound):
            await waiting
        with pytest.raises(PollerNotFound):
            _ = first.poller
        await rig.push("news", "hello")
        assert await second.poll() == ["hello"]
        assert len(rig.house.pollers) == 1


async def test_the_same_id_of_two_principals_is_two_clients(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann, mallory = Asking(rig), Asking(rig, principal=MALLORY)
        await ann.join("news")
        assert (await rig.push("news", "hello")).recipients == 1
        assert await mallory.poll() == []
        assert await ann.poll() == ["hello"]


async def test_silence_for_twice_the_wait_ends_a_registration_and_waiting_is_no_silence(tmp_path):
    async with PushRig(tmp_path, {"polling": {"wait": "10s"}}) as rig:
        ann, bob = Asking(rig), Asking(rig, "bob")
        await ann.join("news")
        for _ in range(5):
            assert await rig.clock.run(bob.poll(None)) == []
            await rig.clock.advance(8)
        _ = bob.poller
        with pytest.raises(PollerNotFound):
            _ = ann.poller
        assert (await rig.push("news", "x")).recipients == 0
        assert len(rig.house.pollers) == 1


async def test_who_polls_is_there_and_who_is_silent_is_not(tmp_path):
    async with PushRig(tmp_path, {"presence": {"heartbeat_interval": "5s", "offline_timeout": "12s"}}) as rig:
        ann = Asking(rig)
        assert ann.made.heartbeat_interval == 5
        await ann.join("news")
        assert rig.presence() == [("ann", "join", "online")]
        waiting = asyncio.create_task(ann.poll(None))
        await rig.pass_time(29)
        assert rig.presence() == []
        await rig.pass_time(2)
        assert waiting.result() == []
        for _ in range(4):
            await rig.pass_time(10)
            _ = ann.poller
        assert rig.presence() == []
        await rig.pass_time(13)
        assert rig.presence() == [("ann", "leave", "online")]
        _ = ann.poller
        assert rig.presence() == [("ann", "join", "online")]


async def test_a_second_poll_ends_the_first_which_gets_nothing(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Asking(rig)
        await ann.join("news")
        first = asyncio.create_task(ann.poll(30))
        await rig.clock.settle()
        second = asyncio.create_task(ann.poll(30))
        await rig.clock.settle()
        assert first.result() == []
        await rig.push("news", "hello")
        assert await second == ["hello"]


async def test_registrations_are_bounded(tmp_path):
    async with PushRig(tmp_path, {"polling": {"max_clients": 2}}) as rig:
        Asking(rig)
        Asking(rig, "bob")
        Asking(rig, "bob")
        with pytest.raises(LimitExceeded) as full:
            Asking(rig, "eve")
        assert full.value.metadata == {"limit": "push.polling.max_clients"}


async def test_a_stream_keeps_its_client_and_takes_over_one_that_polls(tmp_path):
    async with PushRig(tmp_path) as rig:
        stream = Hand(rig, "ann")
        await stream.join("news")
        with pytest.raises(AlreadyExists):
            Asking(rig)
        bob = Asking(rig, "bob")
        await bob.join("news", acknowledged=True)
        await rig.push("news", "hello", acknowledged=True)
        assert await bob.poll() == ["hello"]
        taken_over = Hand(rig, "bob")
        await rig.settle()
        with pytest.raises(PollerNotFound):
            _ = bob.poller
        assert taken_over.told() == ["hello+1"]


@pytest.mark.parametrize(("rescoped", "error"), [(False, Unauthenticated), (True, PollerNotFound)])
async def test_a_token_that_is_revoked_or_has_other_scopes_ends_the_polls_that_wait(tmp_path, rescoped, error):
    """With other scopes the client registers again, which says what it may."""
    async with PushRig(tmp_path) as rig:
        mallory = Asking(rig, "m", MALLORY)
        waiting = asyncio.create_task(mallory.poll(30))
        await rig.clock.settle()
        rig.house.pollers.end_lost(LostProof(frozenset({"m" * 64}), rescoped=rescoped))
        with pytest.raises(error):
            await waiting
        assert len(rig.house.pollers) == 0


async def test_a_registration_outlives_no_restart_and_its_memberships_do(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Asking(rig)
        await ann.join("news", acknowledged=True)
        await rig.push("news", "hello", acknowledged=True)
        assert await ann.poll() == ["hello"]
        await rig.restart()
        with pytest.raises(PollerNotFound):
            _ = ann.poller
        again = Asking(rig)
        await rig.settle()
        assert await again.poll() == ["hello"]


async def test_a_name_is_made_for_who_has_none(tmp_path):
    async with PushRig(tmp_path) as rig:
        one, two = Asking(rig, ""), Asking(rig, "")
        assert one.made.client_id.startswith("poll-")
        assert one.made.client_id != two.made.client_id

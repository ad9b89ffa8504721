"""What memberships last for, what is held for whom, and every bound."""

import pytest

from gatewayd.core.errors import AlreadyExists, InvalidArgument, LimitExceeded, TopicNotFound
from gatewayd.core.push import Peer
from gatewayd.storage.push import TopicRecord
from tests.rigs.push_house import Hand, PushRig


async def test_a_plain_member_is_held_for_the_reconnect_timeout_with_what_came_meanwhile(tmp_path):
    async with PushRig(tmp_path, gateway={"reconnect_timeout": "10s"}) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news")
        await rig.push("news", "one")
        ann.cut()
        assert (await rig.push("news", "two")).recipients == 1
        await rig.pass_time(8)
        ann = Hand(rig, "ann")
        assert ann.told() == ["one", "two"]
        ann.cut()
        await rig.pass_time(12)
        assert (await rig.push("news", "three")).recipients == 0
        assert rig.house.topics.clients == {}


async def test_an_orderly_end_ends_plain_memberships_and_keeps_the_others(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Hand(rig, "ann")
        await ann.join("plain")
        await ann.join("kept", acknowledged=True)
        ann.close()
        assert (await rig.push("plain", "x")).recipients == 0
        assert (await rig.push("kept", "x")).recipients == 0  # nobody is there for what need not be acknowledged
        assert (await rig.push("kept", "kept", acknowledged=True)).recipients == 1
        ann = Hand(rig, "ann")
        await rig.settle()
        assert ann.told() == ["kept"]


async def test_the_newest_reader_is_the_only_one(tmp_path):
    async with PushRig(tmp_path) as rig:
        old = Hand(rig, "ann")
        await old.join("news")
        new = Hand(rig, "ann")
        old.cut()
        await rig.push("news", "hello")
        assert new.told() == ["hello"]
        assert new.client.present


async def test_a_slow_reader_loses_the_oldest_and_is_told_how_many(tmp_path):
    async with PushRig(tmp_path, {"delivery": {"queue": 3}}) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news")
        for number in range(10):
            await rig.push("news", str(number))
        frame = ann.frame()
        assert frame is not None
        assert (len(frame.messages), frame.dropped) == (3, 7)
        assert ann.told() == []


async def test_a_queue_is_bounded_by_bytes_too(tmp_path):
    async with PushRig(tmp_path, gateway={"limits": {"queue_bytes": "64KiB"}}) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news")
        for _ in range(10):
            await rig.push("news", "x" * 20_000)
        frame = ann.frame()
        assert frame is not None
        assert (len(frame.messages), frame.dropped) == (3, 7)


async def test_what_is_held_for_clients_that_are_away_is_bounded_for_each_and_for_all(tmp_path, monkeypatch):
    monkeypatch.setattr("gatewayd.push.delivery.ALL_HELD_BYTES", 400_000)
    async with PushRig(tmp_path) as rig:
        hands = [Hand(rig, f"c{number}") for number in range(4)]
        for hand in hands:
            await hand.join("news")
            hand.cut()
        for _ in range(10):
            await rig.push("news", "x" * 30_000)
        assert rig.house.held.size <= 400_000
        assert rig.house.held.size == sum(hand.client.queue.plain_bytes for hand in hands)
        frames = [Hand(rig, f"c{number}").frame() for number in range(4)]
        assert [len(frame.messages) + frame.dropped for frame in frames if frame] == [10] * 4
        assert rig.house.held.size == 0
        hands[0] = Hand(rig, "c0")
        hands[0].cut()
        for _ in range(10):
            await rig.push("news", "x" * 30_000)
        assert 0 < hands[0].client.queue.plain_bytes <= 256 * 1024
        await rig.pass_time(100)
        assert rig.house.held.size == 0


async def test_what_is_to_be_acknowledged_is_never_dropped_for_what_is_not(tmp_path):
    async with PushRig(tmp_path, {"delivery": {"queue": 3}}) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news", acknowledged=True)
        for number in range(4):
            await rig.push("news", f"kept {number}", acknowledged=True)
        for number in range(4):
            await rig.push("news", f"plain {number}")
        heard = []
        for _ in range(5):
            await rig.settle()
            taken = ann.take()
            heard += [one.data["text"] for one in taken]
            if owed := [one for one in taken if one.delivery_id]:
                await ann.ack(*owed)
        assert [text for text in heard if text.startswith("kept")] == [f"kept {number}" for number in range(4)]


async def test_topics_are_bounded_and_made_once(tmp_path):
    async with PushRig(tmp_path, {"max_topics": 2}) as rig:
        await rig.house.topics.create("a", "ann", None)
        await rig.house.topics.create("b", "ann", None)
        with pytest.raises(AlreadyExists):
            await rig.house.topics.create("b", "ann", None)
        with pytest.raises(LimitExceeded) as full:
            await rig.house.topics.create("c", "ann", None)
        assert full.value.metadata == {"limit": "push.max_topics"}
        await rig.house.topics.delete(rig.house.topics.need("a"))
        await rig.house.topics.create("c", "ann", None)
        with pytest.raises(TopicNotFound):
            rig.house.topics.need("a")


async def test_members_of_a_topic_topics_of_a_client_and_clients_are_bounded(tmp_path):
    async with PushRig(tmp_path, {"max_members": 2, "max_joined": 2, "max_clients": 3}) as rig:
        hands = [Hand(rig, name) for name in ("ann", "bob", "eve")]
        for hand in hands[:2]:
            await hand.join("news")
        with pytest.raises(LimitExceeded) as full:
            await hands[2].join("news")
        assert full.value.metadata == {"limit": "push.max_members"}
        await hands[0].join("news")  # it is on it already
        await hands[0].join("other")
        with pytest.raises(LimitExceeded) as full:
            await hands[0].join("third")
        assert full.value.metadata == {"limit": "push.max_joined"}
        with pytest.raises(LimitExceeded) as full:
            Hand(rig, "one more")
        assert full.value.metadata == {"limit": "push.max_clients"}
        hands[2].close()
        Hand(rig, "one more")


async def test_what_is_said_of_topics_and_clients_is_bounded(tmp_path):
    async with PushRig(tmp_path, {"max_metadata": 100}) as rig:
        with pytest.raises(InvalidArgument):
            await rig.house.topics.create("a", "ann", {"text": "x" * 100})
        ann = Hand(rig, "ann")
        with pytest.raises(InvalidArgument):
            await ann.join("news", metadata={"text": "x" * 100})
        assert (await rig.topic("news")).members == {}


async def test_F82_a_hundred_thousand_topics_are_bounded_quick_to_list_and_survive_a_restart(tmp_path):
    async with PushRig(tmp_path, {"max_topics": 100_000}) as rig:
        store = rig.harness.store
        for start in range(0, 100_000, 5_000):
            waiting = [
                store.add_topic(TopicRecord(f"t.{number:06}", "ann", "{}", 1.0))
                for number in range(start, start + 5_000)
            ]
            for one in waiting:
                await one
        await rig.restart()
        assert len(rig.house.topics) == 100_000
        with pytest.raises(LimitExceeded):
            await rig.house.topics.create("one.more", "ann", None)
        names = rig.house.topics.names("t.050000")
        assert [next(names) for _ in range(3)] == ["t.050001", "t.050002", "t.050003"]
        ann = Hand(rig, "ann")
        await ann.join("t.099999")
        assert (await rig.push("t.099999", "hello")).recipients == 1
        assert ann.told() == ["hello"]
        await rig.house.topics.delete(rig.house.topics.need("t.000000"))
        assert next(rig.house.topics.names("")) == "t.000001"


async def test_what_the_store_refuses_is_not_there(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Hand(rig, "ann")
        topic = await rig.topic("news")
        store = rig.harness.store
        await rig.house._tasks.close()
        await store.close()
        for work in (
            rig.house.topics.create("other", "ann", None),
            ann.join("news", acknowledged=True),
        ):
            with pytest.raises(Exception, match="closed"):
                await work
        assert len(rig.house.topics) == 1
        assert topic.members == {}
        assert Peer("local", "ann") in rig.house.topics.clients
        await rig.harness.reopen()
        await rig.start()

"""Delivery that is acknowledged, with time that the test moves."""

import asyncio

import pytest

from gatewayd.core.errors import IdConflict
from gatewayd.core.push import TopicDeadReason, TopicEndReason
from tests.rigs.push_house import Hand, PushRig


async def test_what_is_not_acknowledged_comes_again_three_times_with_twice_the_time_and_is_then_given_up(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news", acknowledged=True)
        await rig.push("news", "hello", acknowledged=True)

        assert ann.told() == ["hello"]
        for count, patience in ((1, 30), (2, 60), (3, 120)):
            await rig.pass_time(patience - 2)
            assert ann.told() == [], count
            await rig.pass_time(3)
            assert ann.told() == [f"hello+{count}"]
        await rig.pass_time(238)
        assert await rig.letters() == []
        await rig.pass_time(4)

        assert ann.told() == []
        assert await rig.letters() == [("ann", "retries", 4)]
        assert ann.client.pending == 0
        assert rig.house.stats()["given_up"] == 1


async def test_what_is_acknowledged_never_comes_again(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news", acknowledged=True)
        await rig.push("news", "one", acknowledged=True)
        await rig.push("news", "two", acknowledged=True)

        first, second = ann.take()
        assert await ann.ack(first) == 1
        assert await ann.ack(first) == 0
        await rig.pass_time(31)
        assert ann.told() == ["two+1"]
        assert await ann.ack(second) == 1
        await rig.pass_time(1000)
        assert ann.told() == []
        assert await rig.letters() == []
        assert rig.house.stats()["pending"] == 0


async def test_a_nack_brings_it_back_at_once_and_counts_as_a_retry(tmp_path):
    async with PushRig(tmp_path, {"delivery": {"max_retries": 2}}) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news", acknowledged=True)
        await rig.push("news", "hello", acknowledged=True)

        for count in range(3):
            (message,) = ann.take()
            assert message.redelivered == count
            assert await ann.nack(message) == 1
        await rig.settle()
        assert ann.take() == []
        assert await rig.letters() == [("ann", "retries", 3)]
        assert await ann.nack(message) == 0


async def test_the_clock_stops_while_a_client_is_away_and_everything_comes_again_oldest_first(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news", acknowledged=True)
        for text in ("one", "two"):
            await rig.push("news", text, acknowledged=True)
        assert ann.told() == ["one", "two"]
        ann.cut()
        await rig.push("news", "three", acknowledged=True)
        await rig.pass_time(3600)

        ann = Hand(rig, "ann")
        await rig.settle()
        assert ann.told() == ["one+1", "two+1", "three"]
        assert await rig.letters() == []
        await rig.pass_time(31)
        assert ann.told() == ["one+2", "two+2", "three+1"]


async def test_coming_and_going_burns_no_retries(tmp_path):
    async with PushRig(tmp_path, {"delivery": {"max_retries": 1}}) as rig:
        for visit in range(6):
            ann = Hand(rig, "ann")
            if visit == 0:
                await ann.join("news", acknowledged=True)
                await rig.push("news", "hello", acknowledged=True)
            await rig.settle()
            assert [one.redelivered for one in ann.take()] == [visit]
            ann.cut()
            await rig.settle()
        assert await rig.letters() == []


async def test_retries_and_attempts_are_remembered_across_a_crash(tmp_path):
    async with PushRig(tmp_path, {"delivery": {"max_retries": 1}}) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news", acknowledged=True)
        await rig.push("news", "hello", acknowledged=True)
        assert ann.told() == ["hello"]
        await rig.pass_time(31)
        assert ann.told() == ["hello+1"]
        await rig.settle()
        await rig.restart()

        ann = Hand(rig, "ann")
        await rig.settle()
        assert ann.told() == ["hello+2"]
        await rig.pass_time(62)
        assert await rig.letters() == [("ann", "retries", 3)]


async def test_a_message_that_waits_for_too_long_expires(tmp_path):
    async with PushRig(tmp_path, {"delivery": {"message_ttl": "100s"}}) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news", acknowledged=True)
        ann.close()
        await rig.push("news", "hello", acknowledged=True)
        await rig.pass_time(80)
        assert await rig.letters() == []
        await rig.pass_time(40)
        assert await rig.letters() == [("ann", "expired", 0)]
        assert rig.house.stats()["pending"] == 0
        ann = Hand(rig, "ann")
        await rig.settle()
        assert ann.told() == []


async def test_more_than_may_wait_is_given_up_at_once_and_not_counted(tmp_path):
    async with PushRig(tmp_path, {"delivery": {"max_pending": 2}}) as rig:
        ann, bob = Hand(rig, "ann"), Hand(rig, "bob")
        await ann.join("news", acknowledged=True)
        await bob.join("news", acknowledged=True)
        ann.close()
        counts = []
        for text in ("one", "two", "three"):
            counts.append((await rig.push("news", text, acknowledged=True)).recipients)
            await bob.ack(*bob.take())
        assert counts == [2, 2, 1]
        assert await rig.letters() == [("ann", "queue_full", 0)]
        ann = Hand(rig, "ann")
        await rig.settle()
        assert ann.told() == ["one", "two"]


async def test_bytes_that_wait_are_bounded_too(tmp_path):
    async with PushRig(tmp_path, {"delivery": {"max_pending_bytes": "64KiB"}}) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news", acknowledged=True)
        ann.close()
        for _ in range(3):
            await rig.push("news", "x" * 30_000, acknowledged=True)
        assert await rig.letters() == [("ann", "queue_full", 0)]


async def test_what_does_not_fit_into_memory_waits_on_disk_and_comes_in_order(tmp_path):
    async with PushRig(tmp_path, {"delivery": {"queue": 10, "max_pending": 1000}}) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news", acknowledged=True)
        for number in range(75):
            await rig.push("news", f"{number}", acknowledged=True)
        heard: list[str] = []
        while taken := ann.take(7):
            assert len(ann.client.queue) <= 10
            heard += [one.data["text"] for one in taken]
            await ann.ack(*taken)
            await rig.settle()
        assert heard == [str(number) for number in range(75)]
        assert ann.client.pending == 0


async def test_messages_that_come_while_the_disk_is_read_are_neither_lost_nor_doubled(tmp_path):
    async with PushRig(tmp_path, {"delivery": {"queue": 5, "max_pending": 1000}}) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news", acknowledged=True)
        heard: list[str] = []
        for number in range(60):
            await rig.push("news", f"{number}", acknowledged=True)
            if number % 3 == 0:
                taken = ann.take()
                heard += [one.data["text"] for one in taken if not one.redelivered]
                await ann.ack(*taken)
        for _ in range(60):
            await rig.settle()
            taken = ann.take()
            heard += [one.data["text"] for one in taken if not one.redelivered]
            if taken:
                await ann.ack(*taken)
        assert heard == [str(number) for number in range(60)]


async def test_a_message_that_is_pushed_while_the_last_page_is_read_is_read_too(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news", acknowledged=True)
        ann.cut()
        await rig.push("news", "early", acknowledged=True)
        read, late = rig.harness.store.list_pending, ["late"]

        async def slow(peer, after, limit):
            rows = await read(peer, after, limit)
            if late:
                await rig.push("news", late.pop(), acknowledged=True)
            return rows

        rig.harness.store.list_pending = slow
        ann = Hand(rig, "ann")
        await rig.settle()
        assert ann.told() == ["early", "late"]
        await rig.push("news", "later", acknowledged=True)
        assert ann.told() == ["later"]


async def test_a_message_that_was_read_before_its_publisher_heard_of_it_comes_once(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news", acknowledged=True)
        ann.cut()
        heard = []
        rig.house.delivery._kept, kept = lambda *given: heard.append(given), rig.house.delivery._kept
        await rig.push("news", "hello", acknowledged=True)
        ann = Hand(rig, "ann")
        await rig.settle()
        assert ann.told() == ["hello"]
        kept(*heard[0])
        assert ann.told() == []


async def test_it_takes_both_sides_to_acknowledge(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann, bob = Hand(rig, "ann"), Hand(rig, "bob")
        await ann.join("news", acknowledged=True)
        await bob.join("news")
        assert (await rig.push("news", "asked for", acknowledged=True)).recipients == 2
        assert (await rig.push("news", "by the way")).recipients == 2
        first, second = ann.take()
        assert (bool(first.delivery_id), bool(second.delivery_id)) == (True, False)
        assert [bool(one.delivery_id) for one in bob.take()] == [False, False]
        assert rig.house.stats()["pending"] == 1


async def test_nothing_of_a_plain_message_touches_the_disk(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news", acknowledged=True)
        submitted = []
        submit = rig.harness.store._writer.submit
        rig.harness.store._writer.submit = lambda *a, **k: (submitted.append(a), submit(*a, **k))[1]
        await rig.push("news", "hello")
        assert ann.told() == ["hello"]
        assert submitted == []


async def test_the_order_of_a_topic_is_kept_whatever_has_to_go_to_disk(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news", acknowledged=True)
        topic = await rig.topic("news")
        waiting = [
            asyncio.create_task(rig.push("news", f"{number}", acknowledged=number % 3 == 0)) for number in range(30)
        ]
        await asyncio.gather(*waiting)
        await rig.settle()
        assert ann.told() == [str(number) for number in range(30)]
        assert topic.unsettled == 0


async def test_a_publisher_that_gives_up_waiting_takes_nothing_back(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news", acknowledged=True)
        task = asyncio.create_task(rig.push("news", "hello", acknowledged=True))
        while not (await rig.topic("news")).unsettled:
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        await rig.settle()
        assert ann.told() == ["hello"]


async def test_the_same_key_is_pushed_once(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann = Hand(rig, "ann")
        await ann.join("news", acknowledged=True)
        first = await rig.push("news", "hello", acknowledged=True, key="k")
        assert await rig.push("news", "hello", acknowledged=True, key="k") == first
        with pytest.raises(IdConflict):
            await rig.push("news", "other", acknowledged=True, key="k")
        assert ann.told() == ["hello"]
        assert ann.client.pending == 1


async def test_leaving_and_deleting_bury_what_waits(tmp_path):
    async with PushRig(tmp_path) as rig:
        ann, bob = Hand(rig, "ann"), Hand(rig, "bob")
        await ann.join("news", acknowledged=True)
        await bob.join("news", acknowledged=True)
        await rig.push("news", "hello", acknowledged=True)
        topic = await rig.topic("news")
        assert await rig.house.topics.leave(topic, ann.peer) is True
        assert await rig.house.topics.leave(topic, ann.peer) is False
        assert ann.take() == []
        assert await rig.house.topics.delete(topic) == (1, 1)
        assert bob.over == [("news", TopicEndReason.DELETED)]
        assert bob.take() == []
        assert await rig.letters() == [
            ("ann", TopicDeadReason.MEMBERSHIP_ENDED.value, 1),
            ("bob", TopicDeadReason.TOPIC_DELETED.value, 1),
        ]
        assert rig.house.stats()["pending"] == 0


async def test_a_member_that_stays_away_for_too_long_is_one_no_more(tmp_path):
    async with PushRig(tmp_path, {"delivery": {"membership_ttl": "1000s"}}) as rig:
        ann, bob = Hand(rig, "ann"), Hand(rig, "bob")
        await ann.join("news", acknowledged=True)
        await bob.join("news", acknowledged=True)
        await rig.pass_time(3000)
        bob.cut()
        await rig.push("news", "hello", acknowledged=True)
        await rig.pass_time(900)
        assert {peer.client_id for peer in (await rig.topic("news")).members} == {"ann", "bob"}
        await rig.restart()
        assert {peer.client_id for peer in (await rig.topic("news")).members} == {"ann", "bob"}
        Hand(rig, "ann")
        await rig.pass_time(300)
        assert {peer.client_id for peer in (await rig.topic("news")).members} == {"ann"}
        assert ("bob", "membership_ended", 0) in await rig.letters()

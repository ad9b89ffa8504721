"""Push: topics and members are kept, deliveries stay until they are acknowledged or given up."""

from collections.abc import Awaitable

import pytest

from gatewayd.core.errors import IdConflict
from gatewayd.core.push import Peer, TopicDeadReason
from gatewayd.storage.push import Kept, MemberRecord, PushedMessage, Recipient, TopicRecord, Waiting
from gatewayd.storage.retention import Limits, Retention
from gatewayd.testing.store_cases.samples import NOW, Harness

ANN, BOB = Peer("ann", "laptop"), Peer("bob", "phone")


def message(name: str, *, topic: str = "news", wire: bytes = b"hello", expires: float = NOW + 100) -> PushedMessage:
    return PushedMessage(name, topic, wire, NOW, expires)


class PushCases:
    async def test_topics_are_kept_once_and_listed_by_name(self, harness: Harness) -> None:
        for name in ("b", "a", "c"):
            assert await harness.store.add_topic(TopicRecord(name, "ann", '{"n":1}', NOW)) is True
        assert await harness.store.add_topic(TopicRecord("a", "bob", "{}", NOW)) is False
        await harness.store.remove_topic("c")
        await harness.reopen()
        assert await harness.store.list_topics("", 9) == [TopicRecord(name, "ann", '{"n":1}', NOW) for name in "ab"]
        assert [topic.name for topic in await harness.store.list_topics("a", 1)] == ["b"]

    async def test_members_that_acknowledge_are_kept_until_they_end(self, harness: Harness) -> None:
        await harness.store.keep_member(MemberRecord("news", ANN, NOW, NOW))
        await harness.store.keep_member(MemberRecord("news", ANN, NOW, NOW + 5))
        await harness.store.keep_member(MemberRecord("news", BOB, NOW, NOW))
        await harness.reopen()
        ann, bob = await harness.store.list_members(("", "", ""), 9)
        assert (ann.peer, ann.seen, bob.peer) == (ANN, NOW + 5, BOB)
        assert await harness.store.list_members(("news", "ann", "laptop"), 9) == [bob]
        await harness.store.end_member("news", BOB, TopicDeadReason.MEMBERSHIP_ENDED, NOW)
        assert await harness.store.list_members(("", "", ""), 9) == [ann]
        await harness.store.remove_topic("news")
        assert await harness.store.list_members(("", "", ""), 9) == []

    async def test_a_delivery_waits_for_each_recipient_on_its_own(self, harness: Harness) -> None:
        kept = await harness.store.keep_push(message("m1"), [Recipient(ANN, 1), Recipient(BOB, 0)], [], count=2)
        await harness.store.keep_push(message("m2", wire=b"again"), [Recipient(ANN, 0)], [])
        assert kept == Kept("m1", 2)
        await harness.reopen()
        rows = await harness.store.list_pending(ANN, "", 9)
        assert [(row.message_id, row.wire, row.attempts) for row in rows] == [("m1", b"hello", 1), ("m2", b"again", 0)]
        assert [row.message_id for row in await harness.store.list_pending(ANN, "m1", 9)] == ["m2"]
        assert await harness.store.count_pending() == [Waiting(ANN, "news", 2, 10), Waiting(BOB, "news", 1, 5)]
        settled = await harness.store.settle(ANN, ["m1", "unknown"])
        assert [(one.peer, one.topic, one.message_id, one.size) for one in settled] == [(ANN, "news", "m1", 5)]
        assert await harness.store.settle(ANN, ["m1"]) == []
        assert [row.wire for row in await harness.store.list_pending(BOB, "", 9)] == [b"hello"]
        await harness.store.settle(BOB, ["m1"])
        assert await harness.store.count_pending() == [Waiting(ANN, "news", 1, 5)]

    async def test_attempts_are_counted_across_a_restart(self, harness: Harness) -> None:
        await harness.store.keep_push(message("m1"), [Recipient(ANN, 1)], [])
        await harness.store.note_attempts(ANN, [("m1", 3, 2), ("gone", 1, 1)])
        await harness.reopen()
        (row,) = await harness.store.list_pending(ANN, "", 9)
        assert (row.attempts, row.retries) == (3, 2)

    async def test_the_same_key_gives_the_first_message_and_another_content_is_a_conflict(
        self, harness: Harness
    ) -> None:
        def keep(name: str, digest: bytes, count: int) -> Awaitable[Kept]:
            return harness.store.keep_push(
                message(name), [Recipient(ANN, 0)], [], scope="push ann", key="k", digest=digest, count=count
            )

        assert await keep("m1", b"same", 7) == Kept("m1", 7)
        await harness.reopen()
        assert await keep("m2", b"same", 1) == Kept("m1", 7, duplicate=True)
        with pytest.raises(IdConflict):
            await keep("m2", b"other", 1)
        assert [row.message_id for row in await harness.store.list_pending(ANN, "", 9)] == ["m1"]

    async def test_what_is_given_up_becomes_a_dead_letter_with_its_reason(self, harness: Harness) -> None:
        await harness.store.keep_push(message("m1"), [Recipient(ANN, 4), Recipient(BOB, 0)], [])
        await harness.store.keep_push(message("m2", topic="other"), [Recipient(ANN, 1)], [BOB])
        await harness.store.keep_push(message("m3", expires=NOW + 1), [Recipient(ANN, 0)], [])
        assert len(await harness.store.give_up(ANN, ["m1"], TopicDeadReason.RETRIES, NOW + 2)) == 1
        assert [one.message_id for one in await harness.store.give_up_expired(NOW + 2, 9)] == ["m3"]
        ended = await harness.store.end_member("news", BOB, TopicDeadReason.TOPIC_DELETED, NOW + 3)
        assert [one.message_id for one in ended] == ["m1"]
        await harness.reopen()
        letters = await harness.store.list_topic_letters(topic="", principal="", before=0, limit=9)
        told = [(one.message_id, one.peer, one.reason.value, one.attempts, one.wire) for one in letters]
        assert told == [
            ("m1", BOB, "topic_deleted", 0, b"hello"),
            ("m3", ANN, "expired", 0, b"hello"),
            ("m1", ANN, "retries", 4, b"hello"),
            ("m2", BOB, "queue_full", 0, b"hello"),
        ]
        wanted = await harness.store.list_topic_letters(topic="other", principal="bob", before=0, limit=9)
        assert wanted == [letters[3]]
        older = await harness.store.list_topic_letters(topic="", principal="", before=letters[1].number, limit=1)
        assert older == [letters[2]]
        assert await harness.store.count_pending() == [Waiting(ANN, "other", 1, 5)]

    async def test_a_dead_letter_becomes_a_delivery_again_once(self, harness: Harness) -> None:
        await harness.store.keep_push(message("m1"), [], [ANN, BOB])
        bob, ann = await harness.store.list_topic_letters(topic="", principal="", before=0, limit=9)
        again = message("m2", wire=b"again")
        assert await harness.store.retry_letter(ann.number, again, Recipient(ANN, 1)) == Kept("m2", 1)
        twice = await harness.store.retry_letter(ann.number, message("m3"), Recipient(ANN, 1))
        assert (twice.duplicate, twice.recipients) == (True, 0)
        await harness.reopen()
        assert await harness.store.list_topic_letters(topic="", principal="", before=0, limit=9) == [bob]
        (row,) = await harness.store.list_pending(ANN, "", 9)
        assert (row.message_id, row.wire, row.attempts, row.retries) == ("m2", b"again", 1, 0)
        assert await harness.store.count_pending() == [Waiting(ANN, "news", 1, 5)]

    async def test_dead_letters_of_push_are_swept_like_everything_else(self, harness: Harness) -> None:
        for number in range(5):
            await harness.store.keep_push(message(f"m{number}"), [], [ANN])
        assert await harness.store.sweep(Retention({"push_dead_letters": Limits(max_count=2)}), NOW) == {
            "push_dead_letters": 3
        }
        letters = await harness.store.list_topic_letters(topic="", principal="", before=0, limit=9)
        assert [one.message_id for one in letters] == ["m4", "m3"]
        swept = await harness.store.sweep(Retention({"push_dead_letters": Limits(max_age=10)}), NOW + 60)
        assert swept == {"push_dead_letters": 2}

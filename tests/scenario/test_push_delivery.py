"""Acknowledged delivery over real streams and real crashes."""

from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import push_service_pb2, topic_pb2

from gatewayctl.client import Client, GatewayError
from tests.rigs.house import eventually
from tests.rigs.process import Daemon
from tests.rigs.push import PUSH, ack, deliveries, join, nack, nothing_more, push, pushed, texts
from tests.rigs.stream import RawStream

QUICK = "push: {enabled: true, delivery: {ack_timeout: 300ms, max_retries: 2, retry_backoff: 1}}\n"


async def letters(client, topic: str = "") -> list[topic_pb2.TopicDeadLetter]:
    request = push_service_pb2.ListTopicDeadLettersRequest(topic=topic)
    answer = await client.call(
        "PushService/ListTopicDeadLetters", request, push_service_pb2.ListTopicDeadLettersResponse
    )
    return list(answer.dead_letters)


async def test_what_was_not_acknowledged_at_a_kill_comes_again_with_its_count(tmp_path):
    async with Daemon(tmp_path, PUSH) as daemon:
        async with RawStream(daemon.address) as ann, RawStream(daemon.address) as bob:
            await ann.hello("ann")
            await bob.hello("bob")
            await join(ann, "orders", create_if_missing=True, acknowledged=True)
            for text in ("one", "two", "three"):
                assert (await push(bob, "orders", {"text": text}, acknowledged=True)).count == 1
            first, second, _ = await pushed(ann, 3)
            assert (first.redelivered, bool(first.delivery_id)) == (0, True)
            assert await ack(ann, first.delivery_id) == 1
            await daemon.kill()
        await daemon.start()
        async with RawStream(daemon.address) as bob:
            await bob.hello("bob")
            assert (await push(bob, "orders", {"text": "four"}, acknowledged=True)).count == 1
        async with RawStream(daemon.address) as ann:
            await ann.hello("ann")  # no word of the topic: it is still on it
            again = await pushed(ann, 3)
            assert texts(again) == ["two", "three", "four"]
            assert [one.redelivered for one in again] == [1, 1, 0]
            assert again[0].message_id == second.message_id
            assert await ack(ann, *(one.delivery_id for one in again)) == 3
        await daemon.kill()
        await daemon.start()
        async with RawStream(daemon.address) as ann:
            await ann.hello("ann")
            await nothing_more(ann)


async def test_what_is_never_acknowledged_becomes_a_dead_letter_that_can_be_read(tmp_path):
    async with Daemon(tmp_path, QUICK) as daemon, daemon.client() as client:
        async with RawStream(daemon.address) as ann, RawStream(daemon.address) as bob:
            await ann.hello("ann")
            await bob.hello("bob")
            await join(ann, "orders", create_if_missing=True, acknowledged=True)
            done = await push(bob, "orders", {"text": "hello"}, acknowledged=True)
            heard = await pushed(ann, 3)
            assert [one.redelivered for one in heard] == [0, 1, 2]
            assert len({one.message_id for one in heard}) == 1

            async def given_up() -> topic_pb2.TopicDeadLetter | None:
                found = await letters(client, "orders")
                return found[0] if found else None

            letter = await eventually(given_up)
            assert (letter.client_id, letter.principal, letter.attempts) == ("ann", "local", 3)
            assert letter.reason == topic_pb2.TOPIC_DEAD_REASON_RETRIES
            assert (letter.message.message_id, letter.message.data["text"]) == (done.message_id, "hello")
            assert (letter.message.client_id, letter.message.delivery_id) == ("bob", "")
            assert await ack(ann, heard[0].delivery_id) == 0
            assert await letters(client, "other") == []


async def retry(client: Client, id_: str) -> str:
    """The new message, or why there is none."""
    request = push_service_pb2.RetryTopicDeadLetterRequest(dead_letter_id=id_)
    answer = push_service_pb2.RetryTopicDeadLetterResponse
    try:
        return (await client.call("PushService/RetryTopicDeadLetter", request, answer)).message_id
    except GatewayError as error:
        return error.reason


async def test_a_dead_letter_is_pushed_again_to_its_client_alone(tmp_path):
    """As a new message that has to be acknowledged, once, and across a kill; as long as the client is on the topic."""
    async with Daemon(tmp_path, PUSH) as daemon:
        async with (
            daemon.client() as client,
            RawStream(daemon.address) as ann,
            RawStream(daemon.address) as bob,
            RawStream(daemon.address) as other,
        ):
            for name, one in (("ann", ann), ("bob", bob), ("other", other)):
                await one.hello(name)
            await join(ann, "orders", create_if_missing=True, acknowledged=True)
            await join(other, "orders")
            done = await push(bob, "orders", {"text": "hello"}, acknowledged=True)
            for _ in range(4):  # the last of them is one more than `max_retries`
                (message,) = await pushed(ann)
                await nack(ann, message.delivery_id)
            await pushed(other)
            (letter,) = await letters(client, "orders")

            code, out, err = await daemon.ctl("topics", "retry", letter.id)
            assert code == 0, err
            (again,) = await pushed(ann)
            assert (again.data["text"], again.client_id, again.redelivered) == ("hello", "bob", 0)
            assert again.message_id != done.message_id
            assert again.message_id in out
            await nothing_more(other)
            assert await letters(client, "orders") == []
            assert [await retry(client, one) for one in (letter.id, "x", "9" * 30)] == ["NOT_FOUND"] * 3
            assert await retry(client, "") == "INVALID_ARGUMENT"
            await daemon.kill()
        await daemon.start()
        async with daemon.client() as client, RawStream(daemon.address) as ann:
            await ann.hello("ann")
            (after,) = await pushed(ann)
            assert after.message_id == again.message_id
            await ann.accepted(await ann.ask(pb.ConnectRequest(leave_topic=pb.LeaveTopic(topic="orders"))))
            (letter,) = await letters(client, "orders")
            assert await retry(client, letter.id) == "NOT_FOUND"
            await join(ann, "orders", acknowledged=True)
            newest = await retry(client, letter.id)
            (last,) = await pushed(ann)
            assert (last.message_id, last.data["text"]) == (newest, "hello")
            assert await ack(ann, last.delivery_id) == 1
            assert await letters(client, "orders") == []


async def test_what_is_refused_comes_again_at_once(tmp_path):
    async with Daemon(tmp_path, PUSH) as daemon:
        async with RawStream(daemon.address) as ann, RawStream(daemon.address) as bob:
            await ann.hello("ann")
            await bob.hello("bob")
            await join(ann, "orders", create_if_missing=True, acknowledged=True)
            await push(bob, "orders", {"text": "hello"}, acknowledged=True)
            (first,) = await pushed(ann)
            assert await nack(ann, first.delivery_id) == 1
            (second,) = await pushed(ann)
            assert (second.delivery_id, second.redelivered) == (first.delivery_id, 1)
            assert await ack(ann, second.delivery_id) == 1
            assert await nack(ann, second.delivery_id) == 0


async def test_a_client_that_was_away_gets_everything_when_it_is_back(tmp_path):
    async with Daemon(tmp_path, PUSH) as daemon, daemon.client() as client:
        async with RawStream(daemon.address) as ann:
            await ann.hello("ann")
            await join(ann, "orders", create_if_missing=True, acknowledged=True)
        async with RawStream(daemon.address) as bob:
            await bob.hello("bob")
            for number in range(250):
                await push(bob, "orders", {"text": str(number)}, acknowledged=True)
        async with RawStream(daemon.address) as ann:
            await ann.hello("ann")
            accepted = await join(ann, "orders", acknowledged=True)
            assert accepted.count == 250
            heard: list[str] = []
            while len(heard) < 250:
                frame = await deliveries(ann)
                fresh = [one for one in frame.messages if not one.redelivered]
                heard += texts(fresh)
                await ack(ann, *(one.delivery_id for one in frame.messages))
            assert heard == [str(number) for number in range(250)]
        assert await letters(client) == []


async def test_the_same_push_twice_is_one_message(tmp_path):
    async with Daemon(tmp_path, PUSH) as daemon:
        async with RawStream(daemon.address) as ann, RawStream(daemon.address) as bob:
            await ann.hello("ann")
            await bob.hello("bob")
            await join(ann, "orders", create_if_missing=True, acknowledged=True)
            first = await push(bob, "orders", {"text": "hello"}, acknowledged=True, idempotency_key="k1")
            again = await push(bob, "orders", {"text": "hello"}, acknowledged=True, idempotency_key="k1")
            assert (again.message_id, again.count) == (first.message_id, first.count)
            assert texts(await pushed(ann)) == ["hello"]
            await nothing_more(ann)

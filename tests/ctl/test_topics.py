"""Push topics in the SDK and in gatewayctl, over a real socket with cuts at awkward points."""

import asyncio
import json
import signal
from collections.abc import Callable
from typing import Any

import grpc
import pytest
from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import push_service_pb2, topic_pb2

from gatewayctl.client import (
    Client,
    ClientClosed,
    EventsLost,
    Gap,
    Membership,
    NotFound,
    Presence,
    TopicEnded,
    TopicMessage,
    Unavailable,
)
from tests.ctl.command import Process, ctl
from tests.ctl.fake_gateway import FakeGateway, Refusal
from tests.ctl.test_sdk import client_of

pytestmark = pytest.mark.usefixtures("quiet_environment")


@pytest.fixture
def topic(gateway: FakeGateway) -> str:
    gateway.push.members["orders"] = {}
    return "orders"


async def take(membership: Membership, count: int = 1) -> list[TopicMessage]:
    async with asyncio.timeout(60):
        return [await anext(membership) for _ in range(count)]


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not holds():
            await asyncio.sleep(0.005)


def numbers(messages: list[TopicMessage]) -> list[Any]:
    return [message.data["n"] for message in messages]


async def test_a_member_gets_what_others_push(gateway: FakeGateway, topic: str) -> None:
    async with client_of(gateway) as client:
        async with client.topics.join(topic, status="busy", metadata={"desk": 4}) as messages:
            gateway.push.say(topic, {"n": 1, "deep": {"list": [1, 2.5, None]}})
            (message,) = await take(messages)
            assert dict(gateway.push.joins[0].metadata) == {"desk": 4.0}
        assert gateway.push.left == [topic]

    assert message.data == {"n": 1, "deep": {"list": [1, 2.5, None]}}
    assert isinstance(message.data["n"], int)
    assert (message.topic, message.sender, message.principal) == (topic, "other", "local")
    assert (message.message_id, message.time, message.delivery_id, message.redelivered) == (
        "t1",
        1_760_000_000.5,
        "",
        0,
    )
    assert gateway.push.joins[0].status == "busy"


async def test_a_topic_that_is_missing_is_an_error_unless_it_may_be_made(gateway: FakeGateway) -> None:
    async with client_of(gateway) as client:
        with pytest.raises(NotFound) as missing:
            await client.topics.join("nothing").started()
        async with client.topics.join("nothing", create_if_missing=True):
            with pytest.raises(ValueError, match="already"):
                client.topics.join("nothing")

    assert missing.value.reason == "TOPIC_NOT_FOUND"


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
        await until(gateway.streams[0].out.empty)
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


@pytest.mark.parametrize(
    ("reason", "ended", "code"),
    [(pb.TOPIC_END_REASON_DELETED, "deleted", 5), (pb.TOPIC_END_REASON_DISABLED, "disabled", 9)],
)
async def test_the_end_of_a_topic_is_told_behind_its_messages(
    gateway: FakeGateway, topic: str, reason: pb.TopicEndReason.ValueType, ended: str, code: int
) -> None:
    async with client_of(gateway) as client, client.topics.join(topic) as messages:
        gateway.push.say(topic, {"n": 1})
        gateway.push.end(topic, reason)
        await until(lambda: messages._error is not None)

        assert numbers(await take(messages)) == [1]
        with pytest.raises(TopicEnded) as over:
            await take(messages)
        gateway.push.members[topic] = {}
        async with client.topics.join(topic) as again:  # it may be there again
            gateway.push.say(topic, {"n": 2})
            assert numbers(await take(again)) == [2]

    assert (over.value.ended, over.value.code, over.value.metadata) == (ended, code, {"topic": topic})


async def test_a_topic_that_was_deleted_meanwhile_has_ended(gateway: FakeGateway, topic: str) -> None:
    async with client_of(gateway) as client, client.topics.join(topic) as messages:
        del gateway.push.members[topic]
        gateway.streams[0].cut()

        with pytest.raises(TopicEnded):
            await take(messages)

    assert len(gateway.hellos) == 2


async def test_what_the_daemon_has_dropped_is_raised_or_told(gateway: FakeGateway, topic: str) -> None:
    gaps: list[Gap] = []
    gateway.push.members["news"] = {}
    async with (
        client_of(gateway) as client,
        client.topics.join(topic) as messages,
        client.topics.join("news", on_gap=gaps.append) as news,
    ):
        gateway.push.say(topic, {"n": 1}, dropped=7)
        gateway.push.say("news", {"n": 2})
        with pytest.raises(EventsLost) as lost:
            await take(messages)

        assert numbers(await take(messages)) == [1]
        assert numbers(await take(news)) == [2]

    assert lost.value.gap == Gap("dropped", 7, "")
    assert gaps == [Gap("dropped", 7, "")]


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


async def test_who_comes_and_goes_is_told_between_the_messages(gateway: FakeGateway, topic: str) -> None:
    told: list[Any] = []
    change = topic_pb2.PresenceChange(
        topic=topic, client_id="c", principal="p", kind=topic_pb2.PRESENCE_KIND_JOIN, status="online"
    )
    change.metadata.update({"desk": 4})
    change.time.FromMilliseconds(1_760_000_000_250)
    async with client_of(gateway) as client, client.topics.join(topic, on_presence=told.append) as messages:
        assert gateway.push.joins[0].watch_presence
        gateway.push.say(topic, {"n": 1})
        gateway.push.deliver("tester", presence_changes=[change])
        gateway.push.say(topic, {"n": 2})
        for _ in range(2):
            told.append(numbers(await take(messages)))

    assert told == [[1], Presence(topic, "c", "p", "join", "online", {"desk": 4}, 1_760_000_000.25), [2]]


async def test_what_a_client_says_of_itself_is_said_again_after_a_cut(gateway: FakeGateway, topic: str) -> None:
    async with client_of(gateway) as client, client.topics.join(topic) as messages:
        await client.topics.update_presence(topic, status="away", metadata={"until": 5})
        with pytest.raises(NotFound):
            await client.topics.update_presence("other", status="away")
        gateway.streams[0].cut()
        await until(lambda: messages.connects == 2)

    assert [update.status for update in gateway.push.updates] == ["away"]
    assert [(join.status, dict(join.metadata)) for join in gateway.push.joins] == [("", {}), ("away", {"until": 5.0})]


async def test_a_push_says_how_many_it_is_for(gateway: FakeGateway, topic: str) -> None:
    gateway.push.members[topic] = {"a": pb.JoinTopic(acknowledged=True), "b": pb.JoinTopic(), "tester": pb.JoinTopic()}
    async with client_of(gateway) as client:
        assert await client.topics.push(topic, {"n": 1}) == 0  # nobody is there now
        assert await client.topics.push(topic, {"n": 1}, acknowledged=True) == 1
        with pytest.raises(NotFound):
            await client.topics.push("nothing", {"n": 1})
        with pytest.raises(ValueError, match="acknowledged"):
            await client.topics.push(topic, {"n": 1}, idempotency_key="k")
        with pytest.raises(ValueError):
            await client.topics.push(topic, {"n": object()})


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


async def test_a_push_without_acknowledgement_is_never_repeated(gateway: FakeGateway, topic: str) -> None:
    gateway.cuts["did_push"] = 1

    async with client_of(gateway) as client:
        with pytest.raises(Unavailable, match="may have been pushed"):
            await client.topics.push(topic, {"n": 1})

    assert len(gateway.push.pushed) == 1


async def test_topics_and_members_are_listed_page_by_page(gateway: FakeGateway) -> None:
    def page(request: push_service_pb2.ListTopicsRequest) -> push_service_pb2.ListTopicsResponse:
        more = "" if request.page_token else "2"
        return push_service_pb2.ListTopicsResponse(
            topics=[topic_pb2.Topic(name=f"{request.pattern}{request.page_token}")], next_page_token=more
        )

    gateway.answers["PushService/ListTopics"] = page  # type: ignore[assignment]
    gateway.answers["PushService/GetPresence"] = push_service_pb2.GetPresenceResponse(
        members=[topic_pb2.TopicMember(client_id="c")]
    )
    gateway.answers["PushService/CreateTopic"] = push_service_pb2.CreateTopicResponse(
        topic=topic_pb2.Topic(name="new", owner="local")
    )
    gateway.answers["PushService/DeleteTopic"] = push_service_pb2.DeleteTopicResponse(member_count=3)
    async with client_of(gateway) as client:
        assert [each.name for each in await client.topics.find("a.>")] == ["a.>", "a.>2"]
        assert [each.client_id for each in await client.topics.presence("a")] == ["c"]
        assert (await client.topics.create("new", {"about": "x"})).owner == "local"
        assert (await client.topics.delete("new")).member_count == 3

    created = next(request for name, request in gateway.requests if name.endswith("CreateTopic"))
    assert dict(created.metadata) == {"about": "x"}  # type: ignore[attr-defined]


async def test_a_client_that_is_not_open_has_no_topics(gateway: FakeGateway) -> None:
    client = Client(gateway.address)
    with pytest.raises(ClientClosed):
        client.topics.join("orders")
    with pytest.raises(ClientClosed):
        await client.topics.push("orders", {})


# gatewayctl


async def test_following_a_topic_prints_messages_as_they_come(gateway: FakeGateway, topic: str) -> None:
    command = await Process.start("topics", "follow", topic, "--address", gateway.address)
    await until(lambda: gateway.push.joins)
    gateway.push.say(topic, {"content": "hi\x1b[2J"})
    line = await command.line()
    command.process.send_signal(signal.SIGINT)
    done = await command.end()

    assert line.endswith('local/other: {"content": "hi\\u001b[2J"}')
    assert (done.code, done.err) == (0, "")


async def test_following_for_programs_is_a_line_of_json_each(gateway: FakeGateway, topic: str) -> None:
    change = topic_pb2.PresenceChange(topic=topic, client_id="c", principal="p", kind=topic_pb2.PRESENCE_KIND_LEAVE)
    command = await Process.start("topics", "follow", topic, "--presence", "-o", "json", "--address", gateway.address)
    await until(lambda: gateway.push.joins)
    (follower,) = gateway.push.members[topic]
    gateway.push.deliver(follower, gateway.push.message(topic, {"n": 1}), presence_changes=[change])
    lines = [json.loads(await command.line()), json.loads(await command.line())]
    gateway.push.end(topic)
    done = await command.end()

    assert lines[0] == {
        "topic": topic,
        "message_id": "t1",
        "client_id": "other",
        "principal": "local",
        "data": {"n": 1},
        "time": 1_760_000_000.5,
    }
    assert (lines[1]["client_id"], lines[1]["kind"]) == ("c", "leave")
    assert done.code == 4
    assert done.err == "gatewayctl: the topic 'orders' was deleted\n"


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("show", "x"), 4, "there is no topic 'x'"),
        (("push", "x", "[1]"), 2, "must be a JSON object"),
        (("push", "x", "{"), 2, "the message is no JSON"),
        (("push", "x", "{}", "--idempotency-key", "k"), 2, "--idempotency-key needs --acknowledged"),
        (("create", "x", "--metadata", "1"), 2, "--metadata must be a JSON object"),
        (("create", "x"), 1, "push is turned off"),
        (("delete", "x"), 5, "push.manage"),
        (("follow", "x"), 4, "there is no topic 'x'"),
    ],
)
async def test_what_goes_wrong_is_a_sentence_and_a_code(
    gateway: FakeGateway, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], code: int, said: str
) -> None:
    missing = Refusal(grpc.StatusCode.NOT_FOUND, "TOPIC_NOT_FOUND", "there is no topic 'x'")
    gateway.answers["PushService/GetTopic"] = missing
    gateway.answers["PushService/CreateTopic"] = Refusal(
        grpc.StatusCode.FAILED_PRECONDITION, "PUSH_DISABLED", "push is turned off (push.enabled)"
    )
    gateway.answers["PushService/DeleteTopic"] = Refusal(
        grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED", "this needs push.manage:x"
    )

    done = await ctl(capsys, "--address", gateway.address, "topics", *words)

    assert done.code == code
    assert said in done.err
    assert done.out == ""


async def test_what_is_pushed_reaches_the_daemon(gateway: FakeGateway, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("push", "orders", '{"n": 1}', "--acknowledged", "--idempotency-key", "k")

    done = await ctl(capsys, "--address", gateway.address, "topics", *words)

    request: Any = gateway.requests[0][1]
    assert done.code == 0
    assert (request.topic, dict(request.data), request.acknowledged, request.idempotency_key) == (
        "orders",
        {"n": 1.0},
        True,
        "k",
    )

"""Push topics in the SDK, over a real socket with cuts at awkward points."""

from typing import Any

import pytest
from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import push_service_pb2, topic_pb2

from gatewayctl.client import Client, ClientClosed, EventsLost, Gap, NotFound, Presence, TopicEnded, Unavailable
from tests.ctl.fake_gateway import FakeGateway
from tests.ctl.sdk_rig import client_of
from tests.ctl.topics_rig import numbers, take, until

pytestmark = pytest.mark.usefixtures("quiet_environment")


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

"""Push topics over real streams: who joins, what reaches whom, and what is refused."""

import pytest
from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import push_service_pb2

from gatewayctl.client import GatewayError
from tests.rigs.process import Daemon
from tests.rigs.push import PUSH, ack, join, join_frame, nothing_more, push, pushed, struct, texts
from tests.rigs.stream import RawStream, reason_of


async def test_a_message_reaches_every_member_but_its_sender(tmp_path):
    async with Daemon(tmp_path, PUSH) as daemon:
        async with RawStream(daemon.address) as ann, RawStream(daemon.address) as bob, RawStream(daemon.address) as eve:
            for name, stream in (("ann", ann), ("bob", bob), ("eve", eve)):
                await stream.hello(name)
                await join(stream, "news.eu", create_if_missing=True)

            done = await push(ann, "news.eu", {"text": "hello", "n": 1})

            assert done.count == 2
            for stream in (bob, eve):
                (message,) = await pushed(stream)
                assert (message.topic, message.client_id, message.principal) == ("news.eu", "ann", "local")
                assert dict(message.data) == {"text": "hello", "n": 1.0}
                assert message.message_id == done.message_id
                assert (message.delivery_id, message.redelivered) == ("", 0)
                assert message.publish_time.seconds > 1_700_000_000
            await nothing_more(ann)


async def test_joining_what_does_not_exist_needs_to_be_asked_for(tmp_path):
    async with Daemon(tmp_path, PUSH) as daemon, RawStream(daemon.address) as ann:
        assert "push" in (await ann.hello("ann")).features

        error = await ann.rejected(await ann.ask(join_frame("nowhere")))
        assert reason_of(error) == "TOPIC_NOT_FOUND"
        error = await ann.rejected(await ann.ask(pb.ConnectRequest(push=pb.Push(topic="nowhere"))))
        assert reason_of(error) == "TOPIC_NOT_FOUND"
        await join(ann, "nowhere", create_if_missing=True)
        assert (await push(ann, "nowhere", {"text": "alone"})).count == 0


async def test_who_left_gets_nothing_and_leaving_twice_says_so(tmp_path):
    async with Daemon(tmp_path, PUSH) as daemon:
        async with RawStream(daemon.address) as ann, RawStream(daemon.address) as bob:
            await ann.hello("ann")
            await bob.hello("bob")
            await join(bob, "news", create_if_missing=True)
            leave = pb.LeaveTopic(topic="news")
            assert (await bob.accepted(await bob.ask(pb.ConnectRequest(leave_topic=leave)))).existed
            assert not (await bob.accepted(await bob.ask(pb.ConnectRequest(leave_topic=leave)))).existed

            assert (await push(ann, "news", {"text": "hello"})).count == 0
            await nothing_more(bob)


async def test_while_push_is_off_everything_is_refused(tmp_path):
    async with (
        Daemon(tmp_path, "push: {enabled: false}\n") as daemon,
        RawStream(daemon.address) as ann,
        daemon.client() as client,
    ):
        assert "push" not in (await ann.hello("ann")).features
        for frame in (
            join_frame("news", create_if_missing=True),
            pb.ConnectRequest(push=pb.Push(topic="news")),
            pb.ConnectRequest(leave_topic=pb.LeaveTopic(topic="news")),
            pb.ConnectRequest(update_presence=pb.UpdatePresence()),
            pb.ConnectRequest(ack=pb.Ack(delivery_ids=["d"])),
            pb.ConnectRequest(nack=pb.Nack(delivery_ids=["d"])),
        ):
            assert reason_of(await ann.rejected(await ann.ask(frame))) == "PUSH_DISABLED"
        service = push_service_pb2.DESCRIPTOR.services_by_name["PushService"]
        for method in service.methods:
            request = getattr(push_service_pb2, method.input_type.name)()
            for field in ("topic", "poll_token"):
                if field in method.input_type.fields_by_name:
                    setattr(request, field, "news")
            if method.name == "Ack":
                request.ack_ids.append("d")
            if method.name == "RetryTopicDeadLetter":
                request.dead_letter_id = "1"
            with pytest.raises(GatewayError) as refused:
                await client.call(
                    f"PushService/{method.name}", request, getattr(push_service_pb2, method.output_type.name)
                )
            assert (refused.value.code, refused.value.reason) == (9, "PUSH_DISABLED"), method.name


async def test_topics_are_made_listed_shown_and_deleted(tmp_path):
    async with Daemon(tmp_path, PUSH) as daemon, daemon.client() as client, RawStream(daemon.address) as ann:
        await ann.hello("ann")
        for name in ("a.one", "a.two", "b.one"):
            request = push_service_pb2.CreateTopicRequest(topic=name, metadata=struct({"about": name}))
            made = await client.call("PushService/CreateTopic", request, push_service_pb2.CreateTopicResponse)
            assert (made.topic.name, made.topic.owner, made.topic.metadata["about"]) == (name, "local", name)
        with pytest.raises(GatewayError) as again:
            await client.call("PushService/CreateTopic", request, push_service_pb2.CreateTopicResponse)
        assert again.value.reason == "ALREADY_EXISTS"
        await join(ann, "a.two")

        async def listed(**more: object) -> push_service_pb2.ListTopicsResponse:
            request = push_service_pb2.ListTopicsRequest(**more)  # type: ignore[arg-type]
            return await client.call("PushService/ListTopics", request, push_service_pb2.ListTopicsResponse)

        page = await listed(pattern="a.*", page_size=1)
        rest = await listed(pattern="a.*", page_size=1, page_token=page.next_page_token)
        assert [topic.name for topic in (*page.topics, *rest.topics)] == ["a.one", "a.two"]
        assert (rest.topics[0].member_count, rest.topics[0].present_count) == (1, 1)
        assert [topic.name for topic in (await listed()).topics] == ["a.one", "a.two", "b.one"]

        gone = await client.call(
            "PushService/DeleteTopic",
            push_service_pb2.DeleteTopicRequest(topic="a.two"),
            push_service_pb2.DeleteTopicResponse,
        )
        assert gone.member_count == 1
        ended = (await ann.take("topic_ended")).topic_ended
        assert (ended.topic, ended.reason) == ("a.two", pb.TOPIC_END_REASON_DELETED)
        with pytest.raises(GatewayError) as missing:
            await client.call(
                "PushService/GetTopic",
                push_service_pb2.GetTopicRequest(topic="a.two"),
                push_service_pb2.GetTopicResponse,
            )
        assert missing.value.reason == "TOPIC_NOT_FOUND"


async def test_topics_and_who_acknowledges_there_outlive_a_restart(tmp_path):
    daemon = Daemon(tmp_path, PUSH)
    async with daemon:
        async with RawStream(daemon.address) as ann:
            await ann.hello("ann")
            await join(ann, "news", create_if_missing=True, acknowledged=True)
        await daemon.kill()
        await daemon.start()
        async with RawStream(daemon.address) as bob, RawStream(daemon.address) as ann:
            await bob.hello("bob")
            assert (await push(bob, "news", {"text": "while you were away"}, acknowledged=True)).count == 1
            await ann.hello("ann")
            (message,) = await pushed(ann)
            assert texts([message]) == ["while you were away"]
            assert await ack(ann, message.delivery_id) == 1


async def test_F82_names_that_are_no_topics_are_refused_everywhere(tmp_path):
    wrong = (
        "",
        ".",
        "a..b",
        "a.",
        ".a",
        "a b",
        "a\n",
        "\x00",
        "a.*",
        ">",
        "a.>",
        "a\u2028b",
        "\ufeff",
        "x" * 257,
        "a\x7f",
    )
    async with Daemon(tmp_path, PUSH) as daemon, RawStream(daemon.address) as ann, daemon.client() as client:
        await ann.hello("ann")
        for name in wrong:
            for frame in (
                join_frame(name, create_if_missing=True),
                pb.ConnectRequest(push=pb.Push(topic=name)),
                pb.ConnectRequest(leave_topic=pb.LeaveTopic(topic=name)),
            ):
                error = await ann.rejected(await ann.ask(frame))
                assert reason_of(error) == "INVALID_ARGUMENT", repr(name)
                assert error.violations[0].field.endswith(".topic")
            with pytest.raises(GatewayError) as refused:
                await client.call(
                    "PushService/CreateTopic",
                    push_service_pb2.CreateTopicRequest(topic=name),
                    push_service_pb2.CreateTopicResponse,
                )
            assert refused.value.code == 3, repr(name)
        for odd in (
            "größe.日本",
            "emoji.😀",
            "a:b=c",
            "%00",
            "..".replace(".", "-"),
            "'; DROP TABLE push_topics; --".replace(" ", "_"),
        ):
            await join(ann, odd, create_if_missing=True)
            assert (await push(ann, odd, {"text": "x"})).count == 0
        torn = join_frame("ok").SerializeToString().replace(b"ok", b"\xff\xfe")
        await ann.write(torn)
        ended = await ann.ended()
        assert ended is not None
        assert ended.reason == "PROTOCOL_VIOLATION"

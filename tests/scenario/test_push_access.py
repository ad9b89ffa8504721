"""Two users never meet: what each scope of push opens, and what it leaves closed."""

import asyncio
import contextlib
import hashlib
import sqlite3

import pytest
from gateway.v1 import admin_service_pb2
from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import push_service_pb2 as push_pb

from gatewayctl.client import Client, GatewayError
from tests.rigs.process import Daemon
from tests.rigs.push import ack, join, join_frame, nack, nothing_more, push, pushed, struct
from tests.rigs.stream import RawStream, reason_of

TOKENS = {name: f"gw_{name}_{'0' * 43}" for name in ("ann", "bob", "reader", "writer", "maker", "chief", "none")}
SCOPES = {
    "ann": ["push:ann.>", "push:shared.*"],
    "bob": ["push:bob.>", "push:shared.*"],
    "reader": ["push.join:shared.*"],
    "writer": ["push.publish:shared.*"],
    "maker": ["push.manage:shared.*"],
    "chief": ["push:>", "admin.read", "admin.write"],
    "none": ["agents.send:*"],
}


def digest(name: str) -> str:
    return hashlib.sha256(TOKENS[name].encode()).hexdigest()


CONFIG = "push: {enabled: true}\nclients:\n" + "".join(
    f"  {name}: {{token_sha256: {digest(name)}, scopes: {scopes}}}\n".replace("'", '"')
    for name, scopes in SCOPES.items()
)


async def refusal(stream: RawStream, frame: pb.ConnectRequest) -> str:
    return reason_of(await stream.rejected(await stream.ask(frame)))


def stream(daemon: Daemon, name: str) -> RawStream:
    return RawStream(daemon.address, token=TOKENS[name])


def caller(daemon: Daemon, name: str) -> Client:
    return Client(address=daemon.address, token=TOKENS[name], client_id=f"call-{name}")


async def denied(work) -> None:
    with pytest.raises(GatewayError) as refused:
        await work
    assert refused.value.reason == "PERMISSION_DENIED"


async def test_what_is_denied_on_a_stream_is_audited(tmp_path):
    """Who wanted what: once for each refusal, whether the kind of scope is lacking or the topic in it."""
    async with Daemon(tmp_path, CONFIG) as daemon:
        async with stream(daemon, "bob") as bob, stream(daemon, "none") as nobody, stream(daemon, "reader") as reader:
            for one in (bob, nobody, reader):
                await one.hello("stream")
            denied = (
                (bob, join_frame("ann.private", create_if_missing=True)),
                (bob, pb.ConnectRequest(push=pb.Push(topic="ann.private"))),
                (reader, pb.ConnectRequest(push=pb.Push(topic="shared.room"))),
                (nobody, join_frame("shared.room")),
                (nobody, pb.ConnectRequest(register_agent=pb.RegisterAgent(agent="x"))),
                (nobody, pb.ConnectRequest(send=pb.Send(agent="nobody", text="hello"))),
                (bob, pb.ConnectRequest(subscribe=pb.Subscribe(subscription_id="s", filter={"all_types": True}))),
            )
            reasons = [await refusal(one, frame) for one, frame in denied]
            # A topic that is not there is no matter of rights.
            missing = await refusal(bob, join_frame("bob.missing"))
        await daemon.stop()
        with contextlib.closing(sqlite3.connect(daemon.state / "gatewayd.db")) as rows:
            audit = rows.execute("SELECT principal, action, subject FROM audit WHERE decision = 'denied'").fetchall()

    assert reasons == ["PERMISSION_DENIED"] * 5 + ["AGENT_NOT_FOUND", "PERMISSION_DENIED"]
    assert missing == "TOPIC_NOT_FOUND"
    assert sorted(audit) == [
        ("bob", "events.subscribe", ""),
        ("bob", "push.join", "ann.private"),
        ("bob", "push.publish", "ann.private"),
        ("none", "agents.register", ""),
        ("none", "push.join", ""),
        ("reader", "push.publish", ""),
    ]


async def test_topics_of_others_can_be_neither_joined_nor_pushed_to_nor_seen(tmp_path):
    async with Daemon(tmp_path, CONFIG) as daemon, stream(daemon, "ann") as ann, stream(daemon, "bob") as bob:
        await ann.hello("same-id")
        await bob.hello("same-id")
        await join(ann, "ann.private", create_if_missing=True)
        for topic in ("ann.private", "ann.missing", "else"):
            assert await refusal(bob, join_frame(topic, create_if_missing=True)) == "PERMISSION_DENIED"
            assert await refusal(bob, pb.ConnectRequest(push=pb.Push(topic=topic))) == "PERMISSION_DENIED"
        await join(bob, "shared.room", create_if_missing=True)
        await join(ann, "shared.room")
        # One id, two principals: two clients, and each gets what the other says.
        assert (await push(bob, "shared.room", {"text": "hello"})).count == 1
        (message,) = await pushed(ann)
        assert (message.principal, message.client_id) == ("bob", "same-id")
        await nothing_more(bob)

        async with caller(daemon, "bob") as client:
            await denied(
                client.call(
                    "PushService/GetTopic", push_pb.GetTopicRequest(topic="ann.private"), push_pb.GetTopicResponse
                )
            )
            await denied(
                client.call(
                    "PushService/GetPresence",
                    push_pb.GetPresenceRequest(topic="ann.private"),
                    push_pb.GetPresenceResponse,
                )
            )
            listed = await client.call(
                "PushService/ListTopics", push_pb.ListTopicsRequest(), push_pb.ListTopicsResponse
            )
            assert [topic.name for topic in listed.topics] == ["shared.room"]
            await denied(
                client.call(
                    "PushService/GetPresence",
                    push_pb.GetPresenceRequest(topic="shared.room", include_away=True),
                    push_pb.GetPresenceResponse,
                )
            )


async def test_join_publish_and_manage_are_three_rights(tmp_path):
    async with Daemon(tmp_path, CONFIG) as daemon:
        async with (
            caller(daemon, "maker") as maker,
            stream(daemon, "reader") as reader,
            stream(daemon, "writer") as writer,
        ):
            await reader.hello("r")
            await writer.hello("w")
            assert await refusal(reader, join_frame("shared.new", create_if_missing=True)) == "PERMISSION_DENIED"
            await maker.call(
                "PushService/CreateTopic", push_pb.CreateTopicRequest(topic="shared.new"), push_pb.CreateTopicResponse
            )
            await join(reader, "shared.new")
            assert await refusal(reader, pb.ConnectRequest(push=pb.Push(topic="shared.new"))) == "PERMISSION_DENIED"
            assert await refusal(writer, join_frame("shared.new")) == "PERMISSION_DENIED"
            assert (await push(writer, "shared.new", {"text": "hello"})).count == 1
            await denied(
                maker.call(
                    "PushService/PublishToTopic",
                    push_pb.PublishToTopicRequest(topic="shared.new", data=struct({})),
                    push_pb.PublishToTopicResponse,
                )
            )
            await denied(maker.call("PushService/Register", push_pb.RegisterRequest(), push_pb.RegisterResponse))
        async with caller(daemon, "none") as nobody, stream(daemon, "none") as frames:
            await frames.hello("n")
            assert await refusal(frames, join_frame("shared.new")) == "PERMISSION_DENIED"
            await denied(
                nobody.call(
                    "PushService/GetTopic", push_pb.GetTopicRequest(topic="shared.new"), push_pb.GetTopicResponse
                )
            )
            assert not (
                await nobody.call("PushService/ListTopics", push_pb.ListTopicsRequest(), push_pb.ListTopicsResponse)
            ).topics


async def test_a_dead_letter_is_retried_by_whose_client_it_was_for_or_an_administrator(tmp_path):
    """Of somebody else's it is not even said that it is there."""

    def retry(client: Client, id_: str):
        request = push_pb.RetryTopicDeadLetterRequest(dead_letter_id=id_)
        return client.call("PushService/RetryTopicDeadLetter", request, push_pb.RetryTopicDeadLetterResponse)

    async with Daemon(tmp_path, CONFIG) as daemon:
        async with (
            caller(daemon, "ann") as calls,
            caller(daemon, "bob") as stranger,
            caller(daemon, "chief") as chief,
            stream(daemon, "ann") as ann,
            stream(daemon, "bob") as bob,
        ):
            await ann.hello("a")
            await bob.hello("b")
            await join(ann, "shared.room", create_if_missing=True, acknowledged=True)
            heard = []
            for retrier in (calls, chief):
                await push(bob, "shared.room", {"text": "hello"}, acknowledged=True)
                for _ in range(4):
                    (message,) = await pushed(ann)
                    await nack(ann, message.delivery_id)
                listed = await calls.call(
                    "PushService/ListTopicDeadLetters",
                    push_pb.ListTopicDeadLettersRequest(),
                    push_pb.ListTopicDeadLettersResponse,
                )
                (letter,) = listed.dead_letters
                with pytest.raises(GatewayError) as refused:
                    await retry(stranger, letter.id)
                assert refused.value.reason == "NOT_FOUND"
                heard.append((await retry(retrier, letter.id)).message_id)
                (message,) = await pushed(ann)
                assert message.message_id == heard[-1]
                await ack(ann, message.delivery_id)
        await daemon.stop()
        with contextlib.closing(sqlite3.connect(daemon.state / "gatewayd.db")) as rows:
            found = rows.execute(
                "SELECT principal, subject, decision FROM audit WHERE action = 'retry_topic_dead_letter'"
            ).fetchall()
    assert found == [("ann", "shared.room", "retried"), ("chief", "shared.room", "retried")]


async def test_only_its_owner_or_an_administrator_deletes_a_topic(tmp_path):
    async with Daemon(tmp_path, CONFIG) as daemon:
        async with caller(daemon, "ann") as ann, caller(daemon, "bob") as bob, caller(daemon, "chief") as chief:
            for topic in ("shared.one", "shared.two"):
                await ann.call(
                    "PushService/CreateTopic", push_pb.CreateTopicRequest(topic=topic), push_pb.CreateTopicResponse
                )
            await denied(
                bob.call(
                    "PushService/DeleteTopic",
                    push_pb.DeleteTopicRequest(topic="shared.one"),
                    push_pb.DeleteTopicResponse,
                )
            )
            await ann.call(
                "PushService/DeleteTopic", push_pb.DeleteTopicRequest(topic="shared.one"), push_pb.DeleteTopicResponse
            )
            await chief.call(
                "PushService/DeleteTopic", push_pb.DeleteTopicRequest(topic="shared.two"), push_pb.DeleteTopicResponse
            )
    with contextlib.closing(sqlite3.connect(daemon.state / "gatewayd.db")) as rows:
        audit = rows.execute("SELECT principal, subject, decision FROM audit WHERE action = 'delete_topic'").fetchall()
    assert audit == [("ann", "shared.one", "deleted"), ("chief", "shared.two", "deleted")]


async def test_dead_letters_are_shown_to_their_owner_and_to_who_may_read_everything(tmp_path):
    config = CONFIG.replace("enabled: true", "enabled: true, delivery: {max_pending: 1}")
    async with Daemon(tmp_path, config) as daemon:
        async with stream(daemon, "ann") as ann, stream(daemon, "bob") as bob:
            await ann.hello("a")
            await bob.hello("b")
            await join(ann, "shared.room", create_if_missing=True, acknowledged=True)
            for text in ("one", "two"):
                await push(bob, "shared.room", {"text": text}, acknowledged=True)
        for name, count in (("ann", 1), ("bob", 0), ("chief", 1)):
            async with caller(daemon, name) as client:
                found = await client.call(
                    "PushService/ListTopicDeadLetters",
                    push_pb.ListTopicDeadLettersRequest(),
                    push_pb.ListTopicDeadLettersResponse,
                )
                assert len(found.dead_letters) == count, name


async def test_a_poll_token_is_worth_nothing_to_another_principal_and_to_a_revoked_one(tmp_path):
    async with Daemon(tmp_path, CONFIG) as daemon:
        async with caller(daemon, "ann") as ann, caller(daemon, "bob") as bob, daemon.client() as chief:
            made = await ann.call(
                "PushService/Register", push_pb.RegisterRequest(client_id="p"), push_pb.RegisterResponse
            )
            with pytest.raises(GatewayError) as unknown:
                await bob.call(
                    "PushService/Poll", push_pb.PollRequest(poll_token=made.poll_token), push_pb.PollResponse
                )
            assert unknown.value.reason == "POLLER_NOT_FOUND"
            waiting = asyncio.create_task(
                ann.call(
                    "PushService/Poll",
                    push_pb.PollRequest(poll_token=made.poll_token),
                    push_pb.PollResponse,
                    timeout=60,
                )
            )
            await asyncio.sleep(0.3)  # it may come before or after the revocation: it is refused in both cases
            await chief.call(
                "AdminService/RevokeToken",
                admin_service_pb2.RevokeTokenRequest(client_id="ann"),
                admin_service_pb2.RevokeTokenResponse,
            )
            with pytest.raises(GatewayError) as revoked:
                await waiting
            assert revoked.value.reason == "UNAUTHENTICATED"

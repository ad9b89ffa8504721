"""The section `push`: each key is obeyed by a running daemon, and changes at a reload."""

from pathlib import Path
from typing import Any

import pytest
from gateway.v1 import admin_service_pb2 as admin
from gateway.v1 import event_service_pb2 as frames
from gateway.v1 import push_service_pb2 as pb

from gatewayctl.client import Client, GatewayError
from tests.rigs.house import eventually
from tests.rigs.process import Daemon
from tests.rigs.push import join, join_frame, push, pushed, struct
from tests.rigs.stream import RawStream, reason_of


async def reload(daemon: Daemon, client: Client, push_section: str) -> None:
    daemon.write(f"push: {push_section}\n")
    await client.call("AdminService/ReloadConfig", admin.ReloadConfigRequest(), admin.ReloadConfigResponse, timeout=30)


async def call(client: Client, method: str, **fields: Any) -> Any:
    return await client.call(
        f"PushService/{method}", getattr(pb, f"{method}Request")(**fields), getattr(pb, f"{method}Response")
    )


async def limit_of(work: Any) -> str:
    with pytest.raises(GatewayError) as full:
        await work
    assert full.value.reason == "LIMIT_EXCEEDED"
    return full.value.metadata["limit"]


async def test_a_reload_turns_push_on_and_off_and_what_is_kept_stays(tmp_path: Path) -> None:
    async with Daemon(tmp_path, "push: {enabled: false}\n") as daemon:
        async with daemon.client() as client, RawStream(daemon.address) as ann, RawStream(daemon.address) as bob:
            await ann.hello("ann")
            await bob.hello("bob")
            assert reason_of(await ann.rejected(await ann.ask(join_frame("news")))) == "PUSH_DISABLED"
            await reload(daemon, client, "{enabled: true}")
            await join(ann, "news", create_if_missing=True, acknowledged=True)
            await push(bob, "news", {"text": "hello"}, acknowledged=True)
            (message,) = await pushed(ann)
            polls = await call(client, "Register")

            await reload(daemon, client, "{enabled: false}")
            ended = (await ann.take("topic_ended", timeout=60)).topic_ended
            assert (ended.topic, ended.reason) == ("news", frames.TOPIC_END_REASON_DISABLED)
            update = frames.ConnectRequest(push=frames.Push(topic="news"))
            assert reason_of(await bob.rejected(await bob.ask(update))) == "PUSH_DISABLED"
            with pytest.raises(GatewayError) as off:
                await call(client, "Poll", poll_token=polls.poll_token)
            assert off.value.reason == "PUSH_DISABLED"

            await reload(daemon, client, "{enabled: true}")
            assert (await join(ann, "news", acknowledged=True)).count == 1
            (again,) = await pushed(ann)
            assert (again.message_id, again.redelivered) == (message.message_id, 1)


async def test_every_bound_holds_from_the_reload_on(tmp_path: Path) -> None:
    async with Daemon(tmp_path, "push: {enabled: true}\n") as daemon:
        async with daemon.client() as client, RawStream(daemon.address) as ann, RawStream(daemon.address) as bob:
            await ann.hello("ann")
            await bob.hello("bob")
            for name in ("one", "two"):
                await call(client, "CreateTopic", topic=name, metadata=struct({"text": "x" * 200}))

            async def refused(stream: RawStream, topic: str) -> str:
                error = await stream.rejected(await stream.ask(join_frame(topic)))
                assert reason_of(error) == "LIMIT_EXCEEDED"
                return error.metadata["limit"]

            await reload(daemon, client, "{enabled: true, max_topics: 2, max_metadata: 100}")
            assert await limit_of(call(client, "CreateTopic", topic="three")) == "push.max_topics"
            with pytest.raises(GatewayError) as large:
                await call(client, "CreateTopic", topic="three", metadata=struct({"text": "x" * 200}))
            assert large.value.reason == "INVALID_ARGUMENT"

            await reload(daemon, client, "{enabled: true, max_members: 1, max_joined: 1}")
            await join(ann, "one")
            assert await refused(bob, "one") == "push.max_members"
            assert await refused(ann, "two") == "push.max_joined"
            await reload(daemon, client, "{enabled: true, max_clients: 1}")
            async with RawStream(daemon.address) as eve:
                await eve.hello("eve")
                assert await refused(eve, "two") == "push.max_clients"
            await reload(daemon, client, "{enabled: true, polling: {max_clients: 1}}")
            await call(client, "Register", client_id="p")
            assert await limit_of(call(client, "Register", client_id="q")) == "push.polling.max_clients"


async def test_what_may_wait_is_as_the_file_says(tmp_path: Path) -> None:
    section = "{enabled: true, delivery: {max_pending: 2}, polling: {queue: 3, batch: 2}}"
    async with Daemon(tmp_path, f"push: {section}\n") as daemon, daemon.client() as client:
        made = await call(client, "Register", client_id="p")
        token = made.poll_token
        await call(client, "JoinTopic", poll_token=token, topic="news", create_if_missing=True, acknowledged=True)

        async def publish(*, acknowledged: bool) -> int:
            data = struct({"text": "x" * 40_000})
            done = await call(client, "PublishToTopic", topic="news", data=data, acknowledged=acknowledged)
            return int(done.recipient_count)

        assert [await publish(acknowledged=True) for _ in range(3)] == [1, 1, 0]
        poll = await call(client, "Poll", poll_token=token)
        assert len(poll.messages) == 2
        await call(client, "Ack", poll_token=token, ack_ids=[one.delivery_id for one in poll.messages])
        for _ in range(5):
            await publish(acknowledged=False)
        poll = await call(client, "Poll", poll_token=token)
        assert (len(poll.messages), poll.dropped) == (2, 2)
        assert len((await call(client, "Poll", poll_token=token)).messages) == 1

        await reload(daemon, client, "{enabled: true, delivery: {max_pending_bytes: 64KiB}}")
        assert [await publish(acknowledged=True) for _ in range(2)] == [1, 0]
        letters = await call(client, "ListTopicDeadLetters")
        assert len(letters.dead_letters) == 2


async def test_times_are_as_the_file_says(tmp_path: Path) -> None:
    section = (
        "{enabled: true, presence: {heartbeat_interval: 7s, offline_timeout: 9s}, polling: {wait: 200ms},"
        " delivery: {message_ttl: 1s}}"
    )
    async with Daemon(tmp_path, f"push: {section}\n") as daemon, daemon.client() as client:
        made = await call(client, "Register", client_id="p")
        assert (made.heartbeat_interval.seconds, made.wait.nanos) == (7, 200_000_000)
        token = made.poll_token
        await call(client, "JoinTopic", poll_token=token, topic="news", create_if_missing=True, acknowledged=True)
        assert (await call(client, "Heartbeat", poll_token=token)).present_for.seconds == 9
        assert not (await call(client, "Poll", poll_token=token)).messages
        await call(client, "PublishToTopic", topic="news", data=struct({}), acknowledged=True)

        async def expired() -> bool:
            return bool((await call(client, "ListTopicDeadLetters")).dead_letters)

        await eventually(expired)
        # Nobody polled meanwhile: the registration has ended, too.
        with pytest.raises(GatewayError) as gone:
            await call(client, "Poll", poll_token=token)
        assert gone.value.reason == "POLLER_NOT_FOUND"

"""Polling by single calls, for clients that hold no stream."""

import asyncio
from typing import Any

import pytest
from gateway.v1 import push_service_pb2 as pb
from google.protobuf.duration_pb2 import Duration

from gatewayctl.client import Client, GatewayError
from gatewayd.access.principals import local_principal
from gatewayd.rpc import patience
from tests.rigs.house import eventually
from tests.rigs.in_process import InProcess
from tests.rigs.process import Daemon
from tests.rigs.push import PUSH, join, push, pushed, struct, texts
from tests.rigs.stream import RawStream


class Polls:
    """One client that polls."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.made = pb.RegisterResponse()

    async def call(self, method: str, **fields: Any) -> Any:
        request, answer = getattr(pb, f"{method}Request"), getattr(pb, f"{method}Response")
        if "poll_token" in request.DESCRIPTOR.fields_by_name:
            fields.setdefault("poll_token", self.made.poll_token)
        return await self.client.call(f"PushService/{method}", request(**fields), answer, timeout=60)

    async def register(self, client_id: str = "") -> pb.RegisterResponse:
        self.made = await self.call("Register", client_id=client_id)
        return self.made

    async def poll(self, wait: float = 30.0, count: int = 0) -> pb.PollResponse:
        whole = Duration()
        whole.FromMilliseconds(int(wait * 1000))
        return await self.call("Poll", wait=whole, max_messages=count)


async def test_register_join_poll_acknowledge_leave(tmp_path):
    async with Daemon(tmp_path, PUSH) as daemon, daemon.client() as client, RawStream(daemon.address) as bob:
        await bob.hello("bob")
        polls = Polls(client)
        made = await polls.register("kiosk")
        assert (made.client_id, made.wait.seconds, made.heartbeat_interval.seconds) == ("kiosk", 30, 15)
        assert made.expire_after.seconds == 60
        with pytest.raises(GatewayError) as missing:
            await polls.call("JoinTopic", topic="news")
        assert missing.value.reason == "TOPIC_NOT_FOUND"
        await polls.call("JoinTopic", topic="news", create_if_missing=True, acknowledged=True, status="open")
        await join(bob, "news", watch_presence=True)

        waiting = asyncio.create_task(polls.poll())
        await push(bob, "news", {"text": "hello"}, acknowledged=True)
        (message,) = (await waiting).messages
        assert (message.data["text"], message.client_id, message.redelivered) == ("hello", "bob", 0)
        refused = await polls.call("Ack", nack_ids=[message.delivery_id])
        assert (refused.ack_count, refused.nack_count) == (0, 1)
        (again,) = (await polls.poll()).messages
        assert again.redelivered == 1
        assert (await polls.call("Ack", ack_ids=[again.delivery_id, "unknown"])).ack_count == 1
        assert not (await polls.poll(0)).messages

        beat = await polls.call("Heartbeat", status="busy", metadata=struct({"n": 1}))
        assert beat.present_for.seconds == 45
        presence = await polls.call("GetPresence", topic="news")
        assert [(one.client_id, one.status) for one in presence.members] == [("bob", "online"), ("kiosk", "busy")]
        assert (await polls.call("LeaveTopic", topic="news")).existed
        assert not (await polls.call("LeaveTopic", topic="news")).existed
        assert (await push(bob, "news", {"text": "x"}, acknowledged=True)).count == 0


async def test_who_polls_may_push_and_does_not_hear_itself(tmp_path):
    async with Daemon(tmp_path, PUSH) as daemon, daemon.client() as client, RawStream(daemon.address) as bob:
        await bob.hello("bob")
        polls = Polls(client)
        await polls.register("kiosk")
        await polls.call("JoinTopic", topic="news", create_if_missing=True)
        await join(bob, "news")
        done = await polls.call("PublishToTopic", topic="news", client_id="kiosk", data=struct({"text": "mine"}))
        assert done.recipient_count == 1
        assert texts(await pushed(bob)) == ["mine"]
        assert not (await polls.poll(0)).messages
        done = await polls.call("PublishToTopic", topic="news", data=struct({"text": "nobody's"}))
        assert done.recipient_count == 2
        assert texts((await polls.poll()).messages) == ["nobody's"]


async def test_registering_again_replaces_the_token_and_a_restart_forgets_it_but_no_message(tmp_path):
    async with Daemon(tmp_path, PUSH) as daemon:
        async with daemon.client() as client, RawStream(daemon.address) as bob:
            await bob.hello("bob")
            old, new = Polls(client), Polls(client)
            await old.register("kiosk")
            await old.call("JoinTopic", topic="news", create_if_missing=True, acknowledged=True)
            await new.register("kiosk")
            with pytest.raises(GatewayError) as replaced:
                await old.poll(0)
            assert replaced.value.reason == "POLLER_NOT_FOUND"
            await push(bob, "news", {"text": "hello"}, acknowledged=True)
            assert texts((await new.poll()).messages) == ["hello"]
        await daemon.kill()
        await daemon.start()
        async with daemon.client() as client:
            polls = Polls(client)
            polls.made = new.made
            with pytest.raises(GatewayError) as unknown:
                await polls.poll(0)
            assert (unknown.value.code, unknown.value.reason) == (5, "POLLER_NOT_FOUND")
            await polls.register("kiosk")
            (message,) = (await polls.poll()).messages
            assert (message.data["text"], message.redelivered) == ("hello", 1)


async def test_a_poll_ends_before_the_deadline_of_its_call(tmp_path, monkeypatch):
    """By what is kept for the way, of which there is much here; it would wait for thirty seconds by itself."""
    monkeypatch.setattr(patience, "_MARGIN", 19.0)
    monkeypatch.setattr(patience, "_SHARE", 1.0)
    async with InProcess(tmp_path, PUSH) as gateway, gateway.client("kiosk") as client:
        polls = Polls(client)
        await polls.register()
        request = pb.PollRequest(poll_token=polls.made.poll_token)
        answer = await client.call("PushService/Poll", request, pb.PollResponse, timeout=20)
        assert not answer.messages


async def test_what_a_poll_is_asked_wrongly_is_refused(tmp_path):
    async with Daemon(tmp_path, PUSH) as daemon, daemon.client() as client:
        polls = Polls(client)
        await polls.register("kiosk")
        for method, fields in (
            ("Poll", {"poll_token": ""}),
            ("Poll", {"max_messages": -1}),
            ("Poll", {"wait": Duration(seconds=-1)}),
            ("Ack", {}),
            ("Ack", {"ack_ids": ["x"] * 1001}),
            ("Ack", {"ack_ids": [""]}),
            ("JoinTopic", {"topic": "a..b"}),
            ("JoinTopic", {"topic": "a", "status": "x" * 65}),
            ("LeaveTopic", {"topic": ""}),
            ("Register", {"client_id": "x" * 129}),
            ("Register", {"client_id": "a\nb"}),
        ):
            with pytest.raises(GatewayError) as refused:
                await polls.call(method, **fields)
            assert refused.value.code == 3, (method, fields)


async def test_a_poll_that_a_reload_ends_comes_back_as_at_its_timeout(tmp_path):
    """What it is told is true of the next call: push is off, and the registration gone when it is on again."""
    async with InProcess(tmp_path, PUSH) as gateway, gateway.client("c") as client:
        polls = Polls(client)
        token = (await polls.register("kiosk")).poll_token
        await polls.call("JoinTopic", topic="news", create_if_missing=True)
        waiting = asyncio.create_task(polls.poll())

        async def waits() -> bool:
            return gateway.house.push.house.pollers.find(local_principal(), token).waiting

        await eventually(waits)
        await gateway.reload("push: {enabled: false}\n")
        assert (await waiting) == pb.PollResponse()
        with pytest.raises(GatewayError) as off:
            await polls.poll()
        assert off.value.reason == "PUSH_DISABLED"
        await gateway.reload(PUSH)
        with pytest.raises(GatewayError) as gone:
            await polls.poll()
        assert gone.value.reason == "POLLER_NOT_FOUND"

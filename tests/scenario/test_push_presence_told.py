"""Presence over real streams: events on the bus, frames for who watches, and the list."""

from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import push_service_pb2
from gateway.v1.event_type_pb2 import (
    EVENT_TYPE_PRESENCE_JOIN,
    EVENT_TYPE_PRESENCE_LEAVE,
    EVENT_TYPE_PRESENCE_UPDATE,
)

from gatewayctl.client import event_filter
from tests.rigs.house import eventually
from tests.rigs.process import Daemon
from tests.rigs.push import changes, join, struct
from tests.rigs.stream import RawStream, reason_of

CONFIG = """
push: {enabled: true, presence: {heartbeat_interval: 1s, offline_timeout: 2s, min_interval: 0}}
gateway: {reconnect_timeout: 60s}
"""


async def present(client, topic: str) -> list[tuple[str, str]]:
    answer = await client.call(
        "PushService/GetPresence",
        push_service_pb2.GetPresenceRequest(topic=topic),
        push_service_pb2.GetPresenceResponse,
    )
    return [(one.client_id, one.status) for one in answer.members]


async def test_presence_is_told_as_events_with_their_topic(tmp_path):
    async with Daemon(tmp_path, CONFIG) as daemon, RawStream(daemon.address) as watch:
        await watch.hello("watch")
        await watch.subscribe(
            "p", event_filter(["presence_join", "presence_leave", "presence_update"], topic="rooms.*")
        )
        ann = RawStream(daemon.address)
        async with ann:
            await ann.hello("ann")
            await join(ann, "rooms.one", create_if_missing=True, status="here", metadata={"seat": 4})
            await join(ann, "elsewhere", create_if_missing=True)
            update = pb.UpdatePresence(topic="rooms.one", status="busy")
            await ann.accepted(await ann.ask(pb.ConnectRequest(update_presence=update)))
            await ann.half_close()
            await ann.ended()
        seen = []
        while len(seen) < 3:
            seen += (await watch.take("delivery", timeout=60)).delivery.events
        assert [event.type for event in seen] == [
            EVENT_TYPE_PRESENCE_JOIN,
            EVENT_TYPE_PRESENCE_UPDATE,
            EVENT_TYPE_PRESENCE_LEAVE,
        ]
        first = seen[0]
        assert (first.topic, first.stream_id, first.source) == ("rooms.one", "ann", "gatewayd")
        assert (first.presence_join.topic, first.presence_join.client_id) == ("rooms.one", "ann")
        assert (first.presence_join.status, first.presence_join.metadata["seat"]) == ("here", 4)
        assert (seen[1].presence_update.status, dict(seen[1].presence_update.metadata)) == ("busy", {})


async def test_a_connection_that_breaks_counts_as_there_until_the_timeout(tmp_path):
    async with Daemon(tmp_path, CONFIG) as daemon, daemon.client() as client, RawStream(daemon.address) as bob:
        await bob.hello("bob")
        await join(bob, "room", create_if_missing=True, watch_presence=True)
        ann = RawStream(daemon.address)
        async with ann:
            await ann.hello("ann")
            await join(ann, "room", status="here")
            assert await changes(bob) == [("ann", "join", "here")]
            assert await present(client, "room") == [("ann", "here"), ("bob", "online")]
        assert await changes(bob) == [("ann", "leave", "here")]
        assert await present(client, "room") == [("bob", "online")]

        request = push_service_pb2.GetPresenceRequest(topic="room", include_away=True)
        answer = await client.call("PushService/GetPresence", request, push_service_pb2.GetPresenceResponse)
        assert [(one.client_id, one.present, one.status) for one in answer.members] == [
            ("ann", False, ""),
            ("bob", True, "online"),
        ]
        async with RawStream(daemon.address) as back:
            await back.hello("ann")
            assert await changes(bob) == [("ann", "join", "here")]


async def test_a_quick_return_is_not_told(tmp_path):
    async with Daemon(tmp_path, CONFIG.replace("offline_timeout: 2s", "offline_timeout: 60s")) as daemon:
        async with RawStream(daemon.address) as bob:
            await bob.hello("bob")
            await join(bob, "room", create_if_missing=True, watch_presence=True)
            for visit in range(3):
                async with RawStream(daemon.address) as ann:
                    await ann.hello("ann")
                    if not visit:
                        await join(ann, "room")
            async with RawStream(daemon.address) as eve:
                await eve.hello("eve")
                await join(eve, "room")
            assert await changes(bob, 2) == [("ann", "join", "online"), ("eve", "join", "online")]


async def test_presence_needs_a_membership_and_its_size_is_bounded(tmp_path):
    async with Daemon(tmp_path, CONFIG.replace("enabled: true", "enabled: true, max_metadata: 100")) as daemon:
        async with RawStream(daemon.address) as ann:
            await ann.hello("ann")
            update = pb.ConnectRequest(update_presence=pb.UpdatePresence(topic="room", status="x"))
            assert reason_of(await ann.rejected(await ann.ask(update))) == "NOT_FOUND"
            await join(ann, "room", create_if_missing=True)
            update = pb.ConnectRequest(update_presence=pb.UpdatePresence(metadata=struct({"text": "x" * 100})))
            error = await ann.rejected(await ann.ask(update))
            assert (reason_of(error), error.violations[0].field) == ("INVALID_ARGUMENT", "metadata")
            update = pb.ConnectRequest(update_presence=pb.UpdatePresence(status="x" * 65))
            assert reason_of(await ann.rejected(await ann.ask(update))) == "INVALID_ARGUMENT"


async def test_nothing_is_left_on_a_topic_of_a_client_that_never_comes_back(tmp_path):
    """Its membership ends with `reconnect_timeout`, whatever its presence."""
    config = CONFIG.replace("reconnect_timeout: 60s", "reconnect_timeout: 1s")
    async with Daemon(tmp_path, config) as daemon, daemon.client() as client:
        async with RawStream(daemon.address) as ann:
            await ann.hello("ann")
            await join(ann, "room", create_if_missing=True)
            assert await present(client, "room") == [("ann", "online")]

        async def gone() -> bool:
            request = push_service_pb2.GetPresenceRequest(topic="room", include_away=True)
            answer = await client.call("PushService/GetPresence", request, push_service_pb2.GetPresenceResponse)
            return not answer.members

        await eventually(gone)

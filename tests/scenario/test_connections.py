"""Connections: hello, what is asked on one, heartbeats, and frames without sense."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import event_filter, new_event
from gatewayd.core.event import Cursor
from tests.rigs.house import House, house
from tests.rigs.links import BOUNDS, TRANSPORTS, Raw, only_ours, raw_over
from tests.rigs.stream import reason_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("links"), BOUNDS) as rig:
        yield rig


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def alone(rig: House) -> None:
    await only_ours(rig)


@pytest.fixture(params=TRANSPORTS)
def raw(request: pytest.FixtureRequest) -> Raw:
    """One more connection, over each transport in turn."""
    return raw_over(request.param)


ON_BYTES = pytest.mark.parametrize("raw", ["grpc", "websocket proto"], indirect=True)


async def test_a_welcome_says_what_holds_here(rig: House, raw: Raw) -> None:
    """Protocol, features, policy, a resume token and the end of the log (P3.2)."""
    async with raw(rig) as stream:
        welcome = await stream.hello()

    assert (welcome.protocol, welcome.resumed) == (1, False)
    assert {"subscribe", "publish", "send", "resume"} <= set(welcome.features)
    assert welcome.policy.max_message_bytes == 256 * 1024
    assert welcome.policy.max_queue_bytes == 64 * 1024
    assert welcome.policy.heartbeat_interval.seconds == 1
    assert welcome.policy.reconnect_timeout.seconds == 30
    assert welcome.resume_token
    assert welcome.cursor


async def test_a_protocol_that_nobody_speaks_is_refused_with_a_step(rig: House, raw: Raw) -> None:
    """A typed refusal: upgrade the client (P3.2)."""
    async with raw(rig) as stream:
        await stream.write(pb.ConnectRequest(hello=pb.Hello(client_id="future", protocol_min=7, protocol_max=9)))
        refused = (await stream.take("refused")).refused
        ended = await stream.ended()

    assert reason_of(refused.error) == "UNSUPPORTED_PROTOCOL"
    assert refused.step == pb.RECOVERY_STEP_UPGRADE_CLIENT
    assert ended is not None
    assert ended.reason == "UNSUPPORTED_PROTOCOL"


@ON_BYTES
@pytest.mark.parametrize(
    "data",
    [b"\xff\xff\xff\xff", b"\x0a\x05abc", b"\x12\x80\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", b"", b"\xfa\x07\x01x"],
    ids=["no tags", "cut", "huge varint", "empty", "unknown field"],
)
async def test_F42_a_frame_that_cannot_be_read_ends_its_stream_alone(rig: House, raw: Raw, data: bytes) -> None:
    """PROTOCOL_VIOLATION for that stream; the daemon and the others go on."""
    async with raw(rig) as first, raw(rig) as second:
        await first.write(data)
        before = await first.ended()
        await second.hello("garbage")
        await second.write(data)
        after = await second.ended()

    for error in (before, after):
        assert error is not None
        assert error.reason == "PROTOCOL_VIOLATION"
    assert (await rig.client.send("echo", "alive")).content == "alive"


async def test_a_stream_begins_with_hello(rig: House, raw: Raw) -> None:
    """Anything else first is a violation, and so is a second hello."""
    async with raw(rig) as first, raw(rig) as second:
        await first.ask(pb.ConnectRequest(ping=pb.Ping()))
        early = await first.ended()
        await second.hello("twice")
        await second.write(pb.ConnectRequest(hello=pb.Hello(client_id="twice", protocol_min=1, protocol_max=1)))
        late = await second.ended()

    assert early is not None
    assert late is not None
    assert (early.reason, late.reason) == ("PROTOCOL_VIOLATION", "PROTOCOL_VIOLATION")


async def test_a_hello_without_a_client_id_is_refused(rig: House, raw: Raw) -> None:
    """What is wrong is named, and trying again will not help."""
    async with raw(rig) as stream:
        await stream.write(pb.ConnectRequest(hello=pb.Hello(protocol_min=1, protocol_max=1)))
        refused = (await stream.take("refused")).refused

    assert reason_of(refused.error) == "INVALID_ARGUMENT"
    assert [one.field for one in refused.error.violations] == ["hello.client_id"]
    assert not refused.error.metadata
    assert refused.step == pb.RECOVERY_STEP_DO_NOT_RETRY


async def test_an_id_names_one_open_request(rig: House, raw: Raw) -> None:
    """The second of two under one id is refused, whatever it is; the first is answered, and then the id is free."""
    async with raw(rig) as stream:
        await stream.hello("twice")
        first = pb.ConnectRequest(request_id="q", send=pb.Send(agent="slow", text="700ms the first"))
        accepted = await stream.accepted(await stream.ask(first))
        errors = []
        for frame in (
            pb.ConnectRequest(request_id="q", send=pb.Send(agent="slow", text="100ms the second")),
            pb.ConnectRequest(request_id="q", cancel=pb.Cancel(execution_id=accepted.execution_id)),
            pb.ConnectRequest(request_id="q", publish=pb.Publish(events=[new_event("custom", {}, custom_type="note")])),
        ):
            errors.append(await stream.rejected(await stream.ask(frame)))
        reply = await stream.take("reply", timeout=60)
        again = pb.ConnectRequest(request_id="q", send=pb.Send(agent="slow", text="100ms again", no_reply=True))
        await stream.accepted(await stream.ask(again))

    assert {reason_of(error) for error in errors} == {"INVALID_ARGUMENT"}
    assert all(error.violations[0].field == "request_id" and "'q'" in error.message for error in errors)
    assert (reply.request_id, reply.reply.content) == ("q", "the first")
    assert reply.reply.execution_id == accepted.execution_id


async def test_heartbeats_come_at_the_interval(rig: House, raw: Raw) -> None:
    """heartbeat_interval: one for each connection, with its own target; ephemeral (P4.1)."""
    async with raw(rig) as stream:
        await stream.hello("beat")
        await stream.subscribe("s", event_filter(["heartbeat"]))
        first = (await stream.take("delivery")).delivery.events
        second = (await stream.take("delivery")).delivery.events

    beats = [event for event in [*first, *second] if event.stream_id == "beat"]
    assert [event.heartbeat.interval for event in beats] == [1.0, 1.0]
    assert 0.5 < beats[1].time - beats[0].time < 30
    assert {event.target for event in [*first, *second]} == {"beat"}


async def test_idle_readers_learn_how_far_they_may_go_on_from(rig: House, raw: Raw) -> None:
    """A progress frame carries the place when nothing matched (P3.5)."""
    async with raw(rig) as stream:
        await stream.hello("idle")
        await stream.subscribe("s", event_filter(topic="never"))
        cursor = await rig.client.publish(new_event("custom", {"n": 1}, custom_type="note", topic="other"))
        seen = Cursor.parse((await stream.take("progress")).progress.cursor)
        while seen.seq < Cursor.parse(cursor).seq:
            seen = Cursor.parse((await stream.take("progress")).progress.cursor)

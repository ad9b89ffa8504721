"""Connections: hello, what a lost one leaves behind, bounds on what one client may ask, and frames without sense."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable

import grpc
import pytest
import pytest_asyncio
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import (
    Client,
    ConnectionReplaced,
    Event,
    GatewayError,
    LimitExceeded,
    Unavailable,
    event_filter,
    new_event,
)
from tests.rigs.house import House, eventually, house
from tests.rigs.stream import RawStream, reason_of
from tests.rigs.websocket import JSON, PROTO, RawSocket, http_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = """
gateway:
  http: {port: 0, websocket: true}
  heartbeat_interval: 1s
  reconnect_timeout: 1s
  max_connections: 6
  limits: {streams_per_client: 3, message_bytes: 256KiB, metadata_bytes: 4KiB, queue_bytes: 64KiB,
           publish_rate: 200, send_rate: 20}
agents:
  echo: {model: offline/echo}
  slow: {model: offline/slow}
"""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("links"), CONFIG) as rig:
        yield rig


@pytest_asyncio.fixture(autouse=True, loop_scope="module")
async def alone(rig: House) -> None:
    """The connections of the test before have been noticed to be gone."""

    async def only_ours() -> bool:
        return (await rig.client.status()).connections.open == 1

    await eventually(only_ours)


def copy_of(event: Event) -> Event:
    """Another event of the same content."""
    copy = Event()
    copy.CopyFrom(event)
    return copy


Raw = Callable[[House], RawStream]
ON_BYTES = pytest.mark.parametrize("raw", ["grpc", "websocket proto"], indirect=True)


@pytest.fixture(params=["grpc", "websocket json", "websocket proto"])
def raw(request: pytest.FixtureRequest) -> Raw:
    """One more connection, over each transport in turn: all drive the same conversation."""

    def connect(rig: House) -> RawStream:
        if request.param == "grpc":
            return RawStream(rig.daemon.address)
        form = PROTO if request.param == "websocket proto" else JSON
        return RawSocket(http_port(rig.daemon), token=rig.daemon.token, form=form)

    return connect


async def test_a_welcome_says_what_holds_here(rig: House, raw: Raw) -> None:
    """Protocol, features, policy, a resume token and the end of the log (P3.2)."""
    async with raw(rig) as stream:
        welcome = await stream.hello()

    assert (welcome.protocol, welcome.resumed) == (1, False)
    assert {"subscribe", "publish", "send", "resume"} <= set(welcome.features)
    assert welcome.policy.max_message_bytes == 256 * 1024
    assert welcome.policy.max_queue_bytes == 64 * 1024
    assert welcome.policy.heartbeat_interval.seconds == 1
    assert welcome.policy.reconnect_timeout.seconds == 1
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
    assert refused.step == pb.RECOVERY_STEP_DO_NOT_RETRY


async def test_a_pending_reply_arrives_on_the_next_connection(rig: House, raw: Raw) -> None:
    """A connection-resume token takes up the unanswered sends and the places of the subscriptions (P2.4, P3.2)."""
    async with raw(rig) as first:
        token = (await first.hello("comeback")).resume_token
        await first.subscribe("s", event_filter(topic="comeback"))
        send = pb.ConnectRequest(request_id="question", send=pb.Send(agent="slow", text="500ms the answer"))
        await first.accepted(await first.ask(send))
    cursor = await rig.client.publish(new_event("custom", {"n": 1}, custom_type="note", topic="comeback"))

    async with raw(rig) as second:
        welcome = await second.hello("comeback", token)
        frame = await second.take("reply")
        (lost,) = welcome.lost
        await second.subscribe("s", event_filter(topic="comeback"), since=lost.cursor)
        delivery = (await second.take("delivery")).delivery

    assert welcome.resumed
    assert (frame.request_id, frame.reply.content, frame.reply.final) == ("question", "the answer", True)
    assert (lost.subscription_id, lost.reason) == ("s", pb.END_REASON_CONNECTION_LOST)
    assert delivery.cursor == cursor


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


async def test_after_reconnect_timeout_nothing_waits_any_more(rig: House, raw: Raw) -> None:
    """gateway.reconnect_timeout bounds how long a lost client's things are kept."""
    async with raw(rig) as first:
        welcome = await first.hello("too-late")
        token, begin = welcome.resume_token, welcome.cursor
    await rig.event("disconnect", stream_id="too-late", since=begin)
    async with rig.client.subscribe(event_filter(["heartbeat"])) as beats:
        for _ in range(3):  # at least two intervals of a second
            await anext(beats)
    async with raw(rig) as second:
        welcome = await second.hello("too-late", token)

    assert not welcome.resumed


async def test_a_resume_token_is_bound_to_its_client(rig: House, raw: Raw) -> None:
    """Another client id, or another principal, takes up nothing."""
    async with raw(rig) as first:
        token = (await first.hello("owner")).resume_token
    async with raw(rig) as thief:
        assert not (await thief.hello("thief", token)).resumed


async def test_a_second_connection_takes_the_place_of_the_first(rig: House, raw: Raw) -> None:
    """One connection per client id: the newer one is there now, with what the older one waited for."""
    async with raw(rig) as first, raw(rig) as second:
        token = (await first.hello("moving")).resume_token
        send = pb.ConnectRequest(request_id="question", send=pb.Send(agent="slow", text="300ms moved"))
        await first.accepted(await first.ask(send))

        welcome = await second.hello("moving", token)
        ended = await first.ended()
        frame = await second.take("reply")

    assert welcome.resumed
    assert ended is not None
    assert ended.reason == "CONNECTION_REPLACED"
    assert (frame.request_id, frame.reply.content) == ("question", "moved")


async def test_of_two_processes_with_one_client_id_the_older_is_told_and_stays_away(rig: House) -> None:
    """The SDK raises it from whatever is waited for, and does not displace the other in turn (P3.2)."""
    async with rig.daemon.client("twin") as first:
        events = first.subscribe(event_filter(topic="twin"))
        await events.started()
        async with rig.daemon.client("twin") as second:
            with pytest.raises(ConnectionReplaced, match="another process uses client id 'twin'"):
                async with asyncio.timeout(60):
                    await anext(events)
            with pytest.raises(ConnectionReplaced):
                await first.send("echo", "am I still there?")
            with pytest.raises(ConnectionReplaced):
                await first.publish(new_event("custom", {"n": 1}, custom_type="note", topic="twin"))
            assert (await second.send("echo", "the other is")).content == "the other is"
            assert not first.connected
            assert second.connected

    assert len(await rig.events("connect", stream_id="twin")) == 2


async def test_heartbeats_come_at_the_interval(rig: House, raw: Raw) -> None:
    """heartbeat_interval: one for each connection, with its own target; ephemeral (P4.1)."""
    async with raw(rig) as stream:
        await stream.hello("beat")
        await stream.subscribe("s", event_filter(["heartbeat"]))
        first = (await stream.take("delivery")).delivery.events
        second = (await stream.take("delivery")).delivery.events

    beats = [event for event in [*first, *second] if event.stream_id == "beat"]
    assert [event.heartbeat.interval for event in beats] == [1.0, 1.0]
    assert 0.5 < beats[1].time - beats[0].time < 5
    assert {event.target for event in [*first, *second]} == {"beat"}


async def test_idle_readers_learn_how_far_they_may_go_on_from(rig: House, raw: Raw) -> None:
    """A progress frame carries the place when nothing matched (P3.5)."""
    async with raw(rig) as stream:
        await stream.hello("idle")
        await stream.subscribe("s", event_filter(topic="never"))
        cursor = await rig.client.publish(new_event("custom", {"n": 1}, custom_type="note", topic="other"))
        seen = ""
        while seen < cursor:
            seen = (await stream.take("progress")).progress.cursor


async def test_one_connection_more_than_allowed_is_told_to_wait(rig: House) -> None:
    """max_connections: LIMIT_EXCEEDED with a retry delay; the others go on (P2.4)."""
    async with contextlib.AsyncExitStack() as open_ones:
        for number in range(5):
            await (await open_ones.enter_async_context(RawStream(rig.daemon.address))).hello(f"c{number}")
        error = await (await open_ones.enter_async_context(RawStream(rig.daemon.address))).ended()

    assert isinstance(error, LimitExceeded)
    assert error.metadata["limit"] == "max_connections"
    assert error.retry_after
    assert (await rig.client.send("echo", "still here")).content == "still here"


async def test_one_client_has_a_bound_of_open_calls(rig: House) -> None:
    """limits.streams_per_client: for those with a token; the next call is refused until one ends."""
    target, token = f"127.0.0.1:{rig.daemon.port}", rig.daemon.token
    async with contextlib.AsyncExitStack() as open_ones:
        for number in range(3):
            await (await open_ones.enter_async_context(RawStream(target, token=token))).hello(f"s{number}")
        error = await (await open_ones.enter_async_context(RawStream(target, token=token))).ended()

    assert isinstance(error, LimitExceeded)
    assert error.metadata["limit"] == "streams_per_client"


async def test_who_is_refused_while_saying_hello_is_told_why(rig: House) -> None:
    """Every time: gRPC would tell a client only that its write failed, if the refusal came in the middle of it."""
    target, token = f"127.0.0.1:{rig.daemon.port}", rig.daemon.token
    reasons = []
    async with contextlib.AsyncExitStack() as open_ones:
        for number in range(3):
            await (await open_ones.enter_async_context(RawStream(target, token=token))).hello(f"s{number}")
        for number in range(40):
            with pytest.raises(GatewayError) as refused:
                async with Client(target, token=token, client_id=f"more{number}", connect_timeout=0):
                    pass
            reasons.append(refused.value.reason)

    assert reasons == ["LIMIT_EXCEEDED"] * 40


async def test_publishing_too_fast_is_refused_with_a_delay(rig: House, raw: Raw) -> None:
    """limits.publish_rate: events a second per connection; the delay says when (P2.4)."""
    events = [new_event("custom", {"n": each}, custom_type="note", topic="rate") for each in range(100)]
    async with raw(rig) as stream:
        await stream.hello("fast")
        publish = pb.ConnectRequest(publish=pb.Publish(events=events))
        for request_id in ("one", "two"):
            publish.request_id = request_id
            await stream.accepted(await stream.ask(publish))
        publish.request_id = "three"
        error = await stream.rejected(await stream.ask(publish))

    assert reason_of(error) == "LIMIT_EXCEEDED"
    assert error.metadata["limit"] == "limits.publish_rate"
    assert 0 < error.retry_after.ToTimedelta().total_seconds() <= 0.5


async def test_sending_too_fast_is_refused_with_a_delay(rig: House, raw: Raw) -> None:
    """limits.send_rate: messages a second per connection."""
    async with raw(rig) as stream:
        await stream.hello("chatty")
        send = pb.Send(agent="echo", text="quick", no_reply=True)
        asked = [await stream.ask(pb.ConnectRequest(send=send)) for _ in range(40)]
        answers = [await stream.answer(each) for each in asked]

    refused = [frame.rejected.error for frame in answers if frame.HasField("rejected")]
    assert refused
    assert {error.metadata["limit"] for error in refused} == {"limits.send_rate"}
    assert len(answers) - len(refused) >= 20


async def test_a_message_that_is_too_large_is_refused(rig: House) -> None:
    """limits.message_bytes: RESOURCE_EXHAUSTED for that stream, and nobody else notices."""
    async with RawStream(rig.daemon.address) as stream:
        await stream.hello("large")
        await stream.ask(pb.ConnectRequest(send=pb.Send(agent="echo", text="x" * 300_000)))
        error = await stream.ended()

    assert error is not None
    assert error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0]
    assert len((await rig.client.send("echo", "x" * 60_000)).content) == 60_000


async def test_metadata_that_is_too_large_is_refused(rig: House) -> None:
    """limits.metadata_bytes."""
    big = RawStream(rig.daemon.address)
    big._metadata = (("x-more", "x" * 20_000),)
    async with big:
        error = await big.ended()

    assert error is not None
    assert error.code in (grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], grpc.StatusCode.UNAVAILABLE.value[0])
    assert (await rig.client.send("echo", "alive")).content == "alive"


async def test_a_buffer_is_never_larger_than_the_gateway_allows(rig: House, raw: Raw) -> None:
    """limits.queue_bytes bounds what may wait for one subscriber, whatever it asks for (P3.6)."""
    async with raw(rig) as stream:
        await stream.hello("greedy")
        await stream.subscribe("s", event_filter(topic="greedy"), buffer_bytes=100_000_000)
        event = new_event("custom", {"texts": ["x" * 60_000] * 3}, custom_type="note", topic="greedy")
        async with rig.daemon.client("loud") as loud:
            for _ in range(60):  # more than the transport takes for a reader that does not read
                await loud.publish(copy_of(event))
        frame = await stream.take("ended")

    assert frame.ended.reason == pb.END_REASON_SLOW_CONSUMER


async def test_half_closing_ends_the_stream_in_order(rig: House, raw: Raw) -> None:
    """A client that has nothing more to say gets OK, and is not held for lost."""
    async with raw(rig) as stream:
        begin = (await stream.hello("done")).cursor
        await stream.half_close()

        assert await stream.ended() is None

    gone, _ = await rig.event("disconnect", stream_id="done", since=begin)
    assert gone.disconnect.reason == "closed"


async def test_connects_and_disconnects_are_events(rig: House, raw: Raw) -> None:
    """connect and disconnect tell of clients (P4.1)."""
    async with rig.client.subscribe(event_filter(["connect", "disconnect"], stream_id="visitor")) as events:
        async with raw(rig) as stream:
            await stream.hello("visitor")
        async with asyncio.timeout(60):
            connect, disconnect = await anext(events), await anext(events)

    assert (connect.connect.client_id, connect.connect.kind) == ("visitor", "client")
    assert disconnect.disconnect.reason == "connection_lost"


async def test_a_stop_says_goodbye_with_the_place_to_go_on_from(rig: House, raw: Raw) -> None:
    """Drain tells every client, with its resume cursor, and when to come back (P1.7)."""
    async with raw(rig) as stream:
        await stream.hello("parting")
        cursor = await rig.client.publish(new_event("custom", {"n": 1}, custom_type="note", topic="last"))
        await rig.daemon.stop()
        goodbye = (await stream.take("goodbye")).goodbye
        await stream.ended()

    with pytest.raises((Unavailable, GatewayError)):
        await rig.client.status()
    await rig.daemon.start()

    assert goodbye.cursor >= cursor
    assert goodbye.reconnect_after.ToTimedelta().total_seconds() > 0
    assert (await rig.client.send("echo", "again", timeout=20)).content == "again"
    *_, gone = await rig.events("disconnect", stream_id="parting")
    assert gone.disconnect.reason == "draining"


async def test_the_sdk_keeps_to_the_bound_of_a_message(rig: House) -> None:
    """limits.message_bytes: batches stay below it; what alone is larger fails and ends nobody's stream (P2.4)."""
    texts = ["x" * 30_000] * 8
    async with rig.daemon.client("bulky") as client:
        events = [new_event("custom", {"texts": texts}, custom_type="note", topic="bulk") for _ in range(4)]
        async with asyncio.timeout(60):
            *cursors, large, sent = await asyncio.gather(
                *(client.publish(event) for event in events),
                client.publish([copy_of(event) for event in events[:2]]),
                client.send("echo", "x" * 300_000),
                return_exceptions=True,
            )

    assert all(isinstance(cursor, str) and cursor for cursor in cursors)
    assert isinstance(large, LimitExceeded)
    assert isinstance(sent, LimitExceeded)
    assert len(await rig.events("connect", stream_id="bulky")) == 1


async def test_a_client_that_closes_is_told_as_closed(rig: House) -> None:
    """The SDK ends its stream in order; nothing is held for it (P4.1)."""
    begin = await rig.client.publish(new_event("custom", {"n": 1}, custom_type="note", topic="begin"))
    async with rig.daemon.client("tidy"):
        pass
    gone, _ = await rig.event("disconnect", stream_id="tidy", since=begin)

    assert gone.disconnect.reason == "closed"

"""Bounds on what one connection, one client and all of them may ask."""

import asyncio
import contextlib
from collections.abc import AsyncIterator

import grpc
import pytest
import pytest_asyncio
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import Client, GatewayError, LimitExceeded, event_filter, new_event
from tests.rigs.house import House, house
from tests.rigs.links import BOUNDS, TRANSPORTS, Raw, copy_of, only_ours, raw_over
from tests.rigs.stream import RawStream, reason_of

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
        publish = pb.Publish(events=events)
        asked = [await stream.ask(pb.ConnectRequest(publish=publish)) for _ in range(10)]
        answers = [await stream.answer(each) for each in asked]

    refused = [frame.rejected.error for frame in answers if frame.HasField("rejected")]
    assert refused
    assert len(answers) - len(refused) >= 2
    for error in refused:
        assert reason_of(error) == "LIMIT_EXCEEDED"
        assert error.metadata["limit"] == "limits.publish_rate"
        assert 0 < error.retry_after.ToTimedelta().total_seconds() <= 0.5


async def test_sending_too_fast_is_refused_with_a_delay(rig: House, raw: Raw) -> None:
    """limits.send_rate: messages a second per connection."""
    async with raw(rig) as stream:
        await stream.hello("chatty")
        send = pb.Send(agent="echo", text="quick", no_reply=True)
        asked = [await stream.ask(pb.ConnectRequest(send=send)) for _ in range(100)]
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

"""Bytes that are no frame, no request or no HTTP/2 at all: refused by name, and nobody else notices."""

import asyncio
import contextlib
import hashlib
import random
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
import pytest_asyncio
from gateway.v1 import event_pb2
from gateway.v1 import event_service_pb2 as pb
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from stream_rig import PATIENCE, note, number_of, witness
from wire_mutations import field, mutated, nested, published, raw_event, right_frames

from gatewayctl.client import Event, event_filter, new_event
from gatewayctl.sdk.errors import from_rpc
from gatewayd.rpc.services import SERVICES
from tests.rigs.house import House, house
from tests.rigs.stream import METHOD, RawStream, reason_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

TOKEN = f"gw_fuzzer_{'f' * 43}"
CONFIG = f"""
agents: {{echo: {{model: offline/echo}}}}
gateway: {{max_connections: 10000}}
clients:
  fuzzer:
    token_sha256: {hashlib.sha256(TOKEN.encode()).hexdigest()}
    scopes: ["events.publish:*@*", "events.subscribe:*@*", "agents.send:*", "sessions:own", admin.read]
"""
FRAMES = right_frames()
KNOWN = {"PROTOCOL_VIOLATION", "INVALID_ARGUMENT", "LIMIT_EXCEEDED", "CONNECTION_REPLACED", "UNSUPPORTED_PROTOCOL"}
"""Reasons for which the stream of a mutant may end."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """At its end nothing may have crashed: `house` looks for errors in the daemon's log."""
    async with house(tmp_path_factory.mktemp("wire"), CONFIG) as rig:
        yield rig


@contextlib.asynccontextmanager
async def unspoilt(rig: House) -> AsyncIterator[list[Event]]:
    """Somebody who reads every event there is gets every frame whole, up to the last one; what was published."""
    seen: list[Event] = []
    async with witness(rig), rig.client.subscribe(event_filter()) as events:

        async def read() -> None:
            async for event in events:
                seen.append(event)
                if event.topic == "last":
                    return

        reader = asyncio.create_task(read())
        try:
            yield seen
            await rig.client.publish(note(1, "last"))
            async with asyncio.timeout(PATIENCE):
                await reader
        finally:
            reader.cancel()


async def test_F42_mutated_frames_are_answered_or_end_their_stream(rig: House) -> None:
    """After each mutant the stream either goes on or has ended with a reason; never silence, never an incident."""
    chance = random.Random(42)
    ends: set[str] = set()
    served = 0

    def converse(channel: grpc.Channel) -> tuple[int, str]:
        frames = [FRAMES[0]] if chance.random() < 0.8 else []
        for number in range(chance.choice((1, 3, 20))):
            ping = pb.ConnectRequest(request_id=f"p{number}", ping=pb.Ping())
            frames += [mutated(chance, FRAMES), ping.SerializeToString()]
        open_stream: Any = channel.stream_stream(METHOD, None, pb.ConnectResponse.FromString)
        pongs = 0
        try:
            for frame in open_stream(iter(frames), timeout=PATIENCE):
                pongs += frame.HasField("pong")
        except grpc.RpcError as error:
            return pongs, from_rpc(error).reason
        return pongs, "OK"

    async with unspoilt(rig):
        with grpc.insecure_channel(rig.daemon.address) as channel:
            for _ in range(500):
                pongs, end = await asyncio.to_thread(converse, channel)
                ends.add(end)
                served += pongs

    assert ends <= {*KNOWN, "OK"}
    assert {"PROTOCOL_VIOLATION", "INVALID_ARGUMENT", "OK"} <= ends
    assert served > 200


def _odd_frames() -> dict[str, bytes]:
    """Requests that can be read as a frame, and must be refused as such."""
    subscribe = pb.ConnectRequest(
        request_id="odd", subscribe=pb.Subscribe(subscription_id="o", filter=event_filter(), overflow=99)
    )
    filtered = pb.ConnectRequest(request_id="odd", subscribe=pb.Subscribe(subscription_id="o"))
    filtered.subscribe.filter.types.append(9999)  # type: ignore[arg-type]
    since = pb.ConnectRequest(
        request_id="odd", subscribe=pb.Subscribe(subscription_id="o", filter=event_filter(), since="9" * 3_000_000)
    )
    send = pb.ConnectRequest(request_id="odd", send=pb.Send(agent="echo", text="late"))
    send.send.timeout.seconds = -(2**62)
    agent = pb.ConnectRequest(request_id="odd", send=pb.Send(agent="x" * 3_000_000, text="x"))
    unknown_type = event_pb2.Event(topic="odd")
    unknown_type.type = 9999  # type: ignore[assignment]
    infinite = new_event("custom", {"n": 1}, custom_type="note", topic="odd")
    infinite.custom.json["n"] = float("inf")
    return {
        "unknown policy": subscribe.SerializeToString(),
        "unknown type in a filter": filtered.SerializeToString(),
        "endless cursor": since.SerializeToString(),
        "negative timeout": send.SerializeToString(),
        "endless name": agent.SerializeToString(),
        "event of unknown type": published(unknown_type.SerializeToString()),
        "event with two kinds of data": published(raw_event(message=b"")),
        "event that is not UTF-8": published(raw_event(id=b"\xff\xfe")),
        "event that is cut": published(raw_event() + b"\x0a\x7fshort"),
        "event without end of a varint": published(raw_event() + b"\x10" + b"\xff" * 12),
        "event too deep": published(nested(33)),
        "event far too deep": published(nested(20_000)),
        "number without end": published(infinite.SerializeToString()),
        "too many events": published(*[b""] * 100_000),
        "no events": published(),
        "event of a wire type that is none": published(raw_event() + b"\x0f\x01"),
    }


@pytest.mark.parametrize("name", _odd_frames())
async def test_F42_what_is_wrong_in_a_request_is_refused_briefly(rig: House, name: str) -> None:
    """INVALID_ARGUMENT for that request alone, without an echo of what was sent; nothing of it reaches anybody."""
    async with unspoilt(rig) as seen, RawStream(rig.daemon.address) as stream:
        await stream.hello("odd")
        await stream.write(_odd_frames()[name])
        error = await stream.rejected("odd")
        assert reason_of(error) == "INVALID_ARGUMENT"
        assert error.ByteSize() < 2000
        await stream.write(pb.ConnectRequest(request_id="on", ping=pb.Ping()))
        await stream.take("pong")
    assert not [event for event in seen if event.topic == "odd"]


async def test_F42_fields_that_nobody_knows_are_left_out(rig: House) -> None:
    """A thousand in a frame, as many as fit in an event: taken, not passed on. 100,000 in a frame end its stream."""
    unknown = field(7000, b"")
    event = note(7, "odd").SerializeToString() + unknown * 50_000
    ping = pb.ConnectRequest(request_id="p", ping=pb.Ping()).SerializeToString()
    async with unspoilt(rig) as seen, RawStream(rig.daemon.address) as stream:
        await stream.hello("odd")
        await stream.write(published(event))
        await stream.accepted("odd")
        await stream.write(ping + unknown * 1000)
        await stream.take("pong")
        await stream.write(ping + unknown * 100_000)
        with pytest.raises(grpc.aio.AioRpcError, match="fields"):
            await stream.take("pong")
    (got,) = [event for event in seen if event.topic == "odd"]
    assert number_of(got) == 7
    assert got.ByteSize() < 500


def _unary_methods() -> list[str]:
    return [
        f"/{service.full_name}/{method.name}"
        for service in SERVICES.values()
        for method in service.methods
        if not method.client_streaming
    ]


_BYTES = st.one_of(
    st.binary(max_size=200),
    st.builds(lambda seed: mutated(random.Random(seed), FRAMES), st.integers(0, 2**32)),
    st.builds(field, st.integers(1, 40), st.binary(max_size=60)),
    st.sampled_from([nested(5000), field(1, b"\xff"), b"\x08" + b"\xff" * 11, field(9000, b"") * 50_000]),
)


async def test_F42_no_request_of_any_rpc_is_an_incident(rig: House) -> None:
    """Whatever bytes come to whatever unary RPC: an answer or an error of the contract."""
    reasons: set[str] = set()

    def attack() -> None:
        metadata = (("authorization", f"Bearer {TOKEN}"),)
        with grpc.insecure_channel(f"127.0.0.1:{rig.daemon.port}") as channel:

            @settings(
                max_examples=400,
                derandomize=True,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(st.sampled_from(_unary_methods()), _BYTES)
            def each(method: str, data: bytes) -> None:
                call: Any = channel.unary_unary(method, None, None)
                try:
                    # WaitForEvent may find a right filter in it: it waits as long as its caller does.
                    call(data, metadata=metadata, timeout=0.5 if method.endswith("WaitForEvent") else PATIENCE)
                except grpc.RpcError as error:
                    reasons.add(from_rpc(error).reason or str(error))

            each()

    async with unspoilt(rig):
        await asyncio.to_thread(attack)
    assert {"INVALID_ARGUMENT", "PERMISSION_DENIED", "NOT_FOUND"} <= reasons
    assert not reasons & {"INTERNAL"}
    assert all(reason.isupper() for reason in reasons), reasons

"""HTTP/2 used against its server, and peers that speak something else: bounded, ended, and nobody else notices."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Callable

import grpc
import pytest
import pytest_asyncio
from gateway.v1 import event_service_pb2 as pb
from stream_rig import (
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MIB,
    PATIENCE,
    PING,
    PREFACE,
    RST_STREAM,
    SETTINGS,
    Wire,
    descriptors,
    frame,
    header,
    log_lines,
    message,
    note,
    only,
    request_headers,
    resident,
    wire,
    witness,
)

from gatewayctl.sdk.errors import from_rpc
from tests.rigs.house import House, eventually, house
from tests.rigs.stream import METHOD, RawStream

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = "agents: {echo: {model: offline/echo}}\n"
HANDSHAKE = 20.0
"""Seconds that a peer without a right preface may stay: ten by the specification, and room for a busy machine."""


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("flood"), CONFIG) as rig:
        yield rig


@contextlib.asynccontextmanager
async def bounded(rig: House, growth: int = 64 * MIB) -> AsyncIterator[None]:
    """Somebody else is served all the while; afterwards memory, log and connections are as before."""
    async with witness(rig):
        before, lines = resident(rig), len(log_lines(rig))
        yield
    await only(rig)
    assert resident(rig) - before < growth
    assert len(log_lines(rig)) - lines < 10


async def flood(one: Wire, count: int, make: Callable[[int], bytes], batch: int = 500) -> int:
    """So many pieces, until the server has enough; how many it took."""
    for start in range(0, count, batch):
        if not await one.push(b"".join(make(number) for number in range(start, start + batch))):
            return start
    return count


async def answered(one: Wire) -> None:
    """Wait until the server has dealt with everything that was sent so far, or has closed."""
    acks = one.count(PING)
    await one.push(frame(PING, 0, 0, b"the last"))
    await one.until(lambda: one.count(PING) > acks or one.goaway is not None)


# F43


@pytest.mark.parametrize("method", [METHOD, "/gateway.v1.EventService/GetEventStats", "/no.such/Method"])
async def test_F43_a_rapid_reset_is_refused_before_it_costs_anything(rig: House, method: str) -> None:
    """Calls that are opened only to be reset: nearly all are turned away by the transport itself (CVE-2023-44487)."""
    block = request_headers(method, rig.daemon.token)
    cancel = (8).to_bytes(4, "big")

    def reset(number: int) -> bytes:
        stream = 2 * number + 1
        return frame(HEADERS, END_HEADERS, stream, block) + frame(RST_STREAM, 0, stream, cancel)

    async with bounded(rig), wire(rig) as one:
        await one.greet()
        sent = await flood(one, 50_000, reset)
        await answered(one)
        assert one.closed or one.count(RST_STREAM) > 0.8 * sent


async def test_F43_calls_without_end_are_refused(rig: House) -> None:
    """One connection has a bound of open calls, and one client another below it; what is above is refused at once."""
    block = request_headers(METHOD, rig.daemon.token)
    async with bounded(rig), wire(rig) as one:
        await one.greet()
        sent = await flood(one, 20_000, lambda number: frame(HEADERS, END_HEADERS, 2 * number + 1, block))
        await one.until(lambda: one.count(RST_STREAM) + one.count(HEADERS) >= sent - 100)


async def test_F43_headers_without_end_are_cut(rig: House) -> None:
    """A header block beyond limits.metadata_bytes is refused when it passes them, not when it ends."""
    block = request_headers(METHOD, rig.daemon.token)

    def more(number: int) -> bytes:
        return frame(CONTINUATION, 0, 1, header(f"x-{number}", "y" * 100)) if number else frame(HEADERS, 0, 1, block)

    async with bounded(rig, 16 * MIB), wire(rig) as one:
        await one.greet()
        await flood(one, 300_000, more)
        await one.until(lambda: one.count(RST_STREAM) > 0)
        assert one.closed or one.count(RST_STREAM) > 0


@pytest.mark.parametrize("kind", ["headers", "data"])
async def test_F43_empty_frames_end_their_connection(rig: House, kind: str) -> None:
    """Frames without content that go on and on: their connection is closed."""
    block = request_headers(METHOD, rig.daemon.token)
    pieces: dict[str, Callable[[int], bytes]] = {
        "headers": lambda number: frame(CONTINUATION if number else HEADERS, 0, 1, b"" if number else block),
        "data": lambda number: frame(DATA, 0, 1) if number else frame(HEADERS, END_HEADERS, 1, block),
    }
    async with bounded(rig), wire(rig) as one:
        await one.greet()
        assert await flood(one, 1_000_000, pieces[kind], 5000) < 1_000_000
        await one.until(lambda: False)
        assert one.closed


async def test_F43_pings_without_end_cost_no_more_than_their_answers(rig: House) -> None:
    """Each is answered; with grpc's own count of them the daemon would be busy for minutes."""
    async with bounded(rig), wire(rig) as one:
        await one.greet()
        await flood(one, 300_000, lambda number: frame(PING, 0, 0, number.to_bytes(8, "big")), 5000)
        await one.until(lambda: one.count(PING) == 300_000)
        assert not one.closed


async def test_F43_a_million_tiny_frames_are_bounded(rig: House) -> None:
    """A message in pieces of one byte, and settings over and over: taken or refused, at no cost in memory."""
    first = frame(HEADERS, END_HEADERS, 1, request_headers(METHOD, rig.daemon.token))
    first += frame(DATA, 0, 1, b"\x00\x00\x3f\x00\x00")
    async with bounded(rig), wire(rig) as one:
        await one.greet()
        await flood(one, 500_000, lambda number: frame(DATA, 0, 1, b"x") if number else first, 5000)
        await answered(one)
    settings = frame(SETTINGS, 0, 0, b"\x00\x03\x00\x00\x00\x64")
    async with bounded(rig), wire(rig) as one:
        await one.greet()
        await flood(one, 500_000, lambda _: settings, 5000)
        await answered(one)


async def test_F43_tiny_messages_are_served_in_their_turn(rig: House) -> None:
    """Many small requests of one client hold up nobody, and each is answered."""
    async with bounded(rig), RawStream(rig.daemon.address) as stream:
        await stream.hello("chatter")

        async def ask() -> None:
            for number in range(10_000):
                await stream.write(pb.ConnectRequest(request_id=f"p{number}", ping=pb.Ping()))

        asking = asyncio.create_task(ask())
        for number in range(10_000):
            assert (await stream.take("pong", timeout=PATIENCE)).request_id == f"p{number}"
        await asking


@pytest.mark.parametrize("over", ["stream", "unary"])
@pytest.mark.parametrize("what", ["message", "metadata"])
async def test_F43_what_is_too_large_is_refused_by_its_name(rig: House, over: str, what: str) -> None:
    """RESOURCE_EXHAUSTED, which says what was too large, for that call alone."""
    large = 4 * MIB + 1 if what == "message" else 1
    extra = (("x-more", "x" * 60_000),) if what == "metadata" else ()
    publish = pb.PublishRequest(events=[note(1, "large", text="x" * large)])
    frames = pb.ConnectRequest(request_id="l", publish=pb.Publish(events=publish.events)).SerializeToString()

    def call() -> grpc.RpcError:
        options = (("grpc.max_metadata_size", MIB), ("grpc.use_local_subchannel_pool", 1))
        with grpc.insecure_channel(rig.daemon.address, options=options) as channel:
            try:
                if over == "unary":
                    invoke = channel.unary_unary("/gateway.v1.EventService/Publish", None, None)
                    invoke(publish.SerializeToString(), metadata=extra, timeout=PATIENCE)
                else:
                    list(channel.stream_stream(METHOD, None, None)(iter([frames]), metadata=extra, timeout=PATIENCE))
            except grpc.RpcError as error:
                return error
        raise AssertionError("it was taken")

    async with bounded(rig):
        error = from_rpc(await asyncio.to_thread(call))
    assert error.code == grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], error
    assert ("metadata" if what == "metadata" else "larger than max") in error.message, error


# F44


async def _until_closed(rig: House, data: bytes, drip: bytes = b"") -> None:
    """Say that, then a byte of `drip` every second; returns when the server has closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", rig.daemon.port)
    try:
        writer.write(data)

        async def dripping() -> None:
            for byte in drip:
                await asyncio.sleep(1)
                writer.write(bytes((byte,)))

        drops = asyncio.create_task(dripping())
        try:
            async with asyncio.timeout(HANDSHAKE):
                with contextlib.suppress(ConnectionError):
                    while await reader.read(65536):
                        pass
        finally:
            drops.cancel()
    finally:
        writer.close()


async def _tls(rig: House) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        async with asyncio.timeout(HANDSHAKE):
            await asyncio.open_connection("127.0.0.1", rig.daemon.port, ssl=ssl.create_default_context())


async def test_F44_who_does_not_speak_http2_is_closed_without_a_word_in_the_log(rig: House) -> None:
    """HTTP/1.1, TLS, noise, half a preface, one that drips, and silence: all are closed in time, together."""
    before, lines = descriptors(rig), len(log_lines(rig))
    async with witness(rig):
        async with asyncio.TaskGroup() as tasks:
            for _ in range(20):
                for said in (
                    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
                    b"POST /gateway.v1.EventService/Connect HTTP/1.1\r\nContent-Length: 9\r\n\r\nnine bytes",
                    b"\x00\xff\x17" * 1000,
                    PREFACE[:10],
                    PREFACE,
                    b"",
                ):
                    tasks.create_task(_until_closed(rig, said))
                tasks.create_task(_until_closed(rig, b"", drip=PREFACE))
                tasks.create_task(_tls(rig))

    async def let_go() -> bool:
        return descriptors(rig) <= before

    await eventually(let_go, timeout=PATIENCE)
    assert len(log_lines(rig)) - lines < 10


async def test_F44_an_unknown_method_or_kind_of_content_is_refused(rig: House) -> None:
    """A right connection, and a call that nobody serves: the call ends, the connection serves the next one."""
    async with wire(rig) as one:
        await one.greet()
        await one.push(frame(HEADERS, END_HEADERS | END_STREAM, 1, request_headers("/no/such", rig.daemon.token)))
        await one.until(lambda: one.count(HEADERS) == 1)
        block = request_headers("/gateway.v1.EventService/GetEventStats", rig.daemon.token)
        await one.push(frame(HEADERS, END_HEADERS, 3, block) + frame(DATA, END_STREAM, 3, message(b"")))
        await one.until(lambda: any(kind == DATA and stream == 3 for kind, _, stream, _ in one.frames))
        assert not one.closed

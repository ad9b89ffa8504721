"""The HTTP listener of a real daemon: where it is, what it refuses before any door, and what hostile peers get."""

import asyncio
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.rigs.house import House, eventually, house
from tests.rigs.process import Daemon
from tests.rigs.websocket import RawSocket, http_port

pytestmark = pytest.mark.asyncio(loop_scope="module")

ECHO = "agents: {echo: {model: offline/echo}}\n"
CONFIG = (
    "gateway: {limits: {metadata_bytes: 4KiB}, max_connections: 20, "
    "http: {port: 0, websocket: true, max_body: 8KiB}}\n" + ECHO
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("http"), CONFIG) as rig:
        yield rig


async def talk(rig: House, data: bytes, *, timeout: float = 60.0) -> bytes:
    """What comes back on one connection until the listener closes it."""
    reader, writer = await asyncio.open_connection("127.0.0.1", http_port(rig.daemon))
    try:
        writer.write(data)
        async with asyncio.timeout(timeout):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def request(line: str, *headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join([line, "Host: localhost", *headers, "", ""]).encode() + body


async def test_it_is_opened_only_if_a_door_behind_it_is(tmp_path: Path) -> None:
    """P2.4: without websocket there is no listener, whatever else the section says."""
    async with house(tmp_path, "gateway: {http: {port: 0, origins: ['https://a.example']}}\n" + ECHO) as rig:
        assert "http=" not in rig.daemon.log.read_text()


async def test_host_and_port_are_the_files(tmp_path: Path) -> None:
    """gateway.http.host and port: ::1 alone, and the same port again where one is named."""
    async with Daemon(tmp_path, f"gateway: {{http: {{host: '::1', port: 0, websocket: true}}}}\n{ECHO}") as daemon:
        port = http_port(daemon)
        assert f"http=[::1]:{port}" in daemon.log.read_text()
        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://[::1]:{port}/healthz") as answer:
                assert answer.status == 200
            with pytest.raises(aiohttp.ClientConnectionError):
                await session.get(f"http://127.0.0.1:{port}/healthz")
    async with Daemon(tmp_path, f"gateway: {{http: {{port: {port}, websocket: true}}}}\n{ECHO}") as daemon:
        assert f"http=127.0.0.1:{port}" in daemon.log.read_text()


async def test_a_taken_port_refuses_the_start(tmp_path: Path) -> None:
    """69, with the address and the key; the gRPC door is closed again."""
    holder = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0)
    port = holder.sockets[0].getsockname()[1]
    daemon = Daemon(tmp_path, f"gateway: {{http: {{port: {port}, websocket: true}}}}\n{ECHO}")
    with pytest.raises(AssertionError, match=rf"127\.0\.0\.1:{port} \(gateway\.http\)"):
        await daemon.start()

    assert await daemon.ended() == 69
    await daemon.stop()
    holder.close()


async def test_a_bind_beyond_loopback_is_refused(tmp_path: Path) -> None:
    """78, as for gRPC (P2.4)."""
    daemon = Daemon(tmp_path, f"gateway: {{http: {{host: 0.0.0.0, websocket: true}}}}\n{ECHO}")
    with pytest.raises(AssertionError, match=r"gateway\.http\.host: 0\.0\.0\.0 can be reached"):
        await daemon.start()

    assert await daemon.ended() == 78
    await daemon.stop()


async def test_health_needs_no_token_and_tells_nothing(rig: House) -> None:
    """For probes; no version anywhere."""
    answer = await talk(rig, request("GET /healthz HTTP/1.1", "Connection: close"))
    head, _, body = answer.partition(b"\r\n\r\n")

    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"Server: gatewayd\r\n" in head
    assert body == b'{"status":"serving"}\n'
    assert b"aiohttp" not in answer
    assert b"Python" not in answer


@pytest.mark.parametrize(
    ("data", "status", "reason"),
    [
        (request("GET /nothing HTTP/1.1", "Connection: close"), 404, b"NOT_FOUND"),
        (request("GET /v1/connect/ HTTP/1.1", "Connection: close"), 404, b"NOT_FOUND"),
        (request("POST /v1/connect HTTP/1.1", "Content-Length: 0", "Connection: close"), 405, b"INVALID_ARGUMENT"),
        (request("POST /x HTTP/1.1", "Content-Length: 9000"), 413, b"LIMIT_EXCEEDED"),
        (
            request("GET / HTTP/1.1", *[f"X-{n}: {'x' * 500}" for n in range(12)], "Connection: close"),
            431,
            b"LIMIT_EXC",
        ),
        (b"GET / HTTP/1.1\r\nHost: evil.example\r\n\r\n", 403, b"PERMISSION_DENIED"),
        (b"GET / HTTP/1.1\r\n\r\n", 400, b"INVALID_ARGUMENT"),
        (b"GET / HTTP/1.0\r\n\r\n", 403, b"PERMISSION_DENIED"),
        (request("GET / HTTP/1.1", "Host: evil.example"), 400, b"INVALID_ARGUMENT"),
        (request("GET / HTTP/1.1", "Origin: null"), 403, b"PERMISSION_DENIED"),
        (request("GET / HTTP/1.1", "Origin: http://localhost", "Origin: null"), 403, b"PERMISSION_DENIED"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_every_refusal_has_one_shape(rig: House, data: bytes, status: int, reason: bytes) -> None:
    """`{"error": {"reason", "message"}}`, whatever was wrong."""
    head, _, body = (await talk(rig, data)).partition(b"\r\n\r\n")

    assert int(head.split()[1]) == status, head
    assert body.startswith(b'{"error": {"reason": "')
    assert reason in body


async def test_F44_garbage_is_closed_and_leaves_no_line_in_the_log(rig: House) -> None:
    """TLS, HTTP/2, random bytes, broken chunks, endless lines: closed at once, nobody else notices."""
    before = rig.daemon.log.read_text()
    rubbish = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        bytes(range(255, 0, -1)) * 50,
        b"GET " + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: y\r\n" * 5000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 100_000,
        b"POST /v1/connect HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: -1\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"CONNECT evil.example:443 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"GET http://evil.example/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
        b"\r\n" * 10_000 + b"\x00",
    ]
    answers = await asyncio.gather(*(talk(rig, data) for data in rubbish * 3))
    log = rig.daemon.log.read_text().removeprefix(before)

    assert all(not answer or answer.split()[1].startswith(b"4") for answer in answers)
    assert log == ""
    assert (await rig.client.send("echo", "alive")).content == "alive"


async def test_F56_slow_heads_are_closed_while_others_are_served(rig: House) -> None:
    """Slowloris: a byte now and then does not hold a connection beyond its ten seconds."""
    port = http_port(rig.daemon)
    began = time.monotonic()

    async def drip(data: bytes) -> float:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            for byte in data:
                writer.write(bytes([byte]))
                await writer.drain()
                with_end = asyncio.create_task(reader.read(1))
                done, _ = await asyncio.wait((with_end,), timeout=0.4)
                if done:
                    break
                with_end.cancel()
                await asyncio.gather(with_end, return_exceptions=True)
            else:
                raise AssertionError("the connection was still open at the end")
        except ConnectionError:
            pass
        finally:
            writer.close()
        return time.monotonic() - began

    head = request("GET /healthz HTTP/1.1", "X-Slow: " + "x" * 200)
    slow = [asyncio.create_task(drip(head)) for _ in range(30)]
    silent = asyncio.create_task(talk(rig, b""))
    async with RawSocket(port, token=rig.daemon.token) as page:
        await page.hello("quick")
    assert (await talk(rig, request("GET /healthz HTTP/1.1", "Connection: close"))).startswith(b"HTTP/1.1 200")
    times = await asyncio.gather(*slow)

    assert await silent == b""
    assert max(times) < 70  # to its end a head took eighty seconds
    assert min(times) > 5


async def test_connections_beyond_the_bound_are_turned_away(rig: House) -> None:
    """max_connections and a hundred to spare; when they go, there is room again."""
    port = http_port(rig.daemon)
    writers = [(await asyncio.open_connection("127.0.0.1", port))[1] for _ in range(120)]
    try:

        async def full() -> bool:
            return await talk(rig, request("GET /healthz HTTP/1.1", "Connection: close")) == b""

        await eventually(full)
    finally:
        for writer in writers:
            writer.close()

    async def room() -> bool:
        answer = await talk(rig, request("GET /healthz HTTP/1.1", "Connection: close"))
        return answer.startswith(b"HTTP/1.1 200")

    await eventually(room)

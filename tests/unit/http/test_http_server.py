"""The listener with routes of the test's own: bodies, deadlines, crashes, and peers that do not read."""

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gatewayd.config.checking import read
from gatewayd.config.model import GatewaySection
from gatewayd.core.clock import SystemClock
from gatewayd.core.errors import LimitExceeded, NotFound
from gatewayd.core.http import HttpRequest, HttpResponse
from gatewayd.http import connection, room, server
from gatewayd.http.server import HttpServer, Route

KIB = 1024


class Listener:
    """A started listener that keeps what its routes were given."""

    def __init__(self) -> None:
        self.heard: list[HttpRequest] = []
        self.serving = True
        settings = read(GatewaySection, {"http": {"max_body": "4KiB"}, "max_connections": 1})
        self.server = HttpServer(
            host="localhost", port=0, settings=lambda: settings, is_serving=lambda: self.serving, clock=SystemClock()
        )
        self.server.add(Route("POST", "/take", self._take))
        self.server.add(Route("GET", "/missing", self._missing))
        self.server.add(Route("GET", "/fast", self._fast))
        self.server.add(Route("GET", "/crash", self._crash))
        self.server.add(Route("GET", "/large", self._large))

    async def _take(self, request: HttpRequest) -> HttpResponse:
        self.heard.append(request)
        return HttpResponse(202, b"taken", "text/plain", (("X-Own", "yes"),))

    async def _missing(self, _: HttpRequest) -> HttpResponse:
        raise NotFound("no such thing")

    async def _fast(self, _: HttpRequest) -> HttpResponse:
        raise LimitExceeded("too fast", retry_after=1.2)

    async def _crash(self, _: HttpRequest) -> HttpResponse:
        raise RuntimeError("a defect with secrets in it")

    async def _large(self, _: HttpRequest) -> HttpResponse:
        return HttpResponse(200, b"x" * 32 * KIB * KIB)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.server.port)

    async def ask(self, *parts: bytes) -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body; the parts are sent one after the other."""
        stream, writer = await self.open()
        try:
            for part in parts:
                writer.write(part)
                await asyncio.sleep(0.01)
            async with asyncio.timeout(60):
                head = (await stream.readuntil(b"\r\n\r\n")).decode().split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in head[1:] if line)
                return int(head[0].split()[1]), headers, await stream.readexactly(int(headers["content-length"]))
        finally:
            writer.close()


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    listener = Listener()
    await listener.server.start()
    yield listener
    await listener.server.stop()


def post(*headers: str, body: bytes = b"", path: str = "/take") -> bytes:
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode() + body


def get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()


async def test_a_route_gets_the_request_as_a_value(listener: Listener) -> None:
    """Method, path, query, headers in small letters, body, and who asks."""
    data = post("X-One: a", "x-ONE: b", "Content-Length: 4", body=b"b\x00dy", path="/take?q=%20&q=2")
    status, headers, body = await listener.ask(data)

    (request,) = listener.heard
    assert (request.method, request.path, request.query) == ("POST", "/take", "q=%20&q=2")
    assert request.headers["x-one"] == "a, b"
    assert (request.body, request.source) == (b"b\x00dy", "127.0.0.1")
    assert (status, body, headers["x-own"]) == (202, b"taken", "yes")
    assert headers["content-type"].startswith("text/plain")
    assert headers["cache-control"] == "no-store"


async def test_F56_bodies_are_bounded_however_they_come(listener: Listener) -> None:
    """Announced, in chunks, or packed: 413 and 415; what fits comes through whole."""
    chunk = b"800\r\n" + b"x" * 0x800 + b"\r\n"
    chunked = post("Transfer-Encoding: chunked")
    assert (await listener.ask(post("Content-Length: 4097", body=b"x" * 4097)))[0] == 413
    assert (await listener.ask(chunked, chunk * 3 + b"0\r\n\r\n"))[0] == 413
    assert (await listener.ask(post("Content-Encoding: gzip", "Content-Length: 3", body=b"abc")))[0] == 415
    assert (await listener.ask(post("Content-Length: 9999999999999999999999")))[0] in (400, 413)
    assert listener.heard == []
    assert (await listener.ask(post("Content-Length: 4096", body=b"x" * 4096)))[0] == 202
    assert (await listener.ask(chunked, chunk, chunk, b"0\r\n\r\n"))[0] == 202
    assert [len(request.body) for request in listener.heard] == [4096, 4096]


async def test_F56_broken_chunks_are_refused(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    """No route hears of them: 400, or 408 where the parser only stops to read; and the connection is closed."""
    monkeypatch.setattr(server, "BODY_LIMIT", 0.2)
    status, _, body = await listener.ask(post("Transfer-Encoding: chunked"), b"2\r\nab\r\n", b"zz\r\n")

    assert status in (400, 408)
    assert b'"reason"' in body
    assert listener.heard == []


async def test_F56_a_slow_body_has_a_deadline(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    """408, and the connection is closed."""
    monkeypatch.setattr(server, "BODY_LIMIT", 0.2)
    status, headers, body = await listener.ask(post("Content-Length: 100", body=b"x"))

    assert (status, headers["connection"]) == (408, "close")
    assert b"DEADLINE_EXCEEDED" in body
    assert listener.heard == []


async def test_who_asks_whether_to_go_on_is_told(listener: Listener) -> None:
    """`Expect: 100-continue`, as curl sends it: only bodies that will be read are asked for."""
    stream, writer = await listener.open()
    writer.write(post("Expect: 100-continue", "Content-Length: 3"))
    async with asyncio.timeout(60):
        assert (await stream.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 100 ")
        writer.write(b"abc")
        assert (await stream.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 202 ")
    writer.close()

    assert (await listener.ask(post("Expect: 100-continue", "Content-Length: 9999")))[0] == 413


async def test_errors_are_statuses(listener: Listener) -> None:
    """A verdict has its status, its reason and its delay."""
    assert (await listener.ask(get("/missing")))[0] == 404
    status, headers, body = await listener.ask(get("/fast"))

    assert (status, headers["retry-after"]) == (429, "2")
    assert body == b'{"error": {"reason": "LIMIT_EXCEEDED", "message": "too fast"}}\n'


async def test_a_crash_tells_the_log_and_not_the_caller(listener: Listener, caplog: pytest.LogCaptureFixture) -> None:
    """500 without a word of it."""
    with caplog.at_level(logging.ERROR, "gatewayd.http"):
        status, _, body = await listener.ask(get("/crash"))

    assert status == 500
    assert b"secrets" not in body
    assert "handler_crashed" in caplog.text


async def test_a_peer_that_never_reads_its_answer_is_cut(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    """After STALL_LIMIT, whatever the answer still held."""
    monkeypatch.setattr(connection, "STALL_LIMIT", 0.3)
    stream, writer = await listener.open()
    transport: Any = writer.transport
    transport.pause_reading()
    writer.write(get("/large"))
    one = None
    async with asyncio.timeout(60):
        while one is None or one.transport is not None:
            await asyncio.sleep(0.02)
            assert listener.server._server is not None
            found = listener.server._server.connections
            one = one or (found[0] if found else None)
            if one is not None and not found:
                break
    transport.resume_reading()
    with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
        await stream.readexactly(32 * KIB * KIB)
    writer.close()


async def test_a_silent_connection_is_closed(listener: Listener, monkeypatch: pytest.MonkeyPatch) -> None:
    """HEAD_LIMIT holds from the connection on, and again after each answer."""
    monkeypatch.setattr(connection, "HEAD_LIMIT", 0.2)
    stream, writer = await listener.open()
    async with asyncio.timeout(60):
        assert await stream.read() == b""
    writer.close()
    stream, writer = await listener.open()
    writer.write(get("/healthz"))
    async with asyncio.timeout(60):
        assert (await stream.read()).startswith(b"HTTP/1.1 200 ")
    writer.close()


async def test_health_follows_the_gateway(listener: Listener) -> None:
    """503 when it does not serve, and from the drain on; other paths say when to come back."""
    assert (await listener.ask(get("/healthz")))[0] == 200
    listener.serving = False
    assert (await listener.ask(get("/healthz")))[0] == 503
    listener.serving = True
    await listener.server.drain()
    assert (await listener.ask(get("/healthz")))[0] == 503
    status, headers, body = await listener.ask(post("Content-Length: 0"))

    assert (status, headers["retry-after"]) == (503, "2")
    assert b"DRAINING" in body
    assert listener.heard == []


async def test_a_stop_waits_for_nobody_who_says_nothing(listener: Listener) -> None:
    """Idle and half-sent connections do not hold it up, and stopping twice is once."""
    writers = [(await listener.open())[1] for _ in range(3)]
    writers[0].write(post("Content-Length: 100", body=b"x"))
    await listener.ask(get("/healthz"))
    async with asyncio.timeout(60):
        await listener.server.stop()
        await listener.server.stop()
    with pytest.raises(ConnectionError):
        await listener.open()
    for writer in writers:
        writer.close()


async def test_F56_all_bodies_together_have_a_room_and_give_it_back(
    listener: Listener, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes beyond it is 503 with a time to come again; who left, or was answered, takes no room any more."""
    monkeypatch.setattr(room, "ROOM", 9000)
    monkeypatch.setattr(server, "SPARE_CONNECTIONS", 10)
    slow = [await listener.open() for _ in range(2)]
    for _, writer in slow:
        writer.write(post("Content-Length: 4096", body=b"x" * 4000))
    async with asyncio.timeout(60):
        while listener.server._room.held < 8000:
            await asyncio.sleep(0.01)
        statuses = [(await listener.ask(post("Content-Length: 3000", body=b"x" * 3000)))[:2] for _ in range(2)]
        for _, writer in slow:
            writer.close()
        while listener.server._room.held:
            await asyncio.sleep(0.01)

    assert [(status, headers["retry-after"]) for status, headers in statuses] == [(503, "1")] * 2
    assert (await listener.ask(post("Content-Length: 3000", body=b"x" * 3000)))[0] == 202
    assert listener.server._room.held == 0


async def test_F56_who_leaves_in_the_middle_of_a_body_is_not_worth_a_line(
    listener: Listener, caplog: pytest.LogCaptureFixture
) -> None:
    """Anybody can do that as often as they please."""
    for _ in range(3):
        _, writer = await listener.open()
        writer.write(post("Content-Length: 4096", body=b"x"))
        await writer.drain()
        async with asyncio.timeout(60):
            while not listener.server._room.held:
                await asyncio.sleep(0.01)
            writer.transport.abort()
            while listener.server._room.held:
                await asyncio.sleep(0.01)

    assert not caplog.records

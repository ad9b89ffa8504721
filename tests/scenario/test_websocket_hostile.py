"""What a WebSocket door refuses, cuts or outlives: strangers, guesses, garbage, floods, clients that never read."""

import asyncio
import base64
import json
import time
from collections.abc import AsyncIterator
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import event_filter, new_event
from gatewayd.conversation import driving
from gatewayd.core.event import Cursor
from gatewayd.http import link
from tests.rigs.house import House, eventually, house
from tests.rigs.in_process import InProcess
from tests.rigs.sockets import CONFIG, PAGE, refused, socket
from tests.rigs.stream import reason_of
from tests.rigs.unary import call
from tests.rigs.websocket import PROTO, RawSocket, http_port

pytestmark = pytest.mark.asyncio(loop_scope="module")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("sockets"), CONFIG) as rig:
        yield rig


async def test_pages_of_other_origins_stay_outside(rig: House) -> None:
    """I1, I2: 403 before a token is looked at; the configured page and the listener's own may come."""
    port = http_port(rig.daemon)
    for origin in (
        "https://evil.example",
        "null",
        f"{PAGE}.evil.example",
        f"{PAGE}:444",
        "http://chat.example.com",
        "",
    ):
        status, _ = await refused(port, token=rig.daemon.token, origin=origin)
        assert status == 403, origin
    for origin in (PAGE, f"http://127.0.0.1:{port}"):
        async with socket(rig, origin=origin) as page:
            await page.hello("welcome page")


async def test_a_name_that_was_pointed_here_is_refused(rig: House) -> None:
    """I2, DNS rebinding: the Host header must be loopback, or the host of a configured origin (the proxy's name)."""
    port = http_port(rig.daemon)
    for host in (f"evil.example:{port}", f"127.evil.example:{port}", "[::ffff:8.8.8.8]", "localhost@evil.example", ""):
        status, _ = await refused(port, token=rig.daemon.token, host=host, origin=f"http://{host}")
        assert status in (400, 403), host
    for host in (f"localhost:{port}", f"[::1]:{port}", "chat.example.com"):
        async with socket(rig, host=host) as page:
            await page.hello("by another name")


async def test_no_token_and_wrong_ones_are_refused_and_guessing_locks_the_source_out(tmp_path: Path) -> None:
    """One limiter for gRPC and WebSocket: five failures here, and TCP is locked there, too; nothing is logged."""
    async with house(tmp_path, CONFIG) as rig:
        port, right = http_port(rig.daemon), rig.daemon.token
        status, headers = await refused(port)
        assert (status, headers["WWW-Authenticate"]) == (401, "Bearer")
        assert (await refused(port, token="", authorization="Basic Zm9v"))[0] == 401
        assert (await refused(port, token=right, as_browser=True, authorization=f"Bearer {right}"))[0] == 401
        guesses = [f"gw_default_{str(number) * 43}" for number in range(7)]
        found = [await refused(port, token=guess, as_browser=bool(n % 2)) for n, guess in enumerate(guesses)]
        locked = await refused(port, token=right)
        outside = await call(f"127.0.0.1:{rig.daemon.port}", "/gateway.v1.AdminService/GetStatus", right)
        log = rig.daemon.log.read_text()

    assert [status for status, _ in found][:5] == [401] * 5
    assert locked[0] == 429
    assert outside is not None
    assert outside.reason == "TOO_MANY_FAILURES"
    assert int(locked[1]["Retry-After"]) >= 1
    assert "action=authenticate" in log
    for secret in (right, *guesses):
        assert secret not in log
        assert base64.urlsafe_b64encode(secret.encode()).decode().rstrip("=") not in log


async def test_a_message_that_is_too_large_closes_with_1009(rig: House) -> None:
    """limits.message_bytes, as it is on the wire; the client learns why although it was still sending."""
    async with socket(rig) as page:
        await page.hello("large")
        await page.socket.send_str(json.dumps({"requestId": "r", "send": {"agent": "echo", "text": "x" * 3_000_000}}))
        assert await page.closed() == (1009, "LIMIT_EXCEEDED")
    async with socket(rig) as page:
        await page.hello("not too large")
        await page.accepted(await page.ask(pb.ConnectRequest(send=pb.Send(agent="echo", text="x" * 60_000))))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is not JSON"),
        ("[]", "is not a JSON object"),
        ("nonsense", "is not JSON"),
        ('{"ping": {}, "ping": {}}', "given twice"),
        ('{"ping": NaN}', "NaN"),
        ('{"publish": ' + "[" * 40 + "]" * 40 + "}", "deeper than 32"),
        ("[" * 100_000, "is not JSON"),
        ('{"a": ' * 20_000 + "1" + "}" * 20_000, "JSON"),
        ('{"requestId": "r"}', "holds no kind of frame"),
    ],
    ids=lambda value: value[:24],
)
async def test_F42_what_is_no_frame_ends_its_connection_alone(rig: House, text: str, said: str) -> None:
    """PROTOCOL_VIOLATION in words, 1008, and the daemon goes on."""
    async with socket(rig) as first, socket(rig) as second:
        await first.socket.send_str(text)
        early = (await first.take("refused")).refused
        await second.hello("garbage")
        await second.socket.send_str(text)
        late = (await second.take("rejected")).rejected
        closes = await first.closed(), await second.closed()

    assert reason_of(early.error) == reason_of(late.error) == "PROTOCOL_VIOLATION"
    assert said in early.error.message
    assert early.step == pb.RECOVERY_STEP_DO_NOT_RETRY
    assert closes == ((1008, "PROTOCOL_VIOLATION"),) * 2
    assert (await rig.client.send("echo", "alive")).content == "alive"


async def test_a_request_with_wrong_words_is_rejected_and_ends_nothing(rig: House) -> None:
    """A misspelt name, a wrong type, an unknown enum, half a character: the request is named, and so is the fault."""
    wrong = {
        "subscribe": {"subscriptionID": "s"},
        "send": {"agent": 7},
        "publish": {"events": [{"type": "EVENT_TYPE_NEVER"}]},
        "cancel": {"executionId": "\ud800"},
        "hello": {"clientId": "twice", "since": None, "x": 1},
    }
    async with socket(rig) as page:
        await page.hello("misspelling")
        for kind, words in wrong.items():
            await page.socket.send_str(json.dumps({"requestId": kind, kind: words}))
            error = await page.rejected(kind)
            assert reason_of(error) == "INVALID_ARGUMENT", kind
            assert error.violations[0].field == "frame"
        await page.ask(pb.ConnectRequest(ping=pb.Ping()))
        await page.take("pong")


async def test_the_other_kind_of_message_is_a_violation(rig: House) -> None:
    """Text where binary was agreed, and the other way round; half a character is no text at all."""
    async with socket(rig, form=PROTO) as first, socket(rig) as second, socket(rig) as third:
        await first.socket.send_str('{"ping": {}}')
        await second.socket.send_bytes(b"\x42\x00")
        await third.socket.send_frame(b"\xff\xff", aiohttp.WSMsgType.TEXT)

        assert await first.closed() == (1008, "PROTOCOL_VIOLATION")
        assert await second.closed() == (1008, "PROTOCOL_VIOLATION")
        assert await third.closed() == (1007, "PROTOCOL_VIOLATION")


async def test_F42_frames_that_are_no_websocket_end_their_connection_alone(rig: House) -> None:
    """By hand on the socket: no mask, reserved bits, endless fragments, a bomb's length, pings without end."""
    port, token, before = http_port(rig.daemon), rig.daemon.token, rig.daemon.log.read_text()
    upgrade = (
        f"GET /v1/connect HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        f"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {base64.b64encode(bytes(16)).decode()}\r\n"
        f"Authorization: Bearer {token}\r\n\r\n"
    ).encode()
    frames = [
        b"\x81\x02{}",
        b"\xf1\x82\x00\x00\x00\x00{}",
        b"\x81\xff\x7f" + b"\xff" * 11,
        b"\x01\xfe\xff\xff\x00\x00\x00\x00" + b"x" * 65535 + (b"\x00\xfe\xff\xff\x00\x00\x00\x00" + b"x" * 65535) * 8,
        b"\x89\xfe\x01\x00\x00\x00\x00\x00" + b"p" * 256,
        bytes(range(256)) * 20,
        b"\x88\x81\x00\x00\x00\x00\x00",
        b"\x88\x82\x00\x00\x00\x00\x00\x00",
        b"",
    ]

    async def say(data: bytes) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(upgrade + data)
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 101 ")
            assert b"Server: gatewayd\r\n" in head
            if not data:
                writer.write_eof()
            async with asyncio.timeout(60):
                return await reader.read()
        except ConnectionError:
            return b""
        finally:
            writer.close()

    ends = await asyncio.gather(*(say(data) for data in frames))
    told = rig.daemon.log.read_text().removeprefix(before)

    assert all(not end or end[0] in (0x81, 0x88) for end in ends), ends
    assert not [line for line in told.splitlines() if " INFO " not in line]
    assert (await rig.client.send("echo", "alive")).content == "alive"


async def test_who_says_no_hello_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HELLO_LIMIT holds here, too: DEADLINE_EXCEEDED and 1013; pings do not count as words."""
    monkeypatch.setattr(driving, "HELLO_LIMIT", 0.5)
    async with InProcess(tmp_path, CONFIG) as gateway:
        listener, token = gateway.house.http, (gateway.paths.state / "token").read_text().strip()
        assert listener is not None
        async with RawSocket(listener.port, token=token) as silent:
            await silent.socket.ping()
            error = (await silent.take("refused", timeout=60)).refused
            assert await silent.closed() == (1013, "DEADLINE_EXCEEDED")

    assert reason_of(error.error) == "DEADLINE_EXCEEDED"
    assert error.step == pb.RECOVERY_STEP_WAIT_THEN_RETRY


async def test_F46_a_client_that_never_reads_is_cut_and_told_where_to_go_on(rig: House) -> None:
    """Within 10 s of its first blocked write; the cursor is in the next welcome, and reading from there has no gap."""
    begin = await rig.client.publish(new_event("custom", {"n": 0}, custom_type="note", topic="flood"))
    async with socket(rig) as page:
        token = (await page.hello("stuck")).resume_token
        await page.subscribe("s", event_filter(topic="flood"), since=begin)
        connection = page.socket._response.connection
        assert connection is not None
        assert connection.transport is not None
        connection.transport.pause_reading()
        event = new_event("custom", {"text": "x" * 20_000}, custom_type="note", topic="flood")
        began, published = time.monotonic(), 0

        async def gone() -> bool:
            nonlocal published
            if published < 600:  # beyond what kernel and buffers take
                copies = [new_event("custom", event.custom.json, custom_type="note", topic="flood") for _ in range(5)]
                await rig.client.publish(copies)
                published += len(copies)
            return bool(await rig.events("disconnect", stream_id="stuck", size=10))

        await eventually(gone, timeout=90)
        took = time.monotonic() - began
    async with socket(rig) as page:
        welcome = await page.hello("stuck", token)

    event_of_end, *_ = await rig.events("disconnect", stream_id="stuck")  # the second has left by now, or has not
    assert event_of_end.disconnect.reason == "slow_consumer"
    assert took < 60
    (lost,) = welcome.lost
    assert Cursor.parse(lost.cursor).seq >= Cursor.parse(begin).seq


async def test_F47_a_client_that_vanished_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No pong within half a heartbeat, and it is gone; who answers stays. In life that is 40 s at most."""
    monkeypatch.setattr(link, "HEARTBEAT", 0.4)
    async with InProcess(tmp_path, CONFIG) as gateway:
        listener, token = gateway.house.http, (gateway.paths.state / "token").read_text().strip()
        assert listener is not None
        async with RawSocket(listener.port, token=token) as gone, RawSocket(listener.port, token=token) as there:
            await gone.hello("gone")
            await there.hello("there")
            connection = gone.socket._response.connection
            assert connection is not None
            assert connection.transport is not None
            connection.transport.pause_reading()
            answering = asyncio.create_task(there.take("goodbye", timeout=60))  # pings are answered while it reads

            async def noticed() -> bool:
                return [one.client_id for one in gateway.house.hub.conversations()] == ["there"]

            await eventually(noticed)
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)
            await there.ask(pb.ConnectRequest(ping=pb.Ping()))
            await there.take("pong")

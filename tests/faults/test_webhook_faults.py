"""Webhooks against what goes wrong around them: senders that abuse HTTP, a store that stalls, a process that dies."""

import asyncio
import contextlib
import gzip
import random
import resource
import sys
import threading
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import aiohttp
import pytest

from gatewayd.daemon.options import Parts
from gatewayd.http import server
from gatewayd.http.webhooks import door
from gatewayd.storage.records import StoreHealth
from tests.rigs import in_process
from tests.rigs.house import House, house
from tests.rigs.in_process import InProcess
from tests.rigs.process import Daemon
from tests.rigs.webhooks import SECRET, Sender, github
from tests.rigs.websocket import http_port

CONFIG = f"""
gateway: {{http: {{port: 0}}}}
agents: {{echo: {{model: offline/echo}}}}
webhooks: {{repo: {{path: /hooks/repo, secret: {SECRET}}}}}
"""


async def talk(port: int, *parts: bytes, end: bool = False) -> bytes:
    """What comes back on one connection until the listener closes it; `end`: our side says that nothing more comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if end:
            writer.write_eof()
        async with asyncio.timeout(60):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def post(*headers: str, body: bytes = b"") -> bytes:
    return "\r\n".join(["POST /hooks/repo HTTP/1.1", "Host: localhost", *headers, "", ""]).encode() + body


def signed(body: bytes, delivery: str) -> list[str]:
    return [f"{name}: {text}" for name, text in github(body, delivery).items()]


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[House]:
    async with house(tmp_path, CONFIG) as rig:
        yield rig


# F56: senders that abuse HTTP


async def test_F56_a_hundred_slow_senders_hold_nobody_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets 408; meanwhile a right one is served."""
    monkeypatch.setattr(server, "BODY_LIMIT", 1.0)
    async with InProcess(tmp_path, CONFIG) as gateway:
        port = gateway.house.http.port
        slow = [
            asyncio.create_task(talk(port, post("Content-Length: 1000", "Connection: close", body=b"{")))
            for _ in range(100)
        ]
        body = b'{"a": 1}'
        right = post(*signed(body, "d"), "Content-Length: 8", "Connection: close", body=body)
        assert (await talk(port, right)).startswith(b"HTTP/1.1 202 ")
        assert not any(task.done() for task in slow)
        assert all(answer.startswith(b"HTTP/1.1 408 ") for answer in await asyncio.gather(*slow))
        assert [one.accepted for one in gateway.house.http.reports] == [1]


async def test_F56_a_hundred_megabytes_and_a_bomb_cost_nothing(rig: House) -> None:
    """413 by the header, 413 in the middle of chunks that never end, 415 for a body that unpacks to a gigabyte."""
    port = http_port(rig.daemon)
    before = _memory(rig.daemon)
    bomb = gzip.compress(bytes(64 << 20))
    found = [
        await talk(port, post("Content-Length: 104857600", "Connection: close")),
        await talk(port, post("Transfer-Encoding: chunked"), *[b"80000\r\n" + bytes(1 << 19) + b"\r\n"] * 4),
        await talk(port, post("Content-Encoding: gzip", f"Content-Length: {len(bomb)}", body=bomb)),
    ]

    assert [answer[9:12] for answer in found] == [b"413", b"413", b"415"]
    assert _memory(rig.daemon) - before < 32 << 20
    assert not await rig.events("webhook_received")


@pytest.mark.parametrize(
    "request_",
    [
        post("Transfer-Encoding: chunked", body=b"zz\r\n{}\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked", "Content-Length: 2", body=b"2\r\n{}\r\n0\r\n\r\n"),
        post("Transfer-Encoding: chunked, chunked", body=b"0\r\n\r\n"),
        post("Content-Length: 2", "Content-Length: 3", body=b"{} "),
        post("Content-Length: -1"),
        post("Content-Length: 2, 2", body=b"{}"),
    ],
)
async def test_F56_abused_framing_is_no_event_and_no_crash(rig: House, request_: bytes) -> None:
    """400 or 401, or the end of the connection; afterwards it serves as before."""
    answer = await talk(http_port(rig.daemon), request_, end=True)
    assert not answer or answer[9:12] in (b"400", b"401"), answer
    assert not await rig.events("webhook_received")
    async with Sender(rig.daemon) as sender:
        assert await sender.status("/hooks/repo", b"{}", github(b"{}", "after")) == 202


async def test_F56_a_sender_that_leaves_in_the_middle_leaves_nothing(rig: House) -> None:
    """Half a body, then nothing; and a chunked one that is cut."""
    port = http_port(rig.daemon)
    for data in (post("Content-Length: 100", body=b"{"), post("Transfer-Encoding: chunked", body=b"5\r\n{")):
        assert b" 202 " not in await talk(port, data, end=True)
    assert not await rig.events("webhook_received")


async def test_F56_a_chunked_body_is_signed_as_a_whole(rig: House) -> None:
    body = b'{"a": 1}'
    chunked = post(*signed(body, "d"), "Transfer-Encoding: chunked", "Connection: close")
    answer = await talk(http_port(rig.daemon), chunked, b'3\r\n{"a\r\n', b'5\r\n": 1}\r\n', b"0\r\n\r\n")

    assert answer.startswith(b"HTTP/1.1 202 ")
    assert [each.id for each in await rig.events("webhook_received")] == ["d"]


def _memory(daemon: Daemon) -> int:
    """Resident bytes."""
    pages = Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize()


# F57: the store stalls


class Stall:
    """Failpoints that hold the store's thread up before a commit, while they are told to."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.open.set()

    def hit(self, point: str) -> None:
        if point == "store.before_commit":
            self.open.wait(60)


async def test_F57_a_burst_while_the_store_stalls_is_503_before_any_2xx_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody hears 202 while nothing can be written; all try again, and each delivery has one event."""
    stall = Stall()
    monkeypatch.setattr(in_process, "Parts", partial(Parts, failpoints=stall))
    monkeypatch.setattr(door, "COMMIT_LIMIT", 0.5)
    async with InProcess(tmp_path, CONFIG) as gateway:
        port = gateway.house.http.port

        async def send(delivery: str) -> bytes:
            body = b'{"a": 1}'
            return await talk(port, post(*signed(body, delivery), "Content-Length: 8", "Connection: close", body=body))

        deliveries = [f"d{number}" for number in range(100)]
        stall.open.clear()
        try:
            for answer in await asyncio.gather(*map(send, deliveries)):
                assert answer.startswith(b"HTTP/1.1 503 "), answer
                assert b"Retry-After: 5\r\n" in answer
        finally:
            stall.open.set()
        again = await asyncio.gather(*map(send, deliveries * 2))
        assert {answer[9:12] for answer in again} == {b"202"}
        assert gateway.house.store.health is StoreHealth.OK
        async with gateway.client("reader") as client:
            events = await House(None, client, {}).events("webhook_received")  # type: ignore[arg-type]
        assert sorted(each.id for each in events) == sorted(deliveries)


# F58: killed between the commit and the answer


@pytest.mark.parametrize("point", ["store.before_commit", "store.after_commit"])
async def test_F58_killed_around_the_commit_the_sender_tries_again_and_there_is_one_event(
    tmp_path: Path, point: str
) -> None:
    """No 2xx was heard; after the restart the same delivery is answered like a new one, and is there once."""
    daemon, armed = Daemon(tmp_path, CONFIG), tmp_path / "armed"
    crashing = [sys.executable, "-m", "gatewayd.testing.crashing", "--crash-at", f"{point}:1", "--armed-by", str(armed)]
    body = b'{"a": 1}'
    await daemon.start(command=[*crashing, "--"])
    async with Sender(daemon) as sender:
        assert await sender.status("/hooks/repo", body, github(body, "before")) == 202
        armed.touch()
        with pytest.raises(aiohttp.ClientConnectionError):
            await sender.status("/hooks/repo", body, github(body, "d"))
    assert await daemon.ended() == -9
    await daemon.start()
    try:
        async with Sender(daemon) as sender, daemon.client() as client:
            for _ in range(3):
                assert await sender.status("/hooks/repo", body, github(body, "d")) == 202
            events = await House(daemon, client, {}).events("webhook_received")
            assert [each.id for each in events] == ["before", "d"]
    finally:
        assert await daemon.stop() == 0


async def test_F58_every_delivery_has_one_effect_over_five_kills_repeats_and_another_order(tmp_path: Path) -> None:
    """G13 in small: each delivery is sent until it is answered with 202, three times over, while the daemon dies."""
    daemon, armed = Daemon(tmp_path, CONFIG), tmp_path / "armed"
    deliveries = [f"d{number:02}" for number in range(40)]
    waiting = [each for each in deliveries for _ in range(3)]
    random.Random(58).shuffle(waiting)
    body = b'{"a": 1}'

    async def send(sender: Sender, delivery: str) -> None:
        with contextlib.suppress(aiohttp.ClientConnectionError):
            if await sender.status("/hooks/repo", body, github(body, delivery)) == 202:
                waiting.remove(delivery)

    for life in range(5):
        point = ("store.before_commit", "store.after_commit")[life % 2]
        crashing = [sys.executable, "-m", "gatewayd.testing.crashing", "--crash-at", f"{point}:{2 + life % 3}"]
        await daemon.start(command=[*crashing, "--armed-by", str(armed), "--"])
        armed.touch()  # not before: a start writes, too
        async with Sender(daemon) as sender:
            while daemon.process.returncode is None and waiting:
                await asyncio.gather(*(send(sender, each) for each in waiting[:8]))
        assert await daemon.ended() == -9
        armed.unlink()
    await daemon.start()
    try:
        async with Sender(daemon) as sender, daemon.client() as client, asyncio.timeout(60):
            while waiting:
                await asyncio.gather(*(send(sender, each) for each in waiting[:8]))
            events = await House(daemon, client, {}).events("webhook_received")
            assert sorted(each.id for each in events) == deliveries
    finally:
        assert await daemon.stop() == 0

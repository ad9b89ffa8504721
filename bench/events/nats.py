"""nats-server as the load sees it: its text protocol, read without a client library.

A payload is as long as a whole event of the other arms, since there is no envelope.
"""

import asyncio
import json
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import cast

from bench.events.arms import Glance, Look, Take, ring
from bench.events.payload import EVENT_BYTES, RING, payload
from bench.processes import ROOT, Running, WrongAnswer, free_port, peer

SERVER = ROOT / ".build/peers/nats/bin/nats-server"
SUBJECT = "bench"
PING, PONG = b"PING\r\n", b"PONG\r\n"
ANSWER = 20.0
"""Seconds that the server may take to answer."""

CONFIG = """
listen: "127.0.0.1:{port}"
max_pending: 512MB
write_deadline: "60s"
jetstream {{ store_dir: "{home}", sync_interval: {sync} }}
"""
"""Its bound for slow readers is set higher, so that no window gets a subscriber cut off."""


def subject(place: str) -> str:
    """A place, or a selection of places: the stream is the first word."""
    stream, _, topic = place.partition("|")
    return f"{SUBJECT}.{stream or '*'}.{topic or '>'}" if place else f"{SUBJECT}.>"


class Connection(asyncio.Protocol):
    """One connection. `on_data` gets what comes, uncut, once `join` has returned."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._lines = b""
        self._pong: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.on_data: Callable[[bytes], None] = self._greeting

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        options = {"verbose": False, "pedantic": False, "echo": False, "lang": "bench", "version": "1", "protocol": 1}
        self.write(f"CONNECT {json.dumps(options)}\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self.on_data(data)

    def write(self, data: bytes) -> None:
        """Send."""
        assert self._transport is not None
        self._transport.write(data)

    async def joined(self) -> None:
        """Everything written so far was taken in."""
        self.write(PING)
        async with asyncio.timeout(ANSWER):
            await self._pong

    def close(self) -> None:
        """Cut it."""
        if self._transport is not None:
            self._transport.abort()

    def _greeting(self, data: bytes) -> None:
        self._lines += data
        if b"-ERR" in self._lines:
            raise WrongAnswer(f"nats-server: {self._lines!r}")
        if PONG in self._lines and not self._pong.done():
            self._pong.set_result(None)
            self.on_data = lambda _data: None


class NatsSubscriber:
    """See `arms.Subscriber`. All its messages are of one length, so counting is a division."""

    def __init__(self, connection: Connection, subjects: Sequence[str]) -> None:
        self._connection = connection
        lengths = {len(one) for one in subjects}
        if len(lengths) != 1:
            raise WrongAnswer("subjects of different length cannot be counted")
        self._size = len(f"MSG {subjects[0]} 1 {EVENT_BYTES}\r\n") + EVENT_BYTES + 2
        self._head = self._size - EVENT_BYTES - 2

    def count(self, take: Take) -> None:
        rest = 0
        size = self._size

        def on_data(data: bytes) -> None:
            nonlocal rest
            if data.endswith(PING):
                self._connection.write(PONG)
                data = data[: -len(PING)]
            events, rest = divmod(rest + len(data), size)
            if events:
                take(events)

        self._connection.on_data = on_data

    def inspect(self, take: Take, look: Look) -> None:
        rest = b""

        def on_data(data: bytes) -> None:
            nonlocal rest
            data = rest + data if rest else data
            rest, places = self._cut(data)
            for place in places:
                look(data[place : place + EVENT_BYTES])
            take(len(places))

        self._connection.on_data = on_data

    def glance(self, glance: Glance) -> None:
        rest = b""

        def on_data(data: bytes) -> None:
            nonlocal rest
            data = rest + data if rest else data
            rest, places = self._cut(data)
            for place in places:
                glance(data, place)

        self._connection.on_data = on_data

    def _cut(self, data: bytes) -> tuple[bytes, list[int]]:
        """What is left over, and where payloads begin."""
        places = []
        start, size = 0, len(data)
        while size - start >= self._size or data.startswith(PING, start):
            if data.startswith(b"MSG ", start):
                places.append(start + self._head)
                start += self._size
            elif data.startswith(PING, start):
                self._connection.write(PONG)
                start += len(PING)
            else:
                raise WrongAnswer(f"nats-server sent {data[start : start + 80]!r}")
        return data[start:], places


class NatsPublisher:
    """See `arms.Publisher`. It never waits."""

    def __init__(self, connection: Connection, index: int, places: Sequence[str]) -> None:
        self._connection = connection
        self._heads = [f"PUB {subject(place or '0|all')} {EVENT_BYTES}\r\n".encode() for place in places]
        self._entries = [
            self._heads[number % len(places)] + payload(EVENT_BYTES, number, index) + b"\r\n" for number in range(RING)
        ]
        self.more: Callable[[], None] = lambda: None

    def publish(self, first: int, events: int) -> int:
        self._connection.write(b"".join(ring(self._entries, first, events)))
        return events

    def publish_payloads(self, payloads: Sequence[bytes]) -> None:
        self._connection.write(b"".join(self._heads[0] + data + b"\r\n" for data in payloads))


class NatsClients:
    """See `arms.Clients`."""

    payload_bytes = EVENT_BYTES

    def __init__(self, port: int, places: Sequence[str]) -> None:
        self._port = port
        self._places = places
        self._connections: list[Connection] = []

    async def connect(self) -> Connection:
        """A connection."""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(Connection, "127.0.0.1", self._port)
        self._connections.append(connection)
        return connection

    async def subscriber(self, _index: int, place: str = "") -> NatsSubscriber:
        connection = await self.connect()
        connection.write(f"SUB {subject(place)} 1\r\n".encode())
        await connection.joined()
        return NatsSubscriber(connection, [subject(one or "0|all") for one in self._places])

    async def publisher(self, index: int, places: Sequence[str] = ("",)) -> NatsPublisher:
        connection = await self.connect()
        await connection.joined()
        return NatsPublisher(connection, index, places)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


class Nats:
    """See `arms.Arm`."""

    ordered = True
    authenticated = "no"
    processes = "1 + load"

    def __init__(self, name: str = "nats-server", sync: str = '"2m"', places: Sequence[str] = ("",)) -> None:
        self.name = name
        self._sync = sync
        self._places = places

    def missing(self) -> str:
        return "" if SERVER.exists() else "no environment for it (`make bench-peers`)"

    @contextmanager
    def start(self, home: Path) -> Iterator[Running]:
        port = free_port()
        config = home / "nats.conf"
        config.write_text(CONFIG.format(port=port, home=home / "jetstream", sync=self._sync))
        with peer([str(SERVER), "-c", str(config)], home, port) as running:
            yield running

    def clients(self, running: Running) -> NatsClients:
        return NatsClients(running.port, self._places)


def installed() -> str:
    """Its version; '' when there is none."""
    if not SERVER.exists():
        return ""
    found = subprocess.run([str(SERVER), "--version"], capture_output=True, text=True, check=False)
    return found.stdout.strip().replace(": v", " ") if found.returncode == 0 else ""

"""The peers that take one event in a frame: the plain grpc.aio server and the C++ one, which speak alike."""

import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from gateway.v1 import event_pb2

from bench.events.arms import Glance, Look, Take, ring
from bench.events.envelope import PAYLOAD_BYTES, event, payload_place
from bench.events.h2 import Connection, Stream, connect, framed
from bench.events.payload import RING, payload
from bench.processes import ROOT, Running, free_port, peer

METHOD = "/bench.Plain/Connect"
CPP = ROOT / ".build/peers/cpp/plain"


class PlainSubscriber:
    """See `arms.Subscriber`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def count(self, take: Take) -> None:
        self._stream.on_message = lambda _message: take(1)

    def inspect(self, take: Take, look: Look) -> None:
        def inspect(message: bytes) -> None:
            look(event_pb2.Event.FromString(message).custom.content)
            take(1)

        self._stream.on_message = inspect

    def glance(self, glance: Glance) -> None:
        place = 0

        def on_message(message: bytes) -> None:
            nonlocal place
            place = place or payload_place(message)
            glance(message, place)

        self._stream.on_message = on_message


class PlainPublisher:
    """See `arms.Publisher`. It never waits."""

    def __init__(self, stream: Stream, index: int) -> None:
        self._stream = stream
        self._index = index
        self._entries = [
            framed(event(payload(PAYLOAD_BYTES, number, index), number, index).SerializeToString())
            for number in range(RING)
        ]
        self.more: Callable[[], None] = lambda: None

    def publish(self, first: int, events: int) -> int:
        self._stream.send_framed(b"".join(ring(self._entries, first, events)))
        return events

    def publish_payloads(self, payloads: Sequence[bytes]) -> None:
        for data in payloads:
            self._stream.send(event(data, 0, self._index).SerializeToString())


class PlainClients:
    """See `arms.Clients`."""

    payload_bytes = PAYLOAD_BYTES

    def __init__(self, port: int) -> None:
        self._port = port
        self._connections: list[Connection] = []

    async def connect(self) -> Connection:
        """A connection that `close` cuts."""
        connection = await connect(self._port)
        self._connections.append(connection)
        return connection

    async def _open(self, role: str, on_message: Callable[[bytes], None]) -> Stream:
        connection = await self.connect()
        return connection.open(METHOD, (("role", role),), on_message)

    async def subscriber(self, _index: int, _place: str = "") -> PlainSubscriber:
        stream = await self._open("subscriber", lambda _message: None)
        await stream.opened
        return PlainSubscriber(stream)

    async def publisher(self, index: int, _places: Sequence[str] = ("",)) -> PlainPublisher:
        return PlainPublisher(await self._open("publisher", lambda _message: None), index)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


class Plain:
    """See `arms.Arm`."""

    name = "plain grpc.aio"
    ordered = True
    authenticated = "no"
    processes = "1 + load"

    def missing(self) -> str:
        return ""

    def command(self, port: int) -> list[str]:
        """What starts it."""
        return [sys.executable, str(ROOT / "bench/peers/plain.py"), "--port", str(port)]

    def start(self, home: Path) -> AbstractContextManager[Running]:
        port = free_port()
        return peer(self.command(port), home, port)

    def clients(self, running: Running) -> PlainClients:
        return PlainClients(running.port)


class Cpp(Plain):
    """The same in C++."""

    name = "C++ gRPC"

    def missing(self) -> str:
        return "" if CPP.exists() else "not built (`make bench-peers` needs g++, libgrpc++-dev, protobuf-compiler-grpc)"

    def command(self, port: int) -> list[str]:
        return [str(CPP), str(port)]


def cpp_installed() -> str:
    """What the C++ peer is built on; '' when it is not built."""
    if not CPP.exists():
        return ""
    found = subprocess.run(["pkg-config", "--modversion", "grpc++"], capture_output=True, text=True, check=False)
    return f"C++ gRPC {found.stdout.strip()}"

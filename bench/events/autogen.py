"""AutoGen's gRPC host as the load sees it: CloudEvents of one topic to as many agents as there are subscribers.

The host keeps one stream for each client and passes an event to every client that has registered an agent whose
subscription matches. The messages are written and read here by hand, since their stubs are in another environment.
"""

import subprocess
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from bench.events.arms import Glance, Look, Take, ring
from bench.events.envelope import varint
from bench.events.h2 import Connection, Stream, connect, framed
from bench.events.payload import EVENT_BYTES, RING, payload
from bench.processes import ROOT, Running, WrongAnswer, free_port, peer

PYTHON = ROOT / ".build/peers/autogen/bin/python"
HOST = ROOT / "bench/peers/autogen_host.py"
SERVICE = "/agents.AgentRpc/"
TOPIC, SOURCE = b"bench.events", b"bench"
EVENT, BINARY = 3, 6
"""`Message.cloudEvent` and `CloudEvent.binary_data`."""


def part(number: int, data: bytes) -> bytes:
    """A string, bytes or message field of a protobuf message."""
    return varint(number << 3 | 2) + varint(len(data)) + data


def cloud_event(data: bytes, number: int, publisher: int) -> bytes:
    """A `Message` with an event."""
    name = f"{publisher:06}{number:020}".encode()
    return part(EVENT, part(1, name) + part(2, SOURCE) + part(3, b"1.0") + part(4, TOPIC) + part(BINARY, data))


PAYLOAD_BYTES = EVENT_BYTES + 3 - len(cloud_event(bytes(130), 0, 0)) + 130
"""Three bytes are the message's around the event."""


class AutogenSubscriber:
    """See `arms.Subscriber`."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def count(self, take: Take) -> None:
        self._stream.on_message = lambda _message: take(1)

    def inspect(self, take: Take, look: Look) -> None:
        def inspect(message: bytes) -> None:
            if len(message) != EVENT_BYTES + 3:
                raise WrongAnswer(f"the host sent {message[:80]!r}")
            look(message[-PAYLOAD_BYTES:])  # where no attributes are set, the data is the last field
            take(1)

        self._stream.on_message = inspect

    def glance(self, glance: Glance) -> None:
        place = EVENT_BYTES + 3 - PAYLOAD_BYTES
        self._stream.on_message = lambda message: glance(message, place)


class AutogenPublisher:
    """See `arms.Publisher`. It never waits."""

    def __init__(self, stream: Stream, index: int) -> None:
        self._stream = stream
        self._index = index
        self._entries = [
            framed(cloud_event(payload(PAYLOAD_BYTES, number, index), number, index)) for number in range(RING)
        ]
        self.more: Callable[[], None] = lambda: None

    def publish(self, first: int, events: int) -> int:
        self._stream.send_framed(b"".join(ring(self._entries, first, events)))
        return events

    def publish_payloads(self, payloads: Sequence[bytes]) -> None:
        for data in payloads:
            self._stream.send(cloud_event(data, 0, self._index))


class AutogenClients:
    """See `arms.Clients`."""

    payload_bytes = PAYLOAD_BYTES

    def __init__(self, port: int) -> None:
        self._port = port
        self._connections: list[Connection] = []

    async def _open(self, name: str) -> tuple[Connection, Stream]:
        connection = await connect(self._port)
        self._connections.append(connection)
        return connection, connection.open(SERVICE + "OpenChannel", (("client-id", name),), lambda _message: None)

    async def subscriber(self, index: int, _place: str = "") -> AutogenSubscriber:
        name = f"subscriber-{index}"
        connection, stream = await self._open(name)
        agent = f"agent{index}".encode()
        metadata = (("client-id", name),)
        await connection.call(SERVICE + "RegisterAgent", metadata, part(1, agent))
        subscription = part(1, agent) + part(2, part(1, TOPIC) + part(2, agent))
        await connection.call(SERVICE + "AddSubscription", metadata, part(1, subscription))
        return AutogenSubscriber(stream)

    async def publisher(self, index: int, _places: Sequence[str] = ("",)) -> AutogenPublisher:
        return AutogenPublisher((await self._open(f"publisher-{index}"))[1], index)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


class Autogen:
    """See `arms.Arm`."""

    name = "AutoGen host"
    ordered = False
    """A task for each message: order holds at dispatch only, and is not promised."""
    authenticated = "no"
    processes = "1 + load"

    def missing(self) -> str:
        return "" if PYTHON.exists() else "no environment for it (`make bench-peers`)"

    def start(self, home: Path) -> AbstractContextManager[Running]:
        port = free_port()
        return peer([str(PYTHON), str(HOST), "--port", str(port)], home, port)

    def clients(self, running: Running) -> AutogenClients:
        return AutogenClients(running.port)


def installed() -> str:
    """Its version; '' when there is none."""
    if not PYTHON.exists():
        return ""
    ask = "from importlib.metadata import version as v; print('autogen-ext', v('autogen-ext'), 'grpcio', v('grpcio'))"
    found = subprocess.run([str(PYTHON), "-c", ask], capture_output=True, text=True, check=False)
    return found.stdout.strip() if found.returncode == 0 else ""

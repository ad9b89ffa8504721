"""What the faults of the event service share: a witness beside every attack, HTTP/2 by hand, and looks at the daemon.

The daemon is a real process on real sockets. Nothing here measures time: a witness says whether *another* client was
served, completely and in order, while somebody misbehaved.
"""

import asyncio
import contextlib
import struct
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

from gateway.v1 import admin_service_pb2, event_pb2
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import Event, event_filter, new_event
from tests.rigs.house import House, eventually
from tests.rigs.stream import METHOD

PATIENCE = 60.0
"""Seconds for whatever must come: machines are shared."""
MIB = 1024 * 1024


def note(number: int, topic: str, *, text: str = "", ephemeral: bool = False, event_id: str = "") -> Event:
    """A numbered event, as large as its text."""
    data = {"n": number, "text": text} if text else {"n": number}
    event = new_event("custom", data, custom_type="note", topic=topic, ephemeral=ephemeral)
    event.id = event_id
    return event


def number_of(event: event_pb2.Event) -> int:
    return int(event.custom.json["n"])


# Others


class Witness:
    """A client of its own that publishes, hears itself and asks an agent, until it is told to stop."""

    def __init__(self) -> None:
        self.rounds = 0
        """Requests that were answered, each with its event seen in its turn."""

    async def more(self, rounds: int = 3) -> None:
        """Wait until so many more rounds were served."""
        until = self.rounds + rounds

        async def served() -> bool:
            return self.rounds >= until

        await eventually(served, timeout=PATIENCE)


@contextlib.asynccontextmanager
async def witness(rig: House, client_id: str = "witness") -> AsyncIterator[Witness]:
    """Somebody else is served all the while: every answer comes, every event once, whole and in order."""
    seen = Witness()
    stop = asyncio.Event()

    async def rounds() -> None:
        async with rig.daemon.client(client_id, timeout=PATIENCE) as client:
            async with client.subscribe(event_filter(topic=client_id)) as events:
                while not stop.is_set():
                    number = seen.rounds
                    async with asyncio.timeout(PATIENCE):
                        await client.publish(note(number, client_id, text=f"frame {number}"))
                        event = await anext(events)
                        assert (number_of(event), event.custom.json["text"]) == (number, f"frame {number}")
                        assert (await client.send("echo", f"round {number}")).content == f"round {number}"
                    assert client._conversation.connects == 1, "the witness was cut off"
                    seen.rounds += 1
                    await asyncio.sleep(0.005)

    task = asyncio.create_task(rounds())

    async def begun() -> bool:
        if task.done():
            task.result()
        return seen.rounds > 0

    try:
        await eventually(begun, timeout=PATIENCE)
        yield seen
        await seen.more()
    finally:
        stop.set()
        await task


# The daemon, from outside


def resident(rig: House) -> int:
    """Bytes of memory that the daemon holds now."""
    status = Path(f"/proc/{rig.daemon.process.pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) * 1024


def descriptors(rig: House) -> int:
    """Open files and sockets of the daemon, but for those of its store, which has a reader more when one is needed."""
    count = 0
    for link in Path(f"/proc/{rig.daemon.process.pid}/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):  # closed meanwhile
            count += ".db" not in link.readlink().name
    return count


def log_lines(rig: House) -> list[str]:
    return rig.daemon.log.read_text().splitlines()


async def clients(rig: House) -> dict[str, admin_service_pb2.Client]:
    """Who is connected, by client id."""
    request = admin_service_pb2.ListClientsRequest(page_size=1000)
    answer = await rig.client.call(
        "AdminService/ListClients", request, admin_service_pb2.ListClientsResponse, timeout=PATIENCE
    )
    connected = admin_service_pb2.CLIENT_STATE_CONNECTED
    return {each.client_id: each for each in answer.clients if each.state == connected}


async def only(rig: House, *names: str) -> None:
    """Wait until nobody but these (and the rig's own client) is connected."""

    async def alone() -> bool:
        return set(await clients(rig)) == {"test", *names}

    await eventually(alone, timeout=PATIENCE)


# HTTP/2 by hand: https://www.rfc-editor.org/rfc/rfc9113

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, END_HEADERS = 0x1, 0x4


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """One frame."""
    return len(payload).to_bytes(3, "big") + bytes((kind, flags)) + struct.pack(">I", stream) + payload


def header(name: str, value: str) -> bytes:
    """A header that is written out, without an index and without Huffman coding."""
    return b"\x00" + _text(name) + _text(value)


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest, size = len(data) - 127, bytearray(b"\x7f")
    while rest >= 128:
        size.append(rest % 128 + 128)
        rest //= 128
    return bytes((*size, rest)) + data


def request_headers(method: str, token: str = "") -> bytes:
    """The header block that opens a gRPC call."""
    fields = {":method": "POST", ":scheme": "http", ":path": method, ":authority": "x"}
    fields |= {"te": "trailers", "content-type": "application/grpc"}
    if token:
        fields["authorization"] = f"Bearer {token}"
    return b"".join(header(*each) for each in fields.items())


def message(data: bytes) -> bytes:
    """A gRPC message as it stands in DATA frames."""
    return b"\x00" + len(data).to_bytes(4, "big") + data


class Wire:
    """A TCP connection on which anything may be said; what comes back is kept as HTTP/2 frames."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer
        self.frames: list[tuple[int, int, int, bytes]] = []
        """Kind, flags, stream, payload."""
        self._task = asyncio.create_task(self._read())

    async def _read(self) -> None:
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await self.reader.readexactly(9)
                stream = int.from_bytes(head[5:9], "big") & 0x7FFFFFFF
                payload = await self.reader.readexactly(int.from_bytes(head[:3], "big"))
                if head[3] == PING and not head[4]:
                    self.writer.write(frame(PING, 1, 0, payload))
                else:
                    self.frames.append((head[3], head[4], stream, payload))

    def count(self, kind: int) -> int:
        return sum(1 for each in self.frames if each[0] == kind)

    @property
    def goaway(self) -> int | None:
        """The error code with which the server has said that it will end the connection."""
        codes = [int.from_bytes(payload[4:8], "big") for kind, _, _, payload in self.frames if kind == GOAWAY]
        return codes[-1] if codes else None

    @property
    def closed(self) -> bool:
        """Whether the server has closed."""
        return self._task.done()

    async def greet(self) -> None:
        """Be an HTTP/2 client. Each of its streams has room for 64 KiB, all together as much as there can be."""
        room = frame(WINDOW_UPDATE, 0, 0, (2**31 - 2**16).to_bytes(4, "big"))
        self.writer.write(PREFACE + frame(SETTINGS, 0, 0) + frame(SETTINGS, 1, 0) + room)
        await self.writer.drain()
        await self.until(lambda: self.count(SETTINGS) > 0)

    async def push(self, data: bytes) -> bool:
        """Write; False once the server takes no more because it has closed. Waits while it does not read."""
        try:
            self.writer.write(data)
            async with asyncio.timeout(PATIENCE):
                await self.writer.drain()
            await asyncio.sleep(0)  # the others in this process get their turn, too
        except ConnectionError:
            return False
        return not self.closed

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until the condition holds or the server has closed."""

        async def look() -> bool:
            return condition() or self.closed

        await eventually(look, timeout=PATIENCE)

    async def close(self) -> None:
        self.writer.close()
        with contextlib.suppress(ConnectionError):
            await self.writer.wait_closed()
        await self._task


@contextlib.asynccontextmanager
async def wire(rig: House) -> AsyncIterator[Wire]:
    """A TCP connection to the daemon."""
    one = Wire(*await asyncio.open_connection("127.0.0.1", rig.daemon.port))
    try:
        yield one
    finally:
        await one.close()


class HandStream:
    """A `Connect` stream by hand, for a client that can stop reading: it opens no window beyond the first 64 KiB."""

    def __init__(self, one: Wire) -> None:
        self._wire = one

    async def open(self, token: str, *frames: pb.ConnectRequest) -> None:
        """Begin the stream with these frames."""
        await self._wire.greet()
        await self._wire.push(frame(HEADERS, END_HEADERS, 1, request_headers(METHOD, token)))
        await self.say(*frames)

    async def say(self, *frames: pb.ConnectRequest) -> None:
        data = b"".join(message(each.SerializeToString()) for each in frames)
        await self._wire.push(frame(DATA, 0, 1, data))

    @property
    def answers(self) -> list[pb.ConnectResponse]:
        """The frames that have come as a whole."""
        data = b"".join(payload for kind, _, _, payload in self._wire.frames if kind == DATA)
        found, at = [], 0
        while at + 5 <= len(data):
            end = at + 5 + int.from_bytes(data[at + 1 : at + 5], "big")
            if end > len(data):
                break
            found.append(pb.ConnectResponse.FromString(data[at + 5 : end]))
            at = end
        return found

    async def until(self, *kinds: str) -> pb.ConnectResponse:
        """The first answer of one of these kinds."""

        def got() -> list[pb.ConnectResponse]:
            return [each for each in self.answers if each.WhichOneof("frame") in kinds]

        await self._wire.until(lambda: bool(got()))
        return got()[0]


def hello(client_id: str, resume_token: str = "") -> pb.ConnectRequest:
    return pb.ConnectRequest(
        hello=pb.Hello(client_id=client_id, protocol_min=1, protocol_max=1, resume_token=resume_token)
    )


def subscribe(topic: str, *, name: str = "s", since: str = "", **more: Any) -> pb.ConnectRequest:
    """Asks for events of that topic, under the request id of the subscription's name."""
    wanted = pb.Subscribe(subscription_id=name, filter=event_filter(topic=topic), since=since, **more)
    return pb.ConnectRequest(request_id=name, subscribe=wanted)

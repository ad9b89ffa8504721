"""The least client that a gRPC server takes: HTTP/2 frames over one TCP connection, messages as bytes.

The load has one processor, and a frame costs a gRPC client in Python as much as it costs a server: with one, the load
would be what is measured. This one costs a microsecond a frame, and is the same for every server that speaks gRPC.
It offers credit without end, so a server is held back by TCP alone; what it sends itself keeps to the server's credit.
"""

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import cast

DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE, CONTINUATION = 0, 1, 3, 4, 6, 7, 8, 9
END_STREAM, ACK, END_HEADERS = 0x1, 0x1, 0x4
CREDIT = (1 << 31) - 1
"""The most that HTTP/2 allows."""
REFILL = 1 << 20
"""Bytes taken after which credit is given again."""
FRAME = 1 << 18
"""Largest frame that the server may send."""
SETTINGS_TABLE, SETTINGS_WINDOW, SETTINGS_FRAME = 1, 4, 5
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
CONNECT = 20.0
"""Seconds that opening a connection may take."""

_HEAD = struct.Struct(">IBI")
_SETTING = struct.Struct(">HI")
_LENGTH = struct.Struct(">I")

Metadata = Sequence[tuple[str, str]]


class StreamEnded(Exception):
    """The server has ended a stream; the text has its status and message."""


def framed(message: bytes) -> bytes:
    """A gRPC message with its prefix."""
    return b"\0" + _LENGTH.pack(len(message)) + message


class Stream:
    """One call. `on_message` gets each message; what it raises ends the connection."""

    __slots__ = ("_connection", "_part", "_queue", "credit", "ended", "number", "on_message", "opened", "taken")

    def __init__(self, connection: "Connection", number: int, on_message: Callable[[bytes], None]) -> None:
        loop = asyncio.get_running_loop()
        self._connection = connection
        self._part = b""
        self._queue = b""
        self.number = number
        self.on_message = on_message
        self.credit = connection.first_credit
        self.taken = 0
        self.opened: asyncio.Future[None] = loop.create_future()
        """Done when the server's headers have come."""
        self.ended: asyncio.Future[tuple[int, str]] = loop.create_future()
        """Status and message of its end."""

    @property
    def closed(self) -> bool:
        """Whether it was us who cut its connection."""
        return self._connection.closed

    def send(self, message: bytes) -> None:
        """Send one message."""
        self.send_framed(framed(message))

    def send_framed(self, data: bytes) -> None:
        """Send messages that have their prefixes, as soon as the server gives credit."""
        self._queue = self._queue + data if self._queue else data
        self.flush()

    def finish(self) -> None:
        """Say that nothing more will be sent."""
        assert not self._queue, "half-closed with data that waits for credit"
        self._connection.write(_frame(DATA, END_STREAM, self.number))

    def flush(self) -> None:
        """Send what credit allows."""
        connection, queue = self._connection, self._queue
        while queue and (size := min(len(queue), self.credit, connection.credit, connection.max_frame)) > 0:
            connection.write(_frame(DATA, 0, self.number, queue[:size]))
            self.credit -= size
            connection.credit -= size
            queue = queue[size:]
        self._queue = queue

    def take(self, data: bytes) -> None:
        """Cut what has come into messages."""
        if self._part:
            data = self._part + data
        place, size = 0, len(data)
        while size - place >= 5:
            end = place + 5 + _LENGTH.unpack_from(data, place + 1)[0]
            if end > size:
                break
            self.on_message(data[place + 5 : end])
            place = end
        self._part = data[place:] if place < size else b""

    def over(self, status: int, message: str) -> None:
        """It has ended."""
        if not self.opened.done():
            self.opened.set_exception(StreamEnded(f"status {status}: {message}"))
            self.opened.exception()
        if not self.ended.done():
            self.ended.set_result((status, message))


class Connection(asyncio.Protocol):
    """One TCP connection and its streams."""

    def __init__(self, authority: str) -> None:
        self._authority = authority
        self._rest = b""
        self._taken = 0
        self._last = -1
        self._out: list[bytes] = []
        self._transport: asyncio.Transport | None = None
        self._streams: dict[int, Stream] = {}
        self.closed = False
        self.credit = 65535
        self.first_credit = 65535
        self.max_frame = 16384
        self.ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when the server's settings have come."""

    def open(self, path: str, metadata: Metadata, on_message: Callable[[bytes], None]) -> Stream:
        """Begin a call."""
        self._last += 2
        stream = self._streams[self._last] = Stream(self, self._last, on_message)
        headers = b"\x83\x86" + _header(4, path) + _header(1, self._authority)
        for name, value in (("te", "trailers"), ("content-type", "application/grpc"), *metadata):
            headers += _header(0, value, name)
        self.write(_frame(HEADERS, END_HEADERS, self._last, headers))
        return stream

    async def call(self, path: str, metadata: Metadata, message: bytes) -> bytes:
        """A unary call. `StreamEnded` if it fails."""
        answers: list[bytes] = []
        stream = self.open(path, metadata, answers.append)
        stream.send(message)
        stream.finish()
        async with asyncio.timeout(CONNECT):
            status, text = await stream.ended
        if status or not answers:
            raise StreamEnded(f"{path}: status {status}: {text}")
        return answers[0]

    def write(self, data: bytes) -> None:
        """Send with all else that is written in this turn of the loop."""
        if not self._out:
            asyncio.get_running_loop().call_soon(self._flush)
        self._out.append(data)

    def _flush(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(b"".join(self._out))
        self._out.clear()

    def close(self) -> None:
        """Cut the connection."""
        self.closed = True
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's is none by descent
        pairs = ((SETTINGS_TABLE, 0), (SETTINGS_WINDOW, CREDIT), (SETTINGS_FRAME, FRAME))
        settings = b"".join(_SETTING.pack(*pair) for pair in pairs)
        self.write(PREFACE + _frame(SETTINGS, 0, 0, settings))
        self.write(_frame(WINDOW_UPDATE, 0, 0, _LENGTH.pack(CREDIT - 65535)))

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.ready.done():
            self.ready.set_exception(exc or ConnectionError("closed before the server's settings came"))
        for stream in list(self._streams.values()):
            stream.over(14, f"the connection is lost: {exc}")
        self._streams.clear()

    def data_received(self, data: bytes) -> None:
        if self._rest:
            data = self._rest + data
        place, size = 0, len(data)
        while size - place >= 9:
            word, flags, number = _HEAD.unpack_from(data, place)
            start = place + 9
            end = start + (word >> 8)
            if end > size:
                break
            kind = word & 255
            if kind == DATA:
                stream = self._streams.get(number)
                if stream is not None:
                    stream.take(data[start:end])
                    stream.taken += end - start
                    if stream.taken > REFILL:
                        self._refill(stream)
            else:
                self._control(kind, flags, number, data[start:end])
            place = end
        self._rest = data[place:] if place < size else b""

    def _refill(self, stream: Stream) -> None:
        for number in (0, stream.number):
            self.write(_frame(WINDOW_UPDATE, 0, number, _LENGTH.pack(stream.taken)))
        stream.taken = 0

    def _control(self, kind: int, flags: int, number: int, payload: bytes) -> None:
        if kind == SETTINGS and not flags & ACK:
            self._set(payload)
        elif kind == PING and not flags & ACK:
            self.write(_frame(PING, ACK, 0, payload))
        elif kind == WINDOW_UPDATE:
            self._more(number, _LENGTH.unpack(payload)[0])
        elif kind == HEADERS and number in self._streams:
            stream = self._streams[number]
            if flags & END_STREAM:
                del self._streams[number]
                stream.over(int(_trailer(payload, b"grpc-status") or "2"), _trailer(payload, b"grpc-message"))
            elif not stream.opened.done():
                stream.opened.set_result(None)
        elif kind == RST_STREAM and number in self._streams:
            self._streams.pop(number).over(1, f"reset with {_LENGTH.unpack(payload)[0]}")

    def _set(self, payload: bytes) -> None:
        for name, value in _SETTING.iter_unpack(payload):
            if name == SETTINGS_WINDOW:
                for stream in self._streams.values():
                    stream.credit += value - self.first_credit
                self.first_credit = value
            elif name == SETTINGS_FRAME:
                self.max_frame = min(value, FRAME)
        self.write(_frame(SETTINGS, ACK, 0))
        if not self.ready.done():
            self.ready.set_result(None)
        self._more(0, 0)

    def _more(self, number: int, credit: int) -> None:
        if not number:
            self.credit += credit
            for stream in self._streams.values():
                stream.flush()
        elif number in self._streams:
            self._streams[number].credit += credit
            self._streams[number].flush()


async def connect(port: int) -> Connection:
    """Open a connection to a port of the loopback interface."""
    authority = f"127.0.0.1:{port}"
    async with asyncio.timeout(CONNECT):
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(lambda: Connection(authority), "127.0.0.1", port)
        await connection.ready
    return connection


def _frame(kind: int, flags: int, number: int, payload: bytes = b"") -> bytes:
    return _HEAD.pack(len(payload) << 8 | kind, flags, number) + payload


def _header(index: int, value: str, name: str = "") -> bytes:
    """A literal that enters no table, its name from the static table or in full."""
    return bytes((index,)) + (_text(name) if name else b"") + _text(value)


def _text(text: str) -> bytes:
    data = text.encode("ascii")
    if len(data) < 127:
        return bytes((len(data),)) + data
    rest = len(data) - 127
    return (bytes((127, rest)) if rest < 128 else bytes((127, rest & 127 | 128, rest >> 7))) + data


def _trailer(block: bytes, name: bytes) -> str:
    """The value of a trailer; gRPC's servers write them as plain literals to a client without a table."""
    place = block.find(name)
    if place < 0:
        return ""
    start = place + len(name)
    size = block[start] & 127
    return block[start + 1 : start + 1 + size].decode(errors="replace")

"""A small TCP proxy that loses connections on request, as a network does: without a word, with bytes under way."""

import asyncio
import contextlib
import socket
import struct

CHUNK = 1 << 16


class CutProxy:
    """Stands between a client and the daemon; `async with`. One client at a time is expected."""

    def __init__(self, port: int) -> None:
        self.port = 0
        """Where it listens, on 127.0.0.1."""
        self.swallowed = 0
        """Bytes of the daemon that were taken and not passed on since the last cut."""
        self._target = port
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()
        self._freeze_after: int | None = None
        self._is_open = True
        self._refused = 0
        self._changed = asyncio.Condition()

    async def __aenter__(self) -> "CutProxy":
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None
        self._server.close()
        self._abort()
        await self._server.wait_closed()

    def freeze(self, after: int = 0) -> None:
        """Once the client has sent more than `after` bytes on a connection, it hears nothing more of the daemon."""
        self._freeze_after = after

    async def has_swallowed(self, count: int) -> None:
        """Wait until the daemon has sent so many bytes that will never arrive."""
        async with self._changed:
            await self._changed.wait_for(lambda: self.swallowed >= count)

    async def cut(self) -> None:
        """Reset every connection (RST, no close), and refuse new ones until `let_in`."""
        self._is_open, self._refused = False, 0
        self._freeze_after, self.swallowed = None, 0
        self._abort()

    async def has_refused(self, count: int) -> None:
        """Wait until the client has tried so often to come back."""
        async with self._changed:
            await self._changed.wait_for(lambda: self._refused >= count)

    def let_in(self) -> None:
        self._is_open = True

    def _abort(self) -> None:
        for writer in self._writers:
            reset(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._is_open:
            reset(writer)
            async with self._changed:
                self._refused += 1
                self._changed.notify_all()
            return
        there, back = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers |= {writer, back}
        sent = 0

        async def up() -> None:
            nonlocal sent
            while data := await reader.read(CHUNK):
                sent += len(data)  # before it is passed on: the daemon's answer to it must find us frozen
                back.write(data)
                await back.drain()

        async def down() -> None:
            while data := await there.read(CHUNK):
                if self._freeze_after is not None and sent > self._freeze_after:
                    async with self._changed:
                        self.swallowed += len(data)
                        self._changed.notify_all()
                    continue
                writer.write(data)
                await writer.drain()

        halves = [asyncio.create_task(up()), asyncio.create_task(down())]
        try:
            await asyncio.wait(halves, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for half in halves:
                half.cancel()
            for result in await asyncio.gather(*halves, return_exceptions=True):
                if isinstance(result, Exception) and not isinstance(result, OSError):
                    raise result
            self._writers -= {writer, back}
            for one in (writer, back):
                one.close()
                with contextlib.suppress(OSError):
                    await one.wait_closed()


def reset(writer: asyncio.StreamWriter) -> None:
    """Drop the connection with RST, and whatever was still to be sent with it."""
    sock = writer.get_extra_info("socket")
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()

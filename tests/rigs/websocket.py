"""The WebSocket door from a client's side: the same stories as over gRPC, and what only a WebSocket can do."""

import asyncio
import base64
from typing import Any

import aiohttp
from gateway.v1 import error_pb2
from gateway.v1 import event_service_pb2 as pb
from google.protobuf import json_format

from gatewayctl.client import GatewayError
from gatewayctl.sdk.errors import from_frame
from tests.rigs.process import Daemon
from tests.rigs.stream import RawStream

JSON, PROTO = "gateway.v1.json", "gateway.v1.proto"


def http_port(daemon: Daemon) -> int:
    """The port of the HTTP listener, from the daemon's log."""
    lines = [line for line in daemon.log.read_text().splitlines() if "listening" in line and "http=" in line]
    return int(lines[-1].partition("http=")[2].split()[0].strip('"').rpartition(":")[2])


def bearer(token: str) -> str:
    """How a browser carries its token: among the subprotocols."""
    return "bearer." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


class RawSocket(RawStream):
    """A `RawStream` over a WebSocket. Its credentials are in a header, or `as_browser` in a subprotocol."""

    def __init__(
        self, port: int, *, token: str = "", form: str = JSON, as_browser: bool = False, **headers: str
    ) -> None:
        self._url = f"http://127.0.0.1:{port}/v1/connect"
        self._form = form
        self._protocols = (form, bearer(token)) if as_browser else (form,)
        self._headers = {name.title(): text for name, text in headers.items()}
        if token and not as_browser:
            self._headers["Authorization"] = f"Bearer {token}"
        self._requests = 0
        self._kept: list[pb.ConnectResponse] = []
        self._session: aiohttp.ClientSession | None = None
        self._last: error_pb2.Error | None = None

    async def __aenter__(self) -> "RawSocket":
        self._session = aiohttp.ClientSession()
        try:
            self.socket = await self._session.ws_connect(
                self._url, protocols=self._protocols, headers=self._headers, max_msg_size=0
            )
        except BaseException:
            await self._session.close()
            raise
        self._call = self  # frames are read and written here
        return self

    async def cut(self) -> None:
        """Leave without a word, as a broken network does."""
        assert self._session is not None
        response = self.socket._response
        if response.connection is not None and response.connection.transport is not None:
            response.connection.transport.abort()
        response.close()
        await self._session.close()

    async def write(self, frame: pb.ConnectRequest | bytes) -> None:
        """One frame; bytes go out as they are, in the form's kind of message."""
        if self._form == JSON:
            text = frame.decode() if isinstance(frame, bytes) else json_format.MessageToJson(frame, indent=None)
            await self.socket.send_str(text)
        else:
            await self.socket.send_bytes(frame if isinstance(frame, bytes) else frame.SerializeToString())

    async def read(self) -> Any:
        """The next frame; AssertionError once it is closed."""
        message = await self.socket.receive()
        if message.type is aiohttp.WSMsgType.TEXT and self._form == JSON:
            frame = json_format.Parse(message.data, pb.ConnectResponse())
        elif message.type is aiohttp.WSMsgType.BINARY and self._form == PROTO:
            frame = pb.ConnectResponse.FromString(message.data)
        else:
            raise AssertionError(f"the socket closed with {self.socket.close_code} {message}")
        if frame.WhichOneof("frame") == "refused":
            self._last = frame.refused.error
        if frame.WhichOneof("frame") == "rejected" and not frame.request_id:
            self._last = frame.rejected.error
        return frame

    async def half_close(self) -> None:
        """The nearest that a WebSocket has: a normal close."""
        await self.socket.close(code=1000)

    async def ended(self, *, timeout: float = 60.0) -> GatewayError | None:
        """The error that ends it, frames that still come being dropped; None for a normal close."""
        async with asyncio.timeout(timeout):
            while True:
                try:
                    await self.read()
                except AssertionError:
                    return from_frame(self._last) if self._last is not None else None

    async def closed(self, *, timeout: float = 60.0) -> tuple[int | None, str]:
        """Code and reason of its end, frames that still come being dropped."""
        async with asyncio.timeout(timeout):
            while True:
                message = await self.socket.receive()
                if message.type is aiohttp.WSMsgType.CLOSE:
                    return message.data, message.extra or ""
                if message.type in (aiohttp.WSMsgType.CLOSED, aiohttp.WSMsgType.ERROR):
                    return self.socket.close_code, ""

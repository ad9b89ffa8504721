"""A WebSocket as the link of a conversation: messages in one of two forms, and what the closing tells."""

import struct
from collections.abc import Mapping
from types import MappingProxyType

from aiohttp import WebSocketError, WSMsgType, web

from gatewayd.core.clock import Clock
from gatewayd.core.errors import LimitExceeded, ProtocolViolation
from gatewayd.http.credentials import JSON
from gatewayd.http.json_desk import JsonDesk
from gatewayd.http.verdicts import NORMAL, TOO_BIG
from gatewayd.wire.json import kind_of_response

HEARTBEAT = 24.0
"""Seconds of silence after which the client is pinged; without a pong in half of it, it is gone (40 s at most)."""
LINGER = 1.0
"""Seconds in which the rest of a message that is too large is taken from the client, so that it reads why."""
_NO_CODE = 0
_PROTOCOL, _PAYLOAD = 1002, 1007
_REASONS: Mapping[int, bytes] = MappingProxyType(
    {TOO_BIG: b"LIMIT_EXCEEDED", _PROTOCOL: b"PROTOCOL_VIOLATION", _PAYLOAD: b"PROTOCOL_VIOLATION"}
)


class Socket(web.WebSocketResponse):
    """aiohttp's, which closes by itself on what is no WebSocket message, or one too large: here it says why."""

    def __init__(self, form: str, most: int, clock: Clock, *, close_limit: float) -> None:
        super().__init__(protocols=(form,), max_msg_size=most, compress=False, heartbeat=HEARTBEAT, timeout=close_limit)
        self.headers["Server"] = "gatewayd"
        self._clock = clock

    async def close(self, *, code: int = NORMAL, message: bytes = b"", drain: bool = True) -> bool:
        """Close; what this side finds wrong in the transport carries its reason."""
        if not self.closed and not message and code in _REASONS:
            message = _REASONS[code]
            if code == TOO_BIG:
                await self.send_frame(struct.pack("!H", code) + message, WSMsgType.CLOSE)
                await self._clock.sleep(LINGER)
        return await super().close(code=code, message=message, drain=drain)


class SocketLink:
    """A `Link`."""

    end: object = None
    gone: type[Exception] = ConnectionError

    def __init__(self, socket: Socket, json: JsonDesk | None) -> None:
        """`json` reads and writes the messages, unless they are bytes."""
        self._socket = socket
        self._json = json
        self.opened_with = ""
        """The first frame that was written: `welcome`, `refused`, or '' while there was none."""

    async def read(self) -> bytes | None:
        """One message; `end` when the client has closed normally."""
        message = await self._socket.receive()
        if message.type is WSMsgType.CLOSE and message.data in (NORMAL, _NO_CODE):
            return None
        if message.type is WSMsgType.ERROR and _code(message.data) == TOO_BIG:
            raise LimitExceeded("the message is too large", metadata={"limit": "limits.message_bytes"})
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            raise ConnectionResetError("the client is gone")
        if (self._json is not None) is not (message.type is WSMsgType.TEXT):
            wanted = "binary" if self._json is None else "text"
            raise ProtocolViolation(f"frame: {self._socket.ws_protocol or JSON} is spoken in {wanted} messages")
        return message.data if self._json is None else await self._json.read(message.data)

    async def write(self, data: bytes) -> None:
        self.opened_with = self.opened_with or kind_of_response(data)
        if self._json is None:
            await self._socket.send_bytes(data)
        else:
            await self._socket.send_str(await self._json.write(data))


def _code(error: object) -> int:
    return error.code if isinstance(error, WebSocketError) else 0

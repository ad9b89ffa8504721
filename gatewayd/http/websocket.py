"""`GET /v1/connect`: the conversation of `EventService.Connect` over a WebSocket, for browsers above all.

One WebSocket message is one frame: JSON in text (`gateway.v1.json`, the default) or protobuf in binary messages
(`gateway.v1.proto`). A WebSocket has no status, so an error that ends the stream is its last frame, `refused` before
the welcome and `rejected` without a request id after it; then comes the close code, with the error's reason as text.
"""

import asyncio
from collections.abc import Callable

from aiohttp import web

from gatewayd.access.gate import Gate
from gatewayd.config.model import GatewaySection
from gatewayd.conversation.driving import converse
from gatewayd.conversation.hub import ConversationHub
from gatewayd.core.clock import Clock
from gatewayd.core.errors import GatewayError, InvalidArgument, SlowConsumer, Unauthenticated
from gatewayd.core.frames import RecoveryStep, Refused, Rejected, ServerFrame
from gatewayd.core.http import HttpRequest
from gatewayd.core.tracing import checked_traceparent
from gatewayd.http.connection import reply
from gatewayd.http.credentials import JSON, form, offered, socket_token
from gatewayd.http.json_desk import JsonDesk
from gatewayd.http.link import Socket, SocketLink
from gatewayd.http.server import Route
from gatewayd.http.verdicts import NORMAL, RESTART, close_code, problem
from gatewayd.wire import encode_server_frame

METHOD = "/gateway.v1.EventService/Connect"
"""Whose rule holds here."""
PATH = "/v1/connect"
CLOSE_LIMIT = 2.0
"""Seconds for the last frame and the closing handshake; then the connection is cut."""


class WebSocketDoor:
    """Takes upgrades and drives their conversations."""

    def __init__(
        self,
        *,
        hub: ConversationHub,
        gate: Gate,
        settings: Callable[[], GatewaySection],
        draining: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._hub = hub
        self._gate = gate
        self._settings = settings
        self._draining = draining
        self._clock = clock
        self._json = JsonDesk(lambda: settings().limits.message_bytes)

    def routes(self) -> list[Route]:
        """What it serves."""
        return [Route("GET", PATH, upgrade=self.serve)]

    async def serve(self, request: web.BaseRequest, head: HttpRequest) -> web.StreamResponse:
        """One connection, from the upgrade to its close."""
        if "websocket" not in head.headers.get("upgrade", "").lower():
            return reply(problem(426, "INVALID_ARGUMENT", "connect by WebSocket here", {"Upgrade": "websocket"}))
        if len(request.headers.getall("Sec-WebSocket-Protocol", [])) > 1:
            raise InvalidArgument("give all subprotocols in one Sec-WebSocket-Protocol header")
        protocols = offered(head.headers.get("sec-websocket-protocol", ""))
        token = socket_token(head.headers.get("authorization"), protocols)
        principal = self._gate.admit(METHOD, token, "tcp", head.source)
        with self._gate.counted(principal):
            kind = form(protocols)
            socket = Socket(kind, self._settings().limits.message_bytes, self._clock, close_limit=CLOSE_LIMIT)
            if not socket.can_prepare(request):
                raise InvalidArgument("this is no handshake of WebSocket 13")
            transport = request.transport
            await socket.prepare(request)
            link = SocketLink(socket, self._json if kind == JSON else None)
            error: GatewayError | None = None
            try:
                trace = checked_traceparent(head.headers.get("traceparent", ""))
                await converse(self._hub, principal, _peer(request), link, self._clock, traceparent=trace)
            except GatewayError as found:
                error = found
            except Exception:  # the boundary of a handler: the caller gets an incident, the log the traceback
                error = self._gate.incident(METHOD)
        await self._end(socket, link, transport, error)
        return socket

    async def _end(
        self, socket: Socket, link: SocketLink, transport: asyncio.Transport | None, error: GatewayError | None
    ) -> None:
        """Say why, and close; a client that does not take it in is cut."""
        patience = 0.0 if isinstance(error, SlowConsumer) else CLOSE_LIMIT
        try:
            if patience:
                async with self._clock.timeout(patience):
                    if error is not None and link.opened_with != "refused":
                        await link.write(encode_server_frame(_last_word(error, welcomed=bool(link.opened_with))))
                    await socket.close(code=self._code(error), message=self._reason(error))
        except TimeoutError:
            patience = 0.0
        except ConnectionError:
            pass
        finally:
            if transport is not None:
                asyncio.get_running_loop().call_later(patience, transport.abort)

    def _code(self, error: GatewayError | None) -> int:
        if error is None:
            return RESTART if self._draining() else NORMAL
        return close_code(error)

    def _reason(self, error: GatewayError | None) -> bytes:
        return (error.reason if error else "DRAINING" if self._draining() else "").encode()


def _last_word(error: GatewayError, *, welcomed: bool) -> ServerFrame:
    if welcomed:
        return Rejected("", error)
    if isinstance(error, Unauthenticated):
        return Refused(error, RecoveryStep.REAUTHENTICATE)
    return Refused(error, RecoveryStep.WAIT_THEN_RETRY if error.retryable else RecoveryStep.DO_NOT_RETRY)


def _peer(request: web.BaseRequest) -> str:
    """As gRPC writes it: `ipv4:127.0.0.1:40000`, `ipv6:[::1]:40000`."""
    name = request.transport.get_extra_info("peername") if request.transport is not None else None
    if not name:
        return ""
    return f"ipv6:[{name[0]}]:{name[1]}" if ":" in name[0] else f"ipv4:{name[0]}:{name[1]}"

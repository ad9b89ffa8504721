"""The HTTP listener: its bounds, its routes and its end. It serves what doors register, and its own health.

Whoever calls is checked for host, origin and size before a door hears of it; credentials are the door's business. Only
who opens the listener imports this module: it brings aiohttp with it.
"""

import asyncio
import errno
import logging
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from gatewayd.config.model import GatewaySection
from gatewayd.core.clock import Clock
from gatewayd.core.errors import Draining, GatewayError
from gatewayd.core.http import HttpRequest, HttpResponse
from gatewayd.core.value import value
from gatewayd.http.connection import Connection, reply
from gatewayd.http.origins import host_may, origin_may
from gatewayd.http.room import Guest, Room
from gatewayd.http.tls import Contexts
from gatewayd.http.verdicts import problem, refusal

log = logging.getLogger("gatewayd.http")

HANDSHAKE_LIMIT = 8.0
"""Seconds in which a peer must have agreed on TLS."""
BODY_LIMIT = 10.0
"""Seconds in which a body must have come."""
SPARE_CONNECTIONS = 100
"""TCP connections beyond `gateway.max_connections`: for those that have yet to be a client, and for probes."""
STOP_LIMIT = 1.0
"""Seconds for what is still open at the end; it was told to go before."""
HEALTH = "/healthz"

Handler = Callable[[HttpRequest], Awaitable[HttpResponse]]
Upgrade = Callable[[web.BaseRequest, HttpRequest], Awaitable[web.StreamResponse]]
"""A handler that takes the connection over; its `HttpRequest` has no body."""


@value(frozen=True, slots=True)
class Route:
    """One method of one path, exactly. A raised `GatewayError` becomes its status."""

    method: str
    path: str
    handler: Handler | None = None
    upgrade: Upgrade | None = None
    """Instead of a handler."""


class HttpServer:
    """A `Service`; listens from `start` on. Register routes before."""

    name = "http"

    def __init__(
        self,
        *,
        host: str,
        port: int,
        settings: Callable[[], GatewaySection],
        is_serving: Callable[[], bool],
        clock: Clock,
    ) -> None:
        self._host = "127.0.0.1" if host == "localhost" else host.removeprefix("[").removesuffix("]")
        self._settings = settings
        self._is_serving = is_serving
        self._clock = clock
        self._routes: dict[str, dict[str, Route]] = {}
        self._find: Callable[[str], Mapping[str, Route]] = lambda _: {}
        self._listener: asyncio.Server | None = None
        self._server: web.Server | None = None
        self._draining = False
        self._room = Room()
        self.port = port
        """Once started, the one that is really listened on."""
        self.add(Route("GET", HEALTH, self._health))

    def add(self, route: Route) -> None:
        """Serve one more route; a method of a path that is taken is a mistake of ours."""
        methods = self._routes.setdefault(route.path, {})
        assert route.method not in methods, f"{route.method} {route.path} is served twice"
        methods[route.method] = route

    def mount(self, find: Callable[[str], Mapping[str, Route]]) -> None:
        """Ask for the routes of a path that none was added for; they may be others at each request."""
        self._find = find

    async def start(self) -> None:
        """Listen. Raises `OSError` that says why not."""
        loop = asyncio.get_running_loop()
        server = self._server = web.Server(self._serve)
        address = f"[{self._host}]:{self.port}" if ":" in self._host else f"{self._host}:{self.port}"
        try:
            context = Contexts(lambda: self._settings().tls).outer()
            self._listener = await loop.create_server(
                lambda: Connection(server, may_come=self._may_come),
                self._host,
                self.port,
                ssl=context,
                ssl_handshake_timeout=HANDSHAKE_LIMIT if context is not None else None,
            )
        except OSError as error:
            number = error.errno or errno.EADDRNOTAVAIL
            why = "the address is in use" if number == errno.EADDRINUSE else error.strerror or str(error)
            raise OSError(number, f"cannot listen on {address} (gateway.http): {why}") from error
        self.port = self._listener.sockets[0].getsockname()[1]
        facts = {"http": f"{address.rpartition(':')[0]}:{self.port}"}
        log.info("listening", extra=facts | ({"tls": True} if context is not None else {}))

    async def drain(self) -> None:
        """Answer 503 from now on; what was taken over stays."""
        self._draining = True

    async def stop(self) -> None:
        """Close the listener and what is still open."""
        listener, self._listener = self._listener, None
        if listener is None or self._server is None:
            return
        listener.close()
        self._server.pre_shutdown()
        await self._server.shutdown(STOP_LIMIT)

    def _may_come(self, connections: int) -> bool:
        return connections < self._settings().max_connections + SPARE_CONNECTIONS

    async def _serve(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            if (objection := self._objection(request)) is not None:
                return _closing(reply(objection))
            route = self._route(request)
            if isinstance(route, HttpResponse):
                return reply(route)
            if self._draining and request.path != HEALTH:
                raise Draining("the gateway is stopping", retry_after=2.0)
            if route.upgrade is not None:
                return await route.upgrade(request, _head(request))
            assert route.handler is not None, f"{route.path} has neither a handler nor an upgrade"
            with self._room.guest() as guest:
                body = await self._body(request, guest)
                return _closing(reply(body)) if isinstance(body, HttpResponse) else reply(await route.handler(body))
        except GatewayError as error:
            return reply(refusal(error))

    def _objection(self, request: web.BaseRequest) -> HttpResponse | None:
        """Why nobody will hear of this request; None when there is nothing against it."""
        gateway = self._settings()
        hosts, pages = request.headers.getall("Host", []), request.headers.getall("Origin", [])
        allowed = gateway.http.origins
        if len(hosts) != 1 or not host_may(hosts[0], allowed):
            return problem(
                403, "PERMISSION_DENIED", "the Host header is no name of this gateway (gateway.http.origins)"
            )
        if pages and (len(pages) > 1 or not origin_may(pages[0], hosts[0], allowed)):
            return problem(403, "PERMISSION_DENIED", "pages of this origin may not come here (gateway.http.origins)")
        if sum(len(name) + len(text) for name, text in request.raw_headers) > gateway.limits.metadata_bytes:
            return problem(431, "LIMIT_EXCEEDED", "the headers are too large (gateway.limits.metadata_bytes)")
        if (request.content_length or 0) > gateway.http.max_body:
            return _too_large()
        return None

    def _route(self, request: web.BaseRequest) -> Route | HttpResponse:
        methods = self._routes.get(request.path) or self._find(request.path)
        if not methods:
            return problem(404, "NOT_FOUND", "there is nothing at this path")
        route = methods.get(request.method)
        if route is None:
            allowed = ", ".join(sorted(methods))
            return problem(405, "INVALID_ARGUMENT", f"this path takes {allowed}", {"Allow": allowed})
        return route

    async def _body(self, request: web.BaseRequest, guest: Guest) -> HttpRequest | HttpResponse:
        """The request with its body, which is read here: within its size, in time, and as it was sent."""
        if request.headers.get("Content-Encoding", "identity").lower() != "identity":
            return problem(415, "INVALID_ARGUMENT", "send the body as it is, without a Content-Encoding")
        if request.headers.get("Expect", "").lower() == "100-continue":
            await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            request.writer.output_size = 0  # that was no answer yet
        most, parts = self._settings().http.max_body, []
        try:
            async with self._clock.timeout(BODY_LIMIT):
                async for part in request.content.iter_any():
                    has_room = guest.take(len(part), most)
                    if guest.held > most:
                        return _too_large()
                    if not has_room:
                        return problem(503, "LIMIT_EXCEEDED", "too much comes at once", {"Retry-After": "1"})
                    parts.append(part)
        except TimeoutError:
            return problem(408, "DEADLINE_EXCEEDED", f"the body did not come within {BODY_LIMIT:g} s")
        except (web.RequestPayloadError, ConnectionError):  # of the latter nobody will hear
            return problem(400, "INVALID_ARGUMENT", "the body is not what its headers say")
        return _head(request, b"".join(parts))

    async def _health(self, _request: HttpRequest) -> HttpResponse:
        """For probes, which have no token: whether new work should come here."""
        if self._draining or not self._is_serving():
            return HttpResponse(503, b'{"status":"not serving"}\n')
        return HttpResponse(200, b'{"status":"serving"}\n')


def _too_large() -> HttpResponse:
    return problem(413, "LIMIT_EXCEEDED", "the body is too large (gateway.http.max_body)")


def _closing(response: web.Response) -> web.Response:
    response.force_close()
    return response


def _head(request: web.BaseRequest, body: bytes = b"") -> HttpRequest:
    names = {name.lower() for name in request.headers}
    return HttpRequest(
        method=request.method,
        path=request.path,
        query=request.rel_url.raw_query_string,
        headers={name: ", ".join(request.headers.getall(name)) for name in names},
        body=body,
        source=str(request.remote or ""),
    )

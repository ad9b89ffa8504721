"""One TCP connection of the HTTP listener, bounded: heads by size and time, writes by time, connections by number."""

import asyncio
import logging
from collections.abc import Callable
from typing import cast

from aiohttp import web

from gatewayd.core.http import HttpResponse
from gatewayd.http.verdicts import problem

log = logging.getLogger("gatewayd.http")

HEAD_LIMIT = 10.0
"""Seconds in which the head of a request must have come, from the connection or the last answer on."""
STALL_LIMIT = 15.0
"""Seconds that a peer may leave unread what was written to it."""
_LINE = 8190
_HEADERS = 64
_LINGER = 2.0
"""Seconds in which the rest of a body that nobody wants is read, so that the refusal arrives."""


class Connection(web.RequestHandler):
    """aiohttp's connection with our bounds; its own protections are turned to what they are for here."""

    __slots__ = ("_line", "_may_come", "_stalled", "_turned_away")

    def __init__(self, server: web.Server, *, may_come: Callable[[int], bool]) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            # aiohttp closes a connection on which no whole head came in that time, which holds off slow ones, too.
            keepalive_timeout=HEAD_LIMIT,
            access_log=None,  # type: ignore[arg-type]  # None is how it is turned off
            logger=log,
            max_line_size=_LINE,
            max_headers=_HEADERS,
            max_field_size=_LINE,
            lingering_time=_LINGER,
            auto_decompress=False,
        )
        self._may_come = may_come
        self._line: asyncio.Transport | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._turned_away = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        manager, self._line = self._manager, cast(asyncio.Transport, transport)
        assert manager is not None
        if not self._may_come(len(manager.connections)):
            self._turned_away = True
            self._line.abort()
            return
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if not self._turned_away:
            super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._calm()
        self._line = None
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._stalled = asyncio.get_running_loop().call_later(STALL_LIMIT, self._cut)

    def resume_writing(self) -> None:
        self._calm()
        super().resume_writing()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What is no HTTP, and what no handler caught; the former is not worth a line in the log."""
        del message
        if status >= 500:
            log.error("handler_crashed", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("an answer has begun, and cannot be another one now")
        said = ("INTERNAL", "the gateway failed on this request") if status >= 500 else ("INVALID_ARGUMENT", "no HTTP")
        response = reply(problem(status, *said))
        response.force_close()
        return response

    def _calm(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _cut(self) -> None:
        if self._line is not None:
            self._line.abort()


def reply(answer: HttpResponse) -> web.Response:
    """The answer in aiohttp's form; what browsers and caches may make of it is said here once."""
    return web.Response(
        status=answer.status,
        body=answer.body,
        content_type=answer.content_type,
        headers={
            "Server": "gatewayd",
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            **dict(answer.headers),
        },
    )

"""`/v1/push/…`: polling over HTTP, for clients that speak no gRPC. Bodies are the JSON of the calls of `PushService`.

A request carries `Authorization: Bearer TOKEN`, as every other door has it, and the poll token in its body: in an
address it would end up in logs.
"""

import base64
import binascii
import json
from collections.abc import Awaitable, Callable
from urllib.parse import parse_qs

from gatewayd.access.gate import Gate
from gatewayd.access.principals import Principal
from gatewayd.core.errors import GatewayError, InvalidArgument
from gatewayd.core.http import HttpRequest, HttpResponse
from gatewayd.core.push import AckCall, HeartbeatCall, JoinCall, LeaveCall, PollCall, RegisterCall
from gatewayd.http.credentials import header_token
from gatewayd.http.server import Route
from gatewayd.http.verdicts import problem
from gatewayd.push.calls import PollCalls
from gatewayd.push.service import Push, place_of
from gatewayd.wire.push import topic_of
from gatewayd.wire.push_calls import (
    ack_response,
    heartbeat_response,
    join_response,
    leave_response,
    poll_response,
    presence_response,
    register_response,
)
from gatewayd.wire.push_json import call_from_json, to_json

SERVICE = "/gateway.v1.PushService/"
"""Whose rules hold here."""
ROOT = "/v1/push"
_SIZE = 100
"""Members on one page."""

Answer = Callable[[Principal, HttpRequest], Awaitable[bytes]]


class PollingDoor:
    """Takes the calls of clients that poll."""

    def __init__(self, *, push: Push, gate: Gate) -> None:
        self._push = push
        self._calls = PollCalls(push)
        self._gate = gate

    def routes(self) -> list[Route]:
        """What it serves."""
        posts: dict[str, tuple[str, Answer]] = {
            "register": ("Register", self._register),
            "messages": ("Poll", self._poll),
            "ack": ("Ack", self._ack),
            "subscribe": ("JoinTopic", self._join),
            "unsubscribe": ("LeaveTopic", self._leave),
            "heartbeat": ("Heartbeat", self._heartbeat),
        }
        routes = [
            Route("POST", f"{ROOT}/poll/{path}", handler=self._handler(method, answer, body=True))
            for path, (method, answer) in posts.items()
        ]
        presence = self._handler("GetPresence", self._presence, body=False)
        return [*routes, Route("GET", f"{ROOT}/presence", handler=presence)]

    def _handler(self, method: str, answer: Answer, *, body: bool) -> Callable[[HttpRequest], Awaitable[HttpResponse]]:
        async def handle(request: HttpRequest) -> HttpResponse:
            kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
            if body and kind != "application/json":
                return problem(415, "INVALID_ARGUMENT", "send JSON, with Content-Type: application/json")
            token = header_token(request.headers.get("authorization"))
            principal = self._gate.admit(SERVICE + method, token, "tcp", request.source)
            try:
                with self._gate.counted(principal):
                    text = await answer(principal, request)
            except GatewayError as error:
                self._gate.refused(principal, SERVICE + method, error)
                raise
            except Exception:  # the boundary of a handler: the caller gets an incident, the log the traceback
                raise self._gate.incident(SERVICE + method) from None
            return HttpResponse(body=text, headers=(("Cache-Control", "no-store"),))

        return handle

    async def _register(self, principal: Principal, request: HttpRequest) -> bytes:
        return to_json(register_response(self._calls.register(principal, call_from_json(RegisterCall, request.body))))

    async def _poll(self, principal: Principal, request: HttpRequest) -> bytes:
        return to_json(poll_response(await self._calls.poll(principal, call_from_json(PollCall, request.body))))

    async def _ack(self, principal: Principal, request: HttpRequest) -> bytes:
        return to_json(ack_response(*await self._calls.ack(principal, call_from_json(AckCall, request.body))))

    async def _join(self, principal: Principal, request: HttpRequest) -> bytes:
        return to_json(join_response(await self._calls.join(principal, call_from_json(JoinCall, request.body))))

    async def _leave(self, principal: Principal, request: HttpRequest) -> bytes:
        existed = await self._calls.leave(principal, call_from_json(LeaveCall, request.body))
        return to_json(leave_response(existed=existed))

    async def _heartbeat(self, principal: Principal, request: HttpRequest) -> bytes:
        return to_json(
            heartbeat_response(self._calls.heartbeat(principal, call_from_json(HeartbeatCall, request.body)))
        )

    async def _presence(self, principal: Principal, request: HttpRequest) -> bytes:
        """`?topic=NAME`, and `page_token` of the page before."""
        try:
            query = parse_qs(request.query, strict_parsing=bool(request.query), max_num_fields=8, errors="strict")
        except ValueError:
            raise InvalidArgument("the query cannot be read") from None
        topic, after = (query.get(name, [""])[0] for name in ("topic", "page_token"))
        members = self._push.presence(principal, topic_of(topic, "topic"))
        place = _place(after)
        behind = sorted((one for one in members if place_of(one) > place), key=place_of)
        taken = behind[:_SIZE]
        more = _token(place_of(taken[-1])) if len(behind) > len(taken) else ""
        return to_json(presence_response([one.info() for one in taken], more))


def _token(place: str) -> str:
    return base64.urlsafe_b64encode(json.dumps(place).encode()).decode()


def _place(token: str) -> str:
    if not token:
        return ""
    try:
        place = json.loads(base64.b64decode(token, altchars=b"-_", validate=True))
    except (binascii.Error, ValueError):
        place = None
    if not isinstance(place, str):
        raise InvalidArgument("page_token: is not one that this gateway gave out")
    return place

"""From a request to the event that it becomes, or to why it becomes none. Runs beside the loop for large bodies."""

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Any

from gatewayd.core.errors import InvalidArgument
from gatewayd.core.event import Event, EventType
from gatewayd.core.http import HttpRequest, HttpResponse
from gatewayd.http.origins import host_may
from gatewayd.http.verdicts import problem
from gatewayd.http.webhooks.content import facts_of, is_text, payload_of, raw
from gatewayd.http.webhooks.routes import Hook
from gatewayd.http.webhooks.signatures import delivery_of, flaw_of
from gatewayd.wire import with_wire

MAX_DELIVERY = 128
"""Longest id of a delivery, in characters."""
_SPARE = 16 * 1024
"""What a frame may hold beside the event in it."""
_SOURCE = "gatewayd"
_PROXIES = frozenset(("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via"))
_REASONS = MappingProxyType(
    {
        400: "INVALID_ARGUMENT",
        401: "UNAUTHENTICATED",
        403: "PERMISSION_DENIED",
        413: "LIMIT_EXCEEDED",
        415: "INVALID_ARGUMENT",
    }
)


class Refusal(Exception):
    """This request becomes nothing, however often it is sent."""

    def __init__(self, status: int, message: str, why: str = "") -> None:
        super().__init__(message)
        self.why = why or message
        """For the log."""
        self.answer: HttpResponse = problem(status, _REASONS[status], message)


def judge(hook: Hook, request: HttpRequest, *, now: float, new_id: str, most: int) -> Event:
    """The event, encoded and named after its delivery; raises `Refusal`. `most`: bytes of a client's largest message.
    `new_id` names a delivery that nothing else names.

    Nothing is read of the body before its signature is found to be right.
    """
    _authenticate(hook, request, now)
    if not is_text(request.headers.get("content-type", "")):
        raise Refusal(415, "send JSON, or text in UTF-8")
    try:
        facts = facts_of(request)
    except InvalidArgument as error:
        raise Refusal(400, error.message) from None
    event = Event(
        id=_name(hook, request, new_id),
        type=EventType.WEBHOOK_RECEIVED,
        source=_SOURCE,
        stream_id=hook.source_id,
        time=now,
    )
    event = _encoded(event, facts, request.body)
    if len(event.wire) > most - _SPARE:
        raise Refusal(413, "the event would be too large for its readers (gateway.limits.message_bytes)")
    return event


def _authenticate(hook: Hook, request: HttpRequest, now: float) -> None:
    if hook.keys:
        flaw = flaw_of(hook.section.scheme, hook.keys, request.headers, request.body, now)
        if flaw is not None:
            # The same for every flaw: who is not the sender learns nothing.
            raise Refusal(401, "the signature is missing, wrong, or not of now", flaw.value)
    elif not hook.section.insecure_no_secret:
        raise Refusal(401, "there is no secret for this webhook")
    elif _is_from_elsewhere(request.headers):
        raise Refusal(403, "this webhook has no secret, so it takes nothing from beyond this machine")


def _is_from_elsewhere(headers: Mapping[str, str]) -> bool:
    """Through a proxy, under a name that others know us by, or by a browser for a page of somebody else."""
    return (
        not host_may(headers.get("host", ""), ())
        or bool(_PROXIES & headers.keys())
        or headers.get("sec-fetch-site", "none") not in ("none", "same-origin")
    )


def _name(hook: Hook, request: HttpRequest, new_id: str) -> str:
    """The id of a delivery. Where the sender gives none, what it signed stands for it: no copy has an effect."""
    name = delivery_of(hook.section.scheme, request.headers)
    if not name:
        return f"body-{hashlib.sha256(request.body).hexdigest()}" if hook.keys else new_id
    if len(name) > MAX_DELIVERY or not name.isascii() or not name.isprintable():
        raise Refusal(400, f"the delivery's id is not printable, or longer than {MAX_DELIVERY} characters")
    return name


def _encoded(event: Event, facts: Mapping[str, Any], body: bytes) -> Event:
    """With its payload; as text where JSON holds what no event can: numbers without end, or what is nested too deep."""
    try:
        return with_wire(replace(event, data={**facts, "payload": payload_of(body)}))
    except InvalidArgument:
        return with_wire(replace(event, data={**facts, "payload": raw(body)}))

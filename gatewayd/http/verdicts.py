"""How an error leaves by HTTP: a status and a body of one shape; by WebSocket: a close code and a reason."""

import json
import math
from collections.abc import Mapping
from types import MappingProxyType

from gatewayd.core.errors import Code, Draining, GatewayError
from gatewayd.core.http import HttpResponse

_STATUS: Mapping[Code, int] = MappingProxyType(
    {
        Code.CANCELLED: 499,
        Code.INVALID_ARGUMENT: 400,
        Code.DEADLINE_EXCEEDED: 504,
        Code.NOT_FOUND: 404,
        Code.ALREADY_EXISTS: 409,
        Code.PERMISSION_DENIED: 403,
        Code.RESOURCE_EXHAUSTED: 429,
        Code.FAILED_PRECONDITION: 409,
        Code.ABORTED: 409,
        Code.OUT_OF_RANGE: 400,
        Code.INTERNAL: 500,
        Code.UNAVAILABLE: 503,
        Code.DATA_LOSS: 500,
        Code.UNAUTHENTICATED: 401,
    }
)
NORMAL = 1000
POLICY = 1008
TOO_BIG = 1009
FAILED = 1011
RESTART = 1012
TRY_LATER = 1013
"""Close codes of RFC 6455 and of IANA's registry for it."""
_CLOSE: Mapping[Code, int] = MappingProxyType(
    {
        Code.DEADLINE_EXCEEDED: TRY_LATER,
        Code.RESOURCE_EXHAUSTED: TRY_LATER,
        Code.UNAVAILABLE: TRY_LATER,
        Code.INTERNAL: FAILED,
        Code.DATA_LOSS: FAILED,
    }
)


def refusal(error: GatewayError) -> HttpResponse:
    """The answer to a request that ends with this error."""
    headers: dict[str, str] = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(max(1, math.ceil(error.retry_after)))
    if error.code is Code.UNAUTHENTICATED:
        headers["WWW-Authenticate"] = "Bearer"
    return problem(_STATUS[error.code], error.reason, error.message, headers)


def problem(status: int, reason: str, message: str, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """A refusal that is HTTP's own; the body is that of every other: `{"error": {"reason", "message"}}`."""
    body = json.dumps({"error": {"reason": reason, "message": message}}, ensure_ascii=False)
    return HttpResponse(status, body.encode("utf-8", "replace") + b"\n", headers=tuple((headers or {}).items()))


def close_code(error: GatewayError) -> int:
    """What a WebSocket that ends with this error is closed with: 1008 means that coming back alike is no use."""
    return RESTART if isinstance(error, Draining) else _CLOSE.get(error.code, POLICY)

"""Where a request carries its token: `Authorization: Bearer`, or a subprotocol for browsers, which set no headers.

Never the URL: addresses are logged, kept in histories and passed on.
"""

import base64
import binascii

from gatewayd.access.gate import bearer
from gatewayd.core.errors import InvalidArgument

JSON = "gateway.v1.json"
PROTO = "gateway.v1.proto"
"""Subprotocols: frames as protobuf-JSON in text frames, or as protobuf in binary frames."""
_BEARER = "bearer."


def header_token(authorization: str | None) -> str | None:
    """The token of the header; None without one, '' when it has another form."""
    return None if authorization is None else bearer(authorization)


def offered(header: str) -> list[str]:
    """The subprotocols of `Sec-WebSocket-Protocol`, in the client's order."""
    return [entry.strip() for entry in header.split(",") if entry.strip()]


def socket_token(authorization: str | None, subprotocols: list[str]) -> str | None:
    """The token of an upgrade; None without one, '' when it cannot be read or there is more than one."""
    entries = [entry for entry in subprotocols if entry.startswith(_BEARER)]
    if not entries:
        return header_token(authorization)
    if len(entries) > 1 or authorization is not None:
        return ""
    encoded = entries[0].removeprefix(_BEARER)
    try:
        return base64.b64decode(encoded + "=" * (-len(encoded) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def form(subprotocols: list[str]) -> str:
    """The form of the frames: the first that both know; JSON for a client that offers nothing.

    A browser ends a connection whose answer names none of what it offered, so that is refused in words.
    """
    for entry in subprotocols:
        if entry in (JSON, PROTO):
            return entry
    if subprotocols:
        raise InvalidArgument(f"offer the subprotocol {JSON} or {PROTO}, beside a bearer entry if there is one")
    return JSON

"""An HTTP request and its answer as values, without a library: what a door behind the listener takes and gives."""

from collections.abc import Mapping

from gatewayd.core.value import value


@value(frozen=True, slots=True)
class HttpRequest:
    """One request whose host, origin and size were found to be right; nobody has looked at its credentials."""

    method: str
    path: str
    """Decoded, without the query."""
    query: str
    """What stands behind `?`, as it came. Never a place for secrets: queries end up in logs."""
    headers: Mapping[str, str]
    """By name in small letters; of a header that came twice the values are joined by `, `."""
    body: bytes
    source: str
    """Address of the peer, without its port."""


@value(frozen=True, slots=True)
class HttpResponse:
    """The answer."""

    status: int = 200
    body: bytes = b""
    content_type: str = "application/json"
    headers: tuple[tuple[str, str], ...] = ()

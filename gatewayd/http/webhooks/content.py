"""What a request tells, as the data of a `webhook_received` event; nothing that is there to prove who sent it."""

import json
import re
from collections.abc import Mapping
from typing import Any, NoReturn
from urllib.parse import parse_qs

from gatewayd.core.errors import InvalidArgument
from gatewayd.core.http import HttpRequest
from gatewayd.wire.values import MAX_VALUES

_SECRETIVE = (
    *("auth", "token", "secret", "signature", "cookie", "password", "passwd", "credential", "session"),
    *("hmac", "jwt", "assertion", "api-key", "api_key", "apikey", "access-key", "access_key", "csrf", "xsrf", "cert"),
)
"""Parts of names of what proves who somebody is."""
_SECRET_NAMES = frozenset(("key", "sig", "sign", "code", "x-key", "x-sig", "x-sign"))
_SECRET_WORDS = frozenset(("pwd", "pin", "bearer"))
"""Too short to be looked for within a word: `shipping` and `opinion` tell nothing."""
_WORDS = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z0-9]+(?![a-z])")
_HOPS = frozenset(
    ("connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "expect", "content-length", "host")
)
"""Headers of the connection and not of what is told."""
_MAX_FIELDS = 100
_BINARY = ("multipart/", "image/", "audio/", "video/", "font/")
_CHARSETS = frozenset(("utf-8", "utf8", "us-ascii", "ascii"))


def is_secretive(name: str) -> bool:
    """Whether a header or a parameter of that name may hold something that opens a door."""
    low = name.lower()
    words = (word.lower() for word in _WORDS.findall(name))
    return (
        low in _SECRET_NAMES or any(part in low for part in _SECRETIVE) or any(word in _SECRET_WORDS for word in words)
    )


def is_text(content_type: str) -> bool:
    """Whether a body of that media type can be JSON or text in UTF-8; without one it can."""
    kind, *parameters = (each.strip().lower() for each in content_type.split(";"))
    charsets = [
        each.partition("=")[2].strip('" ') for each in parameters if each.partition("=")[0].strip() == "charset"
    ]
    return not kind.startswith(_BINARY) and all(charset in _CHARSETS for charset in charsets)


def facts_of(request: HttpRequest) -> dict[str, Any]:
    """All but the payload. Raises `InvalidArgument` for a query that is none."""
    return {
        "path": request.path,
        "method": request.method,
        "headers": {
            name: text for name, text in sorted(request.headers.items()) if name not in _HOPS and not is_secretive(name)
        },
        "query_params": _parameters(request.query) or None,
    }


def payload_of(body: bytes) -> Any:
    """The body's JSON; `{"raw_body": TEXT}` for what is none, or of more values than an event may hold."""
    try:
        found = json.loads(body, parse_constant=_no_number)
    except (ValueError, RecursionError):
        return raw(body)
    return found if _is_small(found) else raw(body)


def raw(body: bytes) -> dict[str, str]:
    """A body that is told as it came; bytes that are no UTF-8 are U+FFFD."""
    return {"raw_body": body.decode(errors="replace")}


def _is_small(value: Any) -> bool:
    waiting, count = [value], 0
    while waiting:
        each = waiting.pop()
        count += 1
        if isinstance(each, dict | list):
            waiting.extend(each.values() if isinstance(each, dict) else each)
        if count + len(waiting) > MAX_VALUES:
            return False
    return True


def _parameters(query: str) -> Mapping[str, Any]:
    """By name; a list for one that came more than once."""
    try:
        found = parse_qs(query, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
    except ValueError:
        raise InvalidArgument(f"the query holds more than {_MAX_FIELDS} parameters, or is none") from None
    return {name: values[0] if len(values) == 1 else values for name, values in found.items() if not is_secretive(name)}


def _no_number(_: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON")

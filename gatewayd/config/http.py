"""`gateway.http`: the HTTP listener, which is opened only if a door behind it is."""

import re
from typing import Annotated

from gatewayd.config.fields import KIB, MIB, Flag, Length, Line, Size, Text, Whole, names
from gatewayd.config.plain import refuse
from gatewayd.config.section import Section, setting

_ORIGIN = re.compile(r"(https?)://([a-z0-9]([a-z0-9.\-]*[a-z0-9])?|\[[0-9a-f:.]+\])(:([0-9]{1,5}))?\Z")
_USUAL = {"http": 80, "https": 443}


def origin(value: object) -> str:
    """One origin as browsers write it: scheme and host in small letters, and the port unless it is the usual one."""
    text = Text(256, 1, one_line=True)(value)
    match = _ORIGIN.match(text.lower())
    if "*" in text:
        raise refuse("one origin", "name each page's own, such as https://chat.example.com; there is no wildcard")
    if match is None or not 0 < int(match[5] or 1) < 65536:
        raise refuse("an origin", "scheme://host or scheme://host:port, such as https://chat.example.com")
    port = match[4] if match[5] and int(match[5]) != _USUAL[match[1]] else ""
    return f"{match[1]}://{match[2]}{port or ''}"


class HttpSection(Section):
    """`gateway.http`: the HTTP listener. Open only while a door is: `websocket`, `push.polling.http`, `webhooks`."""

    host: Line = setting(
        default="127.0.0.1",
        description="Address that HTTP listens on: a loopback address or `localhost`; others only with `ssl_cert`. "
        "Default 127.0.0.1. A change needs a restart.",
    )
    port: Annotated[int, Whole(0, 65535)] = setting(
        default=8080, description="TCP port of HTTP. Default 8080; 0: any free port. A change needs a restart."
    )
    max_body: Annotated[int, Size(1 * KIB, 64 * MIB)] = setting(
        default=1 * MIB,
        description="Largest body of a request; the frames of a WebSocket are bounded by limits.message_bytes. Default "
        "1MiB, 1KiB to 64MiB.",
    )
    origins: Annotated[tuple[Annotated[str, origin], ...], names, Length(0, 100)] = setting(
        default=(),
        description="Origins of the web pages that may use the listener, such as https://chat.example.com, at most "
        "100; their hosts are also the names under which it may be addressed. Default: none but the listener's own.",
    )
    websocket: Flag = setting(
        default=False,
        description="Whether clients may connect by WebSocket, at /v1/connect. Default false. A change needs a "
        "restart.",
    )

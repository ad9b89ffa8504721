"""Who may address the listener, and which web pages may use it.

A browser sends what any page asks of it, to loopback as well. Two headers tell: `Host`, which is a foreign name when a
page had its own name point here (DNS rebinding), and `Origin`, which is the page.
"""

import ipaddress
from collections.abc import Sequence
from urllib.parse import urlsplit


def host_may(host: str, origins: Sequence[str]) -> bool:
    """Whether a `Host` header names us: by a loopback address, `localhost`, or the host of an allowed origin.

    Any other name is that of a listener which others reach, or of the proxy before it: the configuration names it.
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
        _ = urlsplit(f"//{host}").port
    except ValueError:
        return False
    if not name or any(character in host for character in "/?#@\\ "):
        return False
    return _is_loopback(name) or any(name == urlsplit(origin).hostname for origin in origins)


def origin_may(origin: str, host: str, origins: Sequence[str]) -> bool:
    """Whether a page of that `Origin` may use us: one that is configured, or one that was loaded from us.

    Ask `host_may` first: a name that is not ours makes no page our own.
    """
    return origin in origins or origin.lower() in (f"http://{host.lower()}", f"https://{host.lower()}")


def _is_loopback(name: str) -> bool:
    if name == "localhost":
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback

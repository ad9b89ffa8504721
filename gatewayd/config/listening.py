"""Where the two listeners may listen, and what that takes: beyond loopback, TLS (authentication there is always)."""

import ipaddress
from collections.abc import Iterator
from typing import Final

from gatewayd.config.gateway import GatewaySection
from gatewayd.config.model import GatewayConfig
from gatewayd.config.problems import Path
from gatewayd.config.tls import misfits

_TLS: Final[frozenset[Path]] = frozenset(("gateway", key) for key in ("ssl_cert", "ssl_key", "ssl_client_ca"))


def faults(config: GatewayConfig, unresolved: frozenset[Path]) -> Iterator[tuple[Path, str, str]]:
    """Path, what is wrong, what to do. Nothing is said of TLS where one of its files could not be read."""
    gateway = config.gateway
    has_tls = gateway.tls is not None or bool(unresolved & _TLS)
    yield from _bind(gateway.host, ("gateway", "host"), has_tls)
    yield from _bind(gateway.http.host, ("gateway", "http", "host"), has_tls)
    if config.opens_http and gateway.port and gateway.port == gateway.http.port:
        what = f"{gateway.port} is the port of gRPC, too"
        yield ("gateway", "http", "port"), what, "give each listener a port of its own, or 0 for any free one"
    if not unresolved & _TLS:
        yield from _pair(gateway)
        yield from misfits(gateway)


def is_loopback(host: str) -> bool | None:
    """Whether only this machine reaches the address; None for what is none."""
    if host == "localhost":
        return True
    try:
        # An IPv6 literal may stand in brackets, and may name a zone.
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]").partition("%")[0])
    except ValueError:
        return None
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


def _bind(host: str, path: Path, has_tls: bool) -> Iterator[tuple[Path, str, str]]:
    local = is_loopback(host)
    if local is None:
        yield path, f"'{host}' is not an address", "write 127.0.0.1, ::1 or localhost"
    elif not local and not has_tls:
        what = f"{host} can be reached from other machines, and there is no TLS"
        yield path, what, "give gateway.ssl_cert and ssl_key, or bind 127.0.0.1 or ::1"


def _pair(gateway: GatewaySection) -> Iterator[tuple[Path, str, str]]:
    if (gateway.ssl_cert is None) != (gateway.ssl_key is None):
        given, lacks = ("ssl_cert", "ssl_key") if gateway.ssl_key is None else ("ssl_key", "ssl_cert")
        yield ("gateway", given), f"{lacks} is missing", "give both, or neither"
    elif gateway.ssl_client_ca is not None and gateway.ssl_cert is None:
        yield ("gateway", "ssl_client_ca"), "without TLS nobody is asked for a certificate", "give ssl_cert, too"

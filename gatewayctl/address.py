"""Where the daemon is: `--address`, `$GATEWAYD_ADDRESS`, the unix socket, 127.0.0.1:8765, in this order."""

import os
from collections.abc import Mapping
from typing import NamedTuple

from gatewayctl.failures import USAGE, Failure

DEFAULT_PORT = 8765
DEFAULT = f"127.0.0.1:{DEFAULT_PORT}"
SYSTEM_SOCKET = "/run/gatewayd/gatewayd.sock"


class Address(NamedTuple):
    """One way to reach a daemon. No dataclass: their module costs more than all of ours."""

    text: str
    """`unix:/absolute/path` or `host:port`; equal addresses are spelled equally, because tokens are kept by it."""
    given: bool
    """Whether the user named it; a token may only be paired with an address that somebody named."""

    @property
    def is_unix(self) -> bool:
        return self.text.startswith("unix:")

    @property
    def target(self) -> str:
        """What grpc calls it. A literal IPv4 address goes around the resolver."""
        if self.is_unix:
            return self.text
        host = self.text.rpartition(":")[0]
        return f"ipv4:{self.text}" if host.replace(".", "").isdigit() else self.text

    @property
    def is_local(self) -> bool:
        """Whether what is sent stays on this machine."""
        if self.is_unix:
            return True
        host = self.text.rpartition(":")[0].strip("[]")
        if host == "localhost":
            return True
        import ipaddress  # noqa: PLC0415 - only asked when a token is about to be sent over TCP

        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return False


def find_address(option: str | None, env: Mapping[str, str]) -> Address:
    """The address to use. Failure (usage) if the one that was named cannot be understood."""
    named = option or env.get("GATEWAYD_ADDRESS")
    if named:
        return Address(canonical(named), given=True)
    for path in sockets(env):
        if os.path.exists(path):  # noqa: PTH110 - pathlib costs a cold start
            return Address(f"unix:{path}", given=False)
    return Address(DEFAULT, given=False)


def sockets(env: Mapping[str, str]) -> list[str]:
    """Where the socket may be: the unit's own directory, the user's, the one of a user without a session, the system's.

    The same rules as the daemon's: without XDG_RUNTIME_DIR it runs in `run` below its state directory.
    """
    places = []
    if runtime := env.get("RUNTIME_DIRECTORY", "").partition(":")[0]:
        places.append(f"{runtime}/gatewayd.sock")
    if user := env.get("XDG_RUNTIME_DIR"):
        places.append(f"{user}/gatewayd/gatewayd.sock")
    if state := env.get("STATE_DIRECTORY", "").partition(":")[0]:
        places.append(f"{state}/run/gatewayd.sock")
    if kept := env.get("XDG_STATE_HOME") or (f"{env['HOME']}/.local/state" if env.get("HOME") else ""):
        places.append(f"{kept}/gatewayd/run/gatewayd.sock")
    return [*places, SYSTEM_SOCKET]


def canonical(text: str) -> str:
    """One spelling for one address: `unix:///run/x` and `/run/x` are `unix:/run/x`; a host is in lower case."""
    if text.startswith(("unix:", "/", "./")):
        path = text.removeprefix("unix:")
        path = f"/{path.lstrip('/')}" if path.startswith("/") else os.path.abspath(path)  # noqa: PTH100
        return f"unix:{path}"
    host, colon, port = text.rpartition(":")
    if text.endswith("]") or not colon:
        host, port = text, str(DEFAULT_PORT)
    bracketed = host.startswith("[") and host.endswith("]")
    plain = ":" not in host and "/" not in host and " " not in host
    if not host or not (plain or bracketed) or not port.isdigit() or not 0 < int(port) < 65536:
        raise Failure(f"{text!r} is no address: give unix:PATH or HOST:PORT", USAGE)
    return f"{host.lower()}:{int(port)}"

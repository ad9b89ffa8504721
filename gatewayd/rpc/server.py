"""The gRPC server: its bounds, its two doors (unix socket and TCP), and its end.

I own the listener and the socket file. I serve nothing of my own.
"""

import contextlib
import errno
import grp
import logging
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from grpc import aio

from gatewayd.core.pem import Tls
from gatewayd.core.value import value
from gatewayd.rpc.guard import Handler
from gatewayd.rpc.neighbours import Health
from gatewayd.rpc.tls import Certificates

log = logging.getLogger("gatewayd.rpc")

SOCKET_MODE = 0o660
GROUP = "gatewayd"
"""The socket's group, where the machine has it: its members are the principal `local`."""
STREAMS = 1_000
"""Calls that may be open on one connection. The bound that a client is told of by its name is another, and lower by
default: `limits.streams_per_client`. Without this one grpc hands every call of a rapid reset to us; with it, few."""
HANDSHAKE_MS = 8_000
"""In which a peer must have begun to speak HTTP/2 (faults.md, F44: closed within 10 s)."""
MAX_SOCKET_PATH = 100
"""Bytes of a socket's path; the kernel's limit is 107 (unix(7)), and it is first made one directory deeper."""


@value(frozen=True, slots=True)
class Listen:
    """Where to listen, and with which bounds."""

    host: str
    port: int
    """0 takes any free port."""
    socket: Path
    message_bytes: int
    metadata_bytes: int
    tls: Callable[[], Tls | None] = lambda: None
    """What TCP shows now; whether it speaks TLS at all is fixed when it begins to listen."""


class RpcServer:
    """A `Service`; listens from `start` on."""

    name = "rpc"

    def __init__(self, listen: Listen, handlers: Sequence[Handler], health: Health) -> None:
        self._listen = listen
        self._handlers = handlers
        self._health = health
        self._server: aio.Server | None = None
        self.port = 0
        """The TCP port that is really listened on."""

    async def start(self) -> None:
        """Bind both doors, then serve. Raises `OSError` that says why, and leaves nothing behind."""
        server = aio.server(options=_options(self._listen))
        server.add_generic_rpc_handlers((*self._handlers, *self._health.handlers()))
        self.port = _bind_tcp(server, self._listen)
        with _private_directory(self._listen.socket.parent) as private:
            bound = private / "s"
            _bind_unix(server, bound)
            await server.start()
            # Nobody reaches the socket before it has its mode: its directory is ours alone until it is renamed.
            bound.chmod(SOCKET_MODE)
            _give_to_group(bound)
            bound.rename(self._listen.socket)
        self._server = server
        await self._health.set(serving=True)
        facts = {"tcp": f"{self._listen.host}:{self.port}", "socket": str(self._listen.socket)}
        log.info("listening", extra=facts | ({"tls": True} if self._listen.tls() is not None else {}))

    async def drain(self) -> None:
        """Probes see that nothing new should come here."""
        await self._health.set(serving=False)

    async def stop(self) -> None:
        """Close both doors; what is still open gets a second, because it was told to go before."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(1.0)
            with contextlib.suppress(FileNotFoundError):
                self._listen.socket.unlink()


def _options(listen: Listen) -> list[tuple[str, int]]:
    return [
        ("grpc.so_reuseport", 0),
        ("grpc.max_receive_message_length", listen.message_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", listen.metadata_bytes),
        # A peer that connects and does not speak HTTP/2 to the end of its preface; grpc waits 120 s.
        ("grpc.server_handshake_timeout_ms", HANDSHAKE_MS),
        # 25 s + 10 s notices a peer that vanished within 40 s (faults.md, F47).
        ("grpc.keepalive_time_ms", 25_000),
        ("grpc.keepalive_timeout_ms", 10_000),
        # For a ping of another kind it would wait 60 s, and send none of these meanwhile; without data, few at all.
        ("grpc.http2.ping_timeout_ms", 10_000),
        ("grpc.http2.max_pings_without_data", 0),
        # To count pings that come too often costs grpc a time that grows with their square (100,000 in a burst: 12 s);
        # to answer them costs next to nothing, and it reads no further while the answers are not read.
        ("grpc.http2.max_ping_strikes", 0),
        ("grpc.keepalive_permit_without_calls", 1),
        ("grpc.max_connection_idle_ms", 600_000),
        ("grpc.max_concurrent_streams", STREAMS),
        ("grpc.enable_channelz", 1),
    ]


def _bind_tcp(server: aio.Server, listen: Listen) -> int:
    host, port, tls = listen.host, listen.port, listen.tls()
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    try:
        if tls is None:
            bound: int = server.add_insecure_port(address)
        else:
            bound = server.add_secure_port(address, Certificates(tls, listen.tls).credentials())
    except RuntimeError as error:
        raise _why(host, port, address) from error
    return bound


def _why(host: str, port: int, address: str) -> OSError:
    """grpc does not say why it could not bind; the kernel does."""
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(target)
            probe.listen()
    except OSError as error:
        return OSError(error.errno or errno.EADDRNOTAVAIL, f"cannot listen on {address}: {error.strerror or error}")
    return OSError(errno.EADDRINUSE, f"cannot listen on {address}: another process has just let it go; try again")


def _bind_unix(server: aio.Server, path: Path) -> None:
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise OSError(f"the socket path {path} is longer than {MAX_SOCKET_PATH} bytes; set gateway.socket to a shorter")
    try:
        server.add_insecure_port(f"unix:{path}")
    except RuntimeError as error:
        raise OSError(f"cannot make the socket {path}: {error}") from error


@contextlib.contextmanager
def _private_directory(parent: Path) -> Iterator[Path]:
    """A directory beside the socket that only we can enter, removed at the end."""
    path = parent / f".{os.getpid()}"
    _remove(path)
    path.mkdir(mode=0o700)
    try:
        yield path
    finally:
        _remove(path)


def _remove(path: Path) -> None:
    with contextlib.suppress(FileNotFoundError):
        (path / "s").unlink()
    with contextlib.suppress(FileNotFoundError):
        path.rmdir()


def _give_to_group(path: Path) -> None:
    with contextlib.suppress(KeyError, PermissionError):
        os.chown(path, -1, grp.getgrnam(GROUP).gr_gid)

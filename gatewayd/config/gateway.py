"""The section `gateway`: where the daemon listens, what it bounds, how it logs and how it stops."""

from typing import Annotated, Literal

from gatewayd.config.fields import (
    DAY,
    HOUR,
    KIB,
    MIB,
    YEAR,
    Duration,
    Flag,
    Line,
    Number,
    Size,
    Whole,
    socket_path,
)
from gatewayd.config.http import HttpSection
from gatewayd.config.section import Section, setting
from gatewayd.core.pem import Pem, Tls
from gatewayd.core.secret import Secret

_Rate = Annotated[float, Number(0, 1_000_000)]


class SessionConfigSection(Section):
    """`gateway.session_config`: bounds of every conversation."""

    timeout: Annotated[float, Duration(1.0, YEAR)] = setting(
        default=3600.0, description="A conversation idle for this long is ended. Default 1h, 1s to 365d."
    )
    max_messages: Annotated[int, Whole(0, 1_000_000)] = setting(
        default=1000,
        description="Messages of history kept per conversation; the oldest go first. Default 1000, to 1000000; 0: no "
        "bound by number, max_bytes still holds.",
    )
    persist: Flag = setting(default=True, description="Whether conversations survive a restart. Default true.")
    max_bytes: Annotated[int, Size(1 * KIB, 1024 * MIB)] = setting(
        default=1 * MIB, description="Size of the history kept per conversation. Default 1MiB, 1KiB to 1GiB."
    )


class LoggingSection(Section):
    """`gateway.logging`: what is logged, and how."""

    level: Literal["debug", "info", "warning", "error"] = setting(
        default="info", description="The least grave entries that are written: debug, info (default), warning or error."
    )
    format: Literal["text", "json"] = setting(
        default="text", description="`text` (default): a line for people; `json`: one object per line."
    )


class LimitsSection(Section):
    """`gateway.limits`: bounds of what one client may ask."""

    message_bytes: Annotated[int, Size(4 * KIB, 256 * MIB)] = setting(
        default=4 * MIB,
        description="Largest message of a client. Default 4MiB, 4KiB to 256MiB. A change needs a restart.",
    )
    metadata_bytes: Annotated[int, Size(1 * KIB, 1 * MIB)] = setting(
        default=16 * KIB,
        description="Largest metadata of a call. Default 16KiB, 1KiB to 1MiB. A change needs a restart.",
    )
    streams_per_client: Annotated[int, Whole(1, 100_000)] = setting(
        default=100, description="Calls that one client may have open at a time. Default 100, 1 to 100000."
    )
    publish_rate: _Rate = setting(
        default=0.0, description="Events that one client may publish per second. 0 (default): no bound; to 1000000."
    )
    send_rate: _Rate = setting(
        default=0.0,
        description="Messages that one client may send to agents per second. 0 (default): no bound; to 1000000.",
    )
    queue_bytes: Annotated[int, Size(64 * KIB, 1024 * MIB)] = setting(
        default=4 * MIB,
        description="Events that may wait for one subscriber, by size; beyond it the subscription's own rule for slow "
        "readers holds. Default 4MiB, 64KiB to 1GiB.",
    )


class GatewaySection(Section):
    """`gateway`: the daemon itself."""

    host: Line = setting(
        default="127.0.0.1",
        description="Address that gRPC listens on: a loopback address or `localhost`; others only with `ssl_cert`. "
        "Default 127.0.0.1. A change needs a restart.",
    )
    port: Annotated[int, Whole(0, 65535)] = setting(
        default=8765, description="TCP port of gRPC. Default 8765; 0: any free port. A change needs a restart."
    )
    socket: Annotated[str, socket_path] | None = setting(
        default=None,
        description="Path of the unix socket. Default: gatewayd.sock in the runtime directory. A change "
        "needs a restart.",
    )
    auth_token: Secret | None = setting(
        default=None,
        description="Token of the client `default`, which may do everything. Default: one is made at the first start "
        "and kept in a file that only the daemon's user can read.",
    )
    ssl_cert: Pem | None = setting(
        default=None,
        description="File in PEM with the certificate that gRPC on TCP, and HTTP, show, and with those between it and "
        "its authority. Its content changes with a reload. Default: no TLS. To begin or end with it needs a restart.",
    )
    ssl_key: Pem | None = setting(
        default=None,
        description="File in PEM with the key of `ssl_cert`, not encrypted. Its content changes with a reload. To "
        "begin or end with it needs a restart.",
    )
    ssl_client_ca: Pem | None = setting(
        default=None,
        description="File in PEM with authorities: whoever connects by TLS must have a certificate of one of them, "
        "beside the token. Its content changes with a reload. Default: none is asked for. To begin or end with it "
        "needs a restart.",
    )
    strict: Flag = setting(
        default=False,
        description="Whether variables that are not set, secrets written in the file and secret files that others can "
        "read are errors. Default false.",
    )
    max_connections: Annotated[int, Whole(1, 1_000_000)] = setting(
        default=1000, description="Connect streams open at a time; one more is told to come back later. Default 1000."
    )
    max_sessions_per_agent: Annotated[int, Whole(0, 100_000_000)] = setting(
        default=0, description="Conversations that one agent may have at a time. 0 (default): no bound; to 100000000."
    )
    heartbeat_interval: Annotated[float, Duration(1.0, HOUR)] = setting(
        default=30.0, description="Time between two heartbeats on a connection. Default 30s, 1s to 1h."
    )
    reconnect_timeout: Annotated[float, Duration(0.0, DAY)] = setting(
        default=60.0,
        description="How long a client that was cut off is expected back: the places of its subscriptions, its pending "
        "replies and what is addressed to it wait for it. Default 1m, to 1d; 0: not at all.",
    )
    drain_timeout: Annotated[float, Duration(0.0, HOUR)] = setting(
        default=10.0, description="How long a stop waits for running work. Default 10s, to 1h; 0: not at all."
    )
    session_config: SessionConfigSection = setting(
        default=SessionConfigSection(), description="Bounds of every conversation."
    )
    http: HttpSection = setting(default=HttpSection(), description="The HTTP listener.")
    logging: LoggingSection = setting(default=LoggingSection(), description="What is logged, and how.")
    limits: LimitsSection = setting(default=LimitsSection(), description="Bounds of what one client may ask.")

    @property
    def tls(self) -> Tls | None:
        """What the listeners show; None where they speak no TLS."""
        if self.ssl_cert is None or self.ssl_key is None:
            return None
        return Tls(self.ssl_cert, self.ssl_key, self.ssl_client_ca)

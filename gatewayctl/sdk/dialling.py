"""The two kinds of connection that a client has: one for single calls, and one for each stream that it opens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import grpc
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.address import Address, find_address
from gatewayctl.credentials import find_token
from gatewayctl.rpc import MAX_MESSAGE, OPTIONS, PACKAGE, bearer
from gatewayctl.tls import PLAIN, Tls, find_tls

_CALLS = (
    *OPTIONS,
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # While a call is open only: a watch must notice that the daemon's machine has gone.
    ("grpc.keepalive_time_ms", 25_000),
    ("grpc.keepalive_timeout_ms", 10_000),
)
_STREAM = (
    *OPTIONS,
    ("grpc.max_send_message_length", MAX_MESSAGE),
    ("grpc.keepalive_time_ms", 25_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.use_local_subchannel_pool", 1),
)


def destination(
    address: str | None, token: str | None, tls: Tls | None, env: Mapping[str, str]
) -> tuple[Address, str | None, Tls]:
    """Where to, with which token, and how protected; what is None is looked for. ValueError for what is unsafe."""
    if token is not None and address is None:
        raise ValueError("a token is sent only to an address that was named: give `address`, too")
    found = find_address(address, env)
    protection = find_tls(found, None, None, None, env) if tls is None else tls
    if token is not None and not found.is_local and not protection:
        raise ValueError("a token would cross the network in the clear: give `tls`, or forward the port")
    if token is None:
        token = find_token(found, None, env, encrypted=bool(protection))
    return found, token, PLAIN if found.is_unix else protection


def channel_for_calls(target: str, tls: Tls) -> grpc.aio.Channel:
    """For single calls; it connects by itself, again and again."""
    return _channel(target, tls, _CALLS)


def _channel(target: str, tls: Tls, options: Sequence[tuple[str, int]]) -> grpc.aio.Channel:
    if tls:
        return grpc.aio.secure_channel(target, tls.credentials(), options=options)
    return grpc.aio.insecure_channel(target, options=options)


def dial(target: str, token: str | None, tls: Tls) -> tuple[Any, Callable[[], Awaitable[None]]]:
    """Open a stream, and say how to close what it runs over."""
    # A channel for each attempt: one that has failed waits by a back-off of its own before it dials again.
    channel = _channel(target, tls, _STREAM)
    open_stream: Any = channel.stream_stream(
        f"/{PACKAGE}.EventService/Connect",
        request_serializer=pb.ConnectRequest.SerializeToString,
        response_deserializer=pb.ConnectResponse.FromString,
    )
    return open_stream(metadata=bearer(token)), lambda: channel.close(grace=None)

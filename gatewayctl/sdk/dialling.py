"""The two kinds of connection that a client has: one for single calls, and one for each stream that it opens."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.rpc import MAX_MESSAGE, OPTIONS, PACKAGE, bearer

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


def channel_for_calls(target: str) -> grpc.aio.Channel:
    """For single calls; it connects by itself, again and again."""
    return grpc.aio.insecure_channel(target, options=_CALLS)


def dial(target: str, token: str | None) -> tuple[Any, Callable[[], Awaitable[None]]]:
    """Open a stream, and say how to close what it runs over."""
    # A channel for each attempt: one that has failed waits by a back-off of its own before it dials again.
    channel = grpc.aio.insecure_channel(target, options=_STREAM)
    open_stream: Any = channel.stream_stream(
        f"/{PACKAGE}.EventService/Connect",
        request_serializer=pb.ConnectRequest.SerializeToString,
        response_deserializer=pb.ConnectResponse.FromString,
    )
    return open_stream(metadata=bearer(token)), lambda: channel.close(grace=None)

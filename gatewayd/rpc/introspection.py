"""Reflection for who may call, channelz for who may on the unix socket.

Imported when the first of their calls comes: with what they need they are twenty modules, and few daemons are asked.
Each method is put behind the guard like every other; one without a rule in `access.rules` refuses everybody.
"""

from collections.abc import AsyncIterator
from typing import Any, cast

import grpc
from grpc import aio
from grpc_channelz.v1 import _async as channelz
from grpc_channelz.v1 import channelz_pb2_grpc
from grpc_health.v1 import health
from grpc_reflection.v1alpha import _async as reflection
from grpc_reflection.v1alpha import reflection_pb2_grpc

from gatewayd.access.rules import METHODS
from gatewayd.core.errors import PermissionDenied
from gatewayd.rpc.guard import Context, Guard, Handler
from gatewayd.rpc.neighbours import CHANNELZ, REFLECTION, REFLECTION_ALPHA, SERVICES, Captured


def introspection(guard: Guard) -> dict[str, Handler]:
    """The handlers by the name of their service."""
    names = (*SERVICES, health.SERVICE_NAME, REFLECTION_ALPHA, CHANNELZ)
    captured = Captured()
    server = cast(aio.Server, captured)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection.ReflectionServicer(names), server)
    channelz_pb2_grpc.add_ChannelzServicer_to_server(channelz.ChannelzServicer(), server)
    # v1 is v1alpha under its final name (https://grpc.io/docs/guides/reflection): clients ask for it first.
    methods = captured.methods | {REFLECTION: captured.methods[REFLECTION_ALPHA]}
    return {service: _behind(guard, service, handlers) for service, handlers in methods.items()}


def _behind(guard: Guard, service: str, methods: dict[str, Any]) -> Handler:
    wrapped = {name: _wrap(guard, f"/{service}/{name}", handler) for name, handler in methods.items()}
    return grpc.method_handlers_generic_handler(service, wrapped)


def _wrap(guard: Guard, method: str, handler: Any) -> Any:
    """The same handler, for those whom the rules let in; channelz tells of all connections, so only on the socket."""
    local_only = method.startswith(f"/{CHANNELZ}/")

    async def unary(request: Any, context: Context) -> Any:
        async def call(_: object) -> Any:
            _check_local(context, local_only)
            return await handler.unary_unary(request, context)

        return await guard.unary(method, context, call)

    async def stream(requests: Any, context: Context) -> AsyncIterator[Any]:
        def serve(_: object) -> AsyncIterator[Any]:
            _check_local(context, local_only)
            answers: AsyncIterator[Any] = handler.stream_stream(requests, context)
            return answers

        # A generator itself: grpc runs what only returns one in a thread, and cannot iterate over it there.
        async for answer in guard.stream(method, context, serve):
            yield answer

    assert method in METHODS, f"{method} has no rule"
    if handler.unary_unary is not None:
        return grpc.unary_unary_rpc_method_handler(unary, handler.request_deserializer, handler.response_serializer)
    return grpc.stream_stream_rpc_method_handler(stream, handler.request_deserializer, handler.response_serializer)


def _check_local(context: Context, local_only: bool) -> None:
    if local_only and not context.peer().startswith("unix:"):
        raise PermissionDenied("channelz is served on the unix socket only")

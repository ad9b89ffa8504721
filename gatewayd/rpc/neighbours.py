"""The standard services beside our own: health for everybody, reflection for who may call, channelz on the unix socket.

Their servicers come from grpc's own packages. They are captured while they register, and each method is put behind the
guard like every other; a method without a rule in `access.rules` refuses everybody.
"""

from collections.abc import AsyncIterator, Iterable
from typing import Any, cast

import grpc
from grpc import aio
from grpc_channelz.v1 import _async as channelz
from grpc_channelz.v1 import channelz_pb2_grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse, HealthListRequest, HealthListResponse
from grpc_reflection.v1alpha import _async as reflection
from grpc_reflection.v1alpha import reflection_pb2_grpc

from gatewayd.access.rules import METHODS
from gatewayd.core.errors import PermissionDenied
from gatewayd.rpc.guard import Context, Guard, Handler

SERVICES = (
    "gateway.v1.EventService",
    "gateway.v1.AgentService",
    "gateway.v1.RuntimeService",
    "gateway.v1.SessionService",
    "gateway.v1.PushService",
    "gateway.v1.AdminService",
)
"""What the daemon serves, by the name that reflection and health know."""
_REFLECTION = "grpc.reflection.v1.ServerReflection"
_REFLECTION_ALPHA = "grpc.reflection.v1alpha.ServerReflection"


class Health:
    """`grpc.health.v1`: '' and every service of ours are SERVING, or none is."""

    def __init__(self) -> None:
        self._servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]  # grpc-stubs leave it out
        self._told: dict[str, HealthCheckResponse] = {}

    def handlers(self) -> list[Handler]:
        """Open to everybody: a probe has no token."""
        captured = _Captured()
        health_pb2_grpc.add_HealthServicer_to_server(self._servicer, cast(aio.Server, captured))
        # grpc's own servicer leaves List out; whoever called it would fill the log with its traceback.
        listing = grpc.unary_unary_rpc_method_handler(
            self._list, HealthListRequest.FromString, HealthListResponse.SerializeToString
        )
        methods = captured.methods[health.SERVICE_NAME] | {"List": listing}
        return [grpc.method_handlers_generic_handler(health.SERVICE_NAME, methods)]

    async def _list(self, _request: HealthListRequest, _context: Context) -> HealthListResponse:
        return HealthListResponse(statuses=self._told)

    async def set(self, *, serving: bool) -> None:
        """Tell all who watch."""
        status = HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING
        for service in ("", *SERVICES):
            self._told[service] = HealthCheckResponse(status=status)
            await self._servicer.set(service, status)


def guarded_neighbours(guard: Guard) -> list[Handler]:
    """Reflection and channelz behind the guard."""
    names = (*SERVICES, health.SERVICE_NAME, _REFLECTION_ALPHA, "grpc.channelz.v1.Channelz")
    captured = _Captured()
    server = cast(aio.Server, captured)
    reflection_pb2_grpc.add_ServerReflectionServicer_to_server(reflection.ReflectionServicer(names), server)
    channelz_pb2_grpc.add_ChannelzServicer_to_server(channelz.ChannelzServicer(), server)
    # v1 is v1alpha under its final name (https://grpc.io/docs/guides/reflection): clients ask for it first.
    methods = captured.methods | {_REFLECTION: captured.methods[_REFLECTION_ALPHA]}
    return [_behind(guard, service, handlers) for service, handlers in methods.items()]


class _Captured:
    """Stands where a servicer expects a server, and keeps what it registers."""

    def __init__(self) -> None:
        self.methods: dict[str, dict[str, Any]] = {}

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[Handler]) -> None:
        """The same methods once more, not looked at."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: dict[str, Any]) -> None:
        self.methods[service_name] = method_handlers


def _behind(guard: Guard, service: str, methods: dict[str, Any]) -> Handler:
    wrapped = {name: _wrap(guard, f"/{service}/{name}", handler) for name, handler in methods.items()}
    return grpc.method_handlers_generic_handler(service, wrapped)


def _wrap(guard: Guard, method: str, handler: Any) -> Any:
    """The same handler, for those whom the rules let in; channelz tells of all connections, so only on the socket."""
    local_only = service_of(method) == "grpc.channelz.v1.Channelz"

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


def service_of(method: str) -> str:
    """The service in a full method name."""
    return method.split("/")[1]


def _check_local(context: Context, local_only: bool) -> None:
    if local_only and not context.peer().startswith("unix:"):
        raise PermissionDenied("channelz is served on the unix socket only")

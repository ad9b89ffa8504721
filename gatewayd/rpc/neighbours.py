"""The standard services beside our own: health for everybody, reflection for who may call, channelz on the unix socket.

Their servicers come from grpc's own packages, and are captured while they register.
"""

from collections.abc import Iterable, Mapping
from typing import Any, cast

import grpc
from grpc import aio
from grpc_health.v1 import health, health_pb2_grpc
from grpc_health.v1.health_pb2 import HealthCheckResponse, HealthListRequest, HealthListResponse

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
REFLECTION = "grpc.reflection.v1.ServerReflection"
REFLECTION_ALPHA = "grpc.reflection.v1alpha.ServerReflection"
CHANNELZ = "grpc.channelz.v1.Channelz"


class Health:
    """`grpc.health.v1`: '' and every service of ours are SERVING, or none is."""

    def __init__(self) -> None:
        self._servicer = health.aio.HealthServicer()  # type: ignore[attr-defined]  # grpc-stubs leave it out
        self._told: dict[str, HealthCheckResponse] = {}

    def handlers(self) -> list[Handler]:
        """Open to everybody: a probe has no token."""
        captured = Captured()
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


class Introspection(Handler):
    """Reflection and channelz behind the guard, loaded when somebody asks for one of them."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._loaded: Mapping[str, Handler] = {}

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> Any:
        name = (handler_call_details.method or "").removeprefix("/").partition("/")[0]
        if name not in (REFLECTION, REFLECTION_ALPHA, CHANNELZ):
            return None
        if not self._loaded:
            from gatewayd.rpc.introspection import introspection  # noqa: PLC0415  # only for who asks

            self._loaded = introspection(self._guard)
        return self._loaded[name].service(handler_call_details)


class Captured:
    """Stands where a servicer expects a server, and keeps what it registers."""

    def __init__(self) -> None:
        self.methods: dict[str, dict[str, Any]] = {}

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[Handler]) -> None:
        """The same methods once more, not looked at."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: dict[str, Any]) -> None:
        self.methods[service_name] = method_handlers

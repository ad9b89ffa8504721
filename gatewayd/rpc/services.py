"""Every service of `gateway.v1` as the handlers that a gRPC server takes.

The handlers are made from the descriptors: an RPC of the contract that nobody serves cannot be overlooked.
"""

from collections.abc import Callable, Mapping
from typing import Any

import grpc
from gateway.v1 import (
    admin_service_pb2,
    agent_service_pb2,
    event_service_pb2,
    push_service_pb2,
    runtime_service_pb2,
    session_service_pb2,
)
from google.protobuf.descriptor import Descriptor, MethodDescriptor, ServiceDescriptor
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from gatewayd.access.audit import Audit
from gatewayd.access.principals import Principal
from gatewayd.bus.base import EventBus
from gatewayd.conversation.hub import ConversationHub
from gatewayd.conversation.publishing import Publishing
from gatewayd.conversation.sends import Sends
from gatewayd.conversation.speaking import Speaking
from gatewayd.core.clock import Clock
from gatewayd.core.errors import InvalidArgument
from gatewayd.operations import Operations
from gatewayd.push.service import Push
from gatewayd.routing.closing import Closing
from gatewayd.routing.published import Publications
from gatewayd.routing.router import Router
from gatewayd.rpc.admin import AdminService
from gatewayd.rpc.agents import AgentService
from gatewayd.rpc.connect import ConnectHandler
from gatewayd.rpc.events import EventService
from gatewayd.rpc.guard import Context, Guard, Handler
from gatewayd.rpc.patience import Rates
from gatewayd.rpc.push import PushService
from gatewayd.rpc.runtime import RuntimeService
from gatewayd.rpc.sessions import SessionService
from gatewayd.runtime.entry_points import EntryPointFeeds
from gatewayd.runtime.goals import Goals
from gatewayd.runtime.messaging import Messaging
from gatewayd.runtime.runtime import AgentRuntime
from gatewayd.runtime.state import SharedState
from gatewayd.runtime.state_watch import StateWatches
from gatewayd.storage.base import Store
from gatewayd.wire.depth import too_deep

SERVICES: Mapping[str, ServiceDescriptor] = {
    service.full_name: service
    for module in (
        event_service_pb2,
        agent_service_pb2,
        runtime_service_pb2,
        session_service_pb2,
        push_service_pb2,
        admin_service_pb2,
    )
    for service in module.DESCRIPTOR.services_by_name.values()
}
"""The services of the contract, by full name."""

_EVENTS_IN = frozenset({"/gateway.v1.EventService/Publish"})
_EVENTS_OUT = frozenset({"/gateway.v1.EventService/ListEvents"})
"""Methods whose events pass as bytes, so that they are never read or written twice."""

_Behaviour = Callable[[Any, Context], Any]


def handlers(
    *,
    guard: Guard,
    hub: ConversationHub,
    router: Router,
    runtime: AgentRuntime,
    closing: Closing,
    store: Store,
    bus: EventBus,
    publishing: Publishing,
    sends: Sends,
    speaking: Speaking,
    rates: Rates,
    push: Push,
    entry_points: EntryPointFeeds,
    operations: Operations,
    state: SharedState,
    watches: StateWatches,
    goals: Goals,
    works_on: Callable[[str, str], bool],
    messaging: Messaging,
    clock: Clock,
) -> list[Handler]:
    """One handler per service, `Connect` included."""
    servicers: dict[str, object] = {
        "gateway.v1.EventService": EventService(
            guard=guard, bus=bus, store=store, publishing=publishing, rates=rates, clock=clock
        ),
        "gateway.v1.AgentService": AgentService(
            guard=guard,
            sends=sends,
            speaking=speaking,
            store=store,
            engine=messaging.engine,
            publications=Publications(router, clock, messaging.events),
            rates=rates,
        ),
        "gateway.v1.RuntimeService": RuntimeService(
            guard=guard,
            router=router,
            store=store,
            entry_points=entry_points,
            state=state,
            watches=watches,
            goals=goals,
            works_on=works_on,
            bus=bus,
            engine=messaging.engine,
            rates=rates,
            clock=clock,
        ),
        "gateway.v1.SessionService": SessionService(
            guard=guard, runtime=runtime, store=store, closing=closing, audit=Audit(store, clock)
        ),
        "gateway.v1.PushService": PushService(guard=guard, push=push, rates=rates, audit=Audit(store, clock)),
        "gateway.v1.AdminService": AdminService(guard=guard, operations=operations, store=store),
    }
    connect = ConnectHandler(hub, guard, clock)
    return [_service(service, servicers[name], guard, connect) for name, service in SERVICES.items()]


def _service(service: ServiceDescriptor, servicer: object, guard: Guard, connect: ConnectHandler) -> Handler:
    methods: dict[str, grpc.RpcMethodHandler[Any, Any]] = {}
    for method in service.methods:
        if method.client_streaming:
            methods[method.name] = grpc.stream_stream_rpc_method_handler(
                connect.serve, request_deserializer=None, response_serializer=None
            )
        else:
            methods[method.name] = _unary(method, getattr(servicer, method.name), guard)
    return grpc.method_handlers_generic_handler(service.full_name, methods)


def _unary(method: MethodDescriptor, behaviour: _Behaviour, guard: Guard) -> "grpc.RpcMethodHandler[Any, Any]":
    """One request; its answer is returned, or its answers are written by the behaviour.

    Requests come as bytes and are read inside the guard, so that one that cannot be read is refused by the rules.
    """
    name = f"/{method.containing_service.full_name}/{method.name}"
    request_class: type[Message] = GetMessageClass(method.input_type)
    response_class: type[Message] = GetMessageClass(method.output_type)

    async def call(data: bytes, context: Context) -> Any:
        if name in _EVENTS_IN:
            return await behaviour(data, context)
        try:
            request = request_class.FromString(data)
        except DecodeError:
            return await guard.unary(name, context, _unreadable(data, method.input_type))
        return await behaviour(request, context)

    if method.server_streaming:
        return grpc.unary_stream_rpc_method_handler(
            call, request_deserializer=None, response_serializer=response_class.SerializeToString
        )
    return grpc.unary_unary_rpc_method_handler(
        call,
        request_deserializer=None,
        response_serializer=None if name in _EVENTS_OUT else response_class.SerializeToString,
    )


def _unreadable(data: bytes, message: Descriptor) -> Callable[[Principal], Any]:
    async def refuse(_principal: Principal) -> None:
        raise too_deep(data, message) or InvalidArgument(f"the request is not the encoding of a {message.name}")

    return refuse

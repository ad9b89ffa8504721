"""What a service of the contract must have, for the type checker.

The generated classes would add nothing but an answer to RPCs that nobody serves, and a start would have to read them;
`services.py` refuses to start without one of these.
"""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gateway.v1.admin_service_pb2_grpc import AdminServiceServicer
    from gateway.v1.agent_service_pb2_grpc import AgentServiceServicer
    from gateway.v1.push_service_pb2_grpc import PushServiceServicer
    from gateway.v1.runtime_service_pb2_grpc import RuntimeServiceServicer
    from gateway.v1.session_service_pb2_grpc import SessionServiceServicer
else:
    AdminServiceServicer = AgentServiceServicer = PushServiceServicer = object
    RuntimeServiceServicer = SessionServiceServicer = object

__all__ = [
    "AdminServiceServicer",
    "AgentServiceServicer",
    "PushServiceServicer",
    "RuntimeServiceServicer",
    "SessionServiceServicer",
]

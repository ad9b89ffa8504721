"""The calls of a client that polls over HTTP: the JSON of `gateway.v1` ↔ values, and its answers."""

import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, TypeVar

from gateway.v1 import push_service_pb2 as pb
from google.protobuf import json_format
from google.protobuf.message import Message

from gatewayd.core.errors import InvalidArgument
from gatewayd.core.push import AckCall, HeartbeatCall, JoinCall, LeaveCall, PollCall, RegisterCall
from gatewayd.wire.json import json_object
from gatewayd.wire.push_calls import ack_call, heartbeat_call, join_call, leave_call, poll_call, register_call
from gatewayd.wire.values import refuse

_Call = TypeVar("_Call")
_READERS: Mapping[type, tuple[type[Message], Callable[[Any], Any]]] = MappingProxyType(
    {
        RegisterCall: (pb.RegisterRequest, register_call),
        PollCall: (pb.PollRequest, poll_call),
        AckCall: (pb.AckRequest, ack_call),
        JoinCall: (pb.JoinTopicRequest, join_call),
        LeaveCall: (pb.LeaveTopicRequest, leave_call),
        HeartbeatCall: (pb.HeartbeatRequest, heartbeat_call),
    }
)


def call_from_json(call: type[_Call], body: bytes) -> _Call:
    """A call of that kind, from the JSON of its request; an empty body is an empty object."""
    kind, read = _READERS[call]
    try:
        text = body.decode() or "{}"
    except UnicodeDecodeError:
        raise InvalidArgument("the body is not UTF-8") from None
    found = json_object(text, "body")
    request = kind()
    try:
        json_format.ParseDict(found, request)
    except (json_format.ParseError, ValueError, TypeError, RecursionError) as error:
        raise refuse("body", (str(error).splitlines() or ["cannot be read"])[0][:300]) from None
    found_call: _Call = read(request)
    return found_call


def to_json(message: Message) -> bytes:
    """A response as JSON, on one line; what is not set is there, too."""
    text = json_format.MessageToDict(message, always_print_fields_with_no_presence=True)
    return json.dumps(text, ensure_ascii=False).encode() + b"\n"

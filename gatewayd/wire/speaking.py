"""What a worker says to other agents from within a call, in a frame or a call: messages ↔ `core`."""

import json

from gateway.internal.v1 import frames_pb2
from gateway.v1 import agent_service_pb2, event_service_pb2

from gatewayd.core.agents import DEFAULT_KEY, AgentId, TopicId
from gatewayd.core.errors import GatewayError
from gatewayd.core.frames import Send
from gatewayd.core.workers import PublishMessage
from gatewayd.wire.names import MAX_ID, name, required
from gatewayd.wire.values import check_struct, object_from, refuse, span_from

SendRequest = agent_service_pb2.SendMessageRequest | event_service_pb2.Send
PublishRequest = agent_service_pb2.PublishMessageRequest | event_service_pb2.PublishMessage
"""The two messages that say it; their fields in common have the same names."""

_APART = ("channel", "context", "session_id", "correlation_id", "idempotency_key")
_APART_IN_CALL = (*_APART, "until_asked")
_APART_IN_FRAME = (*_APART, "partial_replies", "no_reply", "traceparent")
"""Fields of a message of the client's own."""


def send_within(wanted: SendRequest, path: str = "", request_id: str = "") -> Send:
    """A message to an agent; `InvalidArgument` names the field. `path` is where its fields are in the request."""
    for field in _APART_IN_FRAME if path else _APART_IN_CALL:
        if getattr(wanted, field):
            raise refuse(f"{path}{field}", "does not go with `call_id`")
    if not wanted.text.strip():
        raise refuse(f"{path}text", "is required")
    try:
        receiver = AgentId.parse(f"{wanted.agent}/{wanted.key or DEFAULT_KEY}")
    except GatewayError as error:
        raise refuse(f"{path}agent", error.message) from None
    return Send(
        request_id,
        wanted.text,
        agent=receiver.type,
        key=receiver.key,
        call_id=required(wanted.call_id, f"{path}call_id", MAX_ID),
        timeout=span_from(wanted.timeout, f"{path}timeout") if wanted.HasField("timeout") else 0.0,
    )


def read_publish_message(frame: frames_pb2.ConnectRequest) -> PublishMessage:
    """The frame `publish_message`."""
    wanted, path = frame.publish_message, "publish_message."
    data_type, text = content_of(wanted, path)
    call_id = required(wanted.call_id, f"{path}call_id", MAX_ID)
    return PublishMessage(frame.request_id, call_id, str(topic_of(wanted, path)), text, data_type)


def topic_of(wanted: PublishRequest, path: str = "") -> TopicId:
    """What it is published about."""
    try:
        return TopicId.parse(wanted.topic)
    except GatewayError as error:
        raise refuse(f"{path}topic", error.message) from None


def content_of(wanted: PublishRequest, path: str = "") -> tuple[str, str]:
    """Type ('' for text) and text of what is published."""
    if wanted.WhichOneof("content") == "json":
        check_struct(wanted.json, f"{path}json")
        data_type = name(wanted.data_type, f"{path}data_type") or "object"
        return data_type, json.dumps(object_from(wanted.json), ensure_ascii=False, sort_keys=True)
    if wanted.data_type:
        raise refuse(f"{path}data_type", "goes with `json` alone")
    if not wanted.text.strip():
        raise refuse(f"{path}text", "is required, or `json`")
    return "", wanted.text

"""What starts an entry point, in a frame or a call: bytes → `core.frames.Trigger`."""

import json

from gateway.internal.v1 import frames_pb2
from gateway.v1 import event_service_pb2, runtime_service_pb2

from gatewayd.core.checkpoint import state_text
from gatewayd.core.frames import Trigger
from gatewayd.core.tracing import checked_traceparent
from gatewayd.wire.names import name, required
from gatewayd.wire.values import check_struct, object_from, refuse, span_from

Wanted = event_service_pb2.Trigger | runtime_service_pb2.TriggerRequest
"""The two messages that say it; their fields in common have the same names."""


def trigger_from(
    wanted: Wanted,
    path: str = "",
    *,
    request_id: str = "",
    timeout: float = 0.0,
    partial_replies: bool = False,
    await_reply: bool = False,
    traceparent: str = "",
) -> Trigger:
    """Read it, or raise `InvalidArgument`; `path` is where its fields are in the request."""
    return Trigger(
        request_id=request_id,
        entry_point=required(wanted.entry_point, f"{path}entry_point"),
        text=_input_of(wanted, path),
        correlation_id=name(wanted.correlation_id, f"{path}correlation_id"),
        idempotency_key=name(wanted.idempotency_key, f"{path}idempotency_key"),
        timeout=timeout,
        partial_replies=partial_replies,
        await_reply=await_reply,
        given=_given(wanted, path),
        traceparent=checked_traceparent(traceparent),
    )


def read_trigger(frame: frames_pb2.ConnectRequest) -> Trigger:
    """The frame `trigger`."""
    trigger = frame.trigger
    return trigger_from(
        trigger,
        "trigger.",
        request_id=frame.request_id,
        timeout=span_from(trigger.timeout, "trigger.timeout"),
        partial_replies=trigger.partial_replies,
        await_reply=not trigger.no_reply,
        traceparent=trigger.traceparent,
    )


def _given(wanted: Wanted, path: str) -> str:
    if not wanted.HasField("session_state"):
        return ""
    state, path = wanted.session_state, f"{path}session_state."
    check_struct(state.memory, f"{path}memory")
    paused_at = name(state.paused_at, f"{path}paused_at")
    return state_text({"memory": object_from(state.memory), "paused_at": paused_at})


def _input_of(wanted: Wanted, path: str) -> str:
    kind = wanted.WhichOneof("input")
    if kind == "text":
        if not wanted.text.strip():
            raise refuse(f"{path}text", "is blank; leave the input out instead")
        return wanted.text
    check_struct(wanted.json, f"{path}json")
    return json.dumps(object_from(wanted.json), ensure_ascii=False, sort_keys=True)

"""What is wanted of an execution that is under way, in a frame or a call: bytes → `core.controls`."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from gateway.internal.v1 import frames_pb2
from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import runtime_service_pb2 as calls

from gatewayd.core.checkpoint import MAX_INPUT
from gatewayd.core.controls import Cancel, ControlRequest, InjectInput, Pause, Resume
from gatewayd.wire.names import name, required
from gatewayd.wire.values import refuse

MAX_REASON = 256
"""Longest reason of whoever acts, in bytes."""


def cancel_from(wanted: pb.Cancel | calls.CancelExecutionRequest, path: str = "", request_id: str = "") -> Cancel:
    """Read it, or raise `InvalidArgument`; `path` is where its fields are in the request."""
    return Cancel(request_id, _execution(wanted.execution_id, path), _reason(wanted.reason, path))


def pause_from(wanted: pb.Pause | calls.PauseExecutionRequest, path: str = "", request_id: str = "") -> Pause:
    """As `cancel_from`."""
    return Pause(request_id, _execution(wanted.execution_id, path), _reason(wanted.reason, path))


def resume_from(wanted: pb.Resume | calls.ResumeExecutionRequest, path: str = "", request_id: str = "") -> Resume:
    """As `cancel_from`."""
    return Resume(request_id, _execution(wanted.execution_id, path), _reason(wanted.reason, path))


def input_from(wanted: pb.InjectInput | calls.InjectInputRequest, path: str = "", request_id: str = "") -> InjectInput:
    """As `cancel_from`."""
    execution_id = _execution(wanted.execution_id, path)
    node_id = name(wanted.node_id, f"{path}node_id")
    if len(wanted.content.encode()) > MAX_INPUT:
        raise refuse(f"{path}content", f"is longer than {MAX_INPUT} bytes")
    return InjectInput(request_id, execution_id, node_id, wanted.content)


def _execution(execution_id: str, path: str) -> str:
    return required(execution_id, f"{path}execution_id")


def _reason(reason: str, path: str) -> str:
    if len(reason.encode()) > MAX_REASON or not reason.isprintable():
        raise refuse(f"{path}reason", f"is not one line of at most {MAX_REASON} bytes")
    return reason


READERS: Mapping[str, Callable[[frames_pb2.ConnectRequest], ControlRequest]] = MappingProxyType(
    {
        "cancel": lambda frame: cancel_from(frame.cancel, "cancel.", frame.request_id),
        "pause": lambda frame: pause_from(frame.pause, "pause.", frame.request_id),
        "resume": lambda frame: resume_from(frame.resume, "resume.", frame.request_id),
        "inject_input": lambda frame: input_from(frame.inject_input, "inject_input.", frame.request_id),
    }
)

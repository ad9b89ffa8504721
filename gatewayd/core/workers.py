"""Frames of programs that answer for an agent (workers), free of any encoding; see `core.frames`."""

from collections.abc import Mapping, Sequence
from dataclasses import field
from typing import Any, Literal

from gatewayd.core.errors import GatewayError
from gatewayd.core.value import value

# Frames of the client


@value(frozen=True, slots=True)
class RegisterAgent:
    request_id: str
    agent: str
    max_concurrent: int = 0
    """Calls at a time; 0 takes the gateway's default."""
    history: bool = False
    """Whether calls bring the conversation before the turn."""
    topics: Sequence[str] = ()
    """What the agent hears besides what its configuration says."""
    notify_end: bool = False
    """Whether it ends when a reload takes the agent away from its workers."""


@value(frozen=True, slots=True)
class UnregisterAgent:
    request_id: str
    agent: str


@value(frozen=True, slots=True)
class CallReply:
    request_id: str
    call_id: str
    content: str = ""
    """New text of the answer."""
    offset: int | None = None
    """Characters of the answer before `content`; None is as many as have arrived."""
    final: bool = False
    error: str = ""
    """What went wrong, for the user; the call has failed."""


@value(frozen=True, slots=True)
class SaveCheckpoint:
    """What a call goes on from."""

    request_id: str
    call_id: str
    state: str
    """A JSON object, as the worker has written it."""
    values: Mapping[str, Any]
    """The same, read."""
    node_id: str = ""
    at: Literal["start", "complete"] = "complete"
    idempotency_key: str = ""
    """The one that was taken last is known again by it; '' for one that is always new."""


@value(frozen=True, slots=True)
class WaitForInput:
    """The same, to be gone on from when somebody has answered."""

    request_id: str
    call_id: str
    prompt: str
    state: str
    values: Mapping[str, Any]
    node_id: str = ""
    internal: bool = False
    """Whether it is not the client that is asked."""
    idempotency_key: str = ""


LeaveRequest = SaveCheckpoint | WaitForInput
WorkerRequest = RegisterAgent | UnregisterAgent | CallReply | LeaveRequest


@value(frozen=True, slots=True)
class PublishMessage:
    """What a worker publishes from within a call."""

    request_id: str
    call_id: str
    topic: str
    """`TYPE` or `TYPE/SOURCE`."""
    text: str
    """The JSON of an object, where it has a type."""
    data_type: str = ""
    """The name of its type; '' for text."""


WithinCall = PublishMessage | LeaveRequest
"""What a worker asks for from within a call, and what takes a while."""


# Frames of the server


@value(frozen=True, slots=True)
class Said:
    """One message of the conversation before a turn."""

    role: str
    content: str
    time: float


@value(frozen=True, slots=True)
class Call:
    call_id: str
    agent: str
    execution_id: str
    session_id: str
    text: str
    principal: str
    channel: str
    timeout: float
    """Seconds that are left for the answer."""
    history: Sequence[Said] = ()
    redelivered: bool = False
    offset: int = 0
    """Characters of the answer that have arrived."""
    topic: str = ""
    """What it was published about; then nobody waits for an answer."""
    sender: str = ""
    data_type: str = ""
    traceparent: str = ""
    """The trace that the answer is a part of; '' for none."""
    state: str = ""
    """What the last checkpoint holds, a JSON object; '' where the execution begins."""
    inputs: Mapping[str, str] = field(default_factory=dict)
    """What people said since, by the node that waited for it."""


@value(frozen=True, slots=True)
class CancelCall:
    call_id: str
    reason: str


@value(frozen=True, slots=True)
class RegistrationEnded:
    agent: str
    error: GatewayError
    """What it would be refused with from now on."""


WorkerFrame = Call | CancelCall | RegistrationEnded

"""Frames of programs that answer for an agent (workers), free of any encoding; see `core.frames`."""

from collections.abc import Sequence

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


WorkerRequest = RegisterAgent | UnregisterAgent | CallReply


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


@value(frozen=True, slots=True)
class CancelCall:
    call_id: str
    reason: str


WorkerFrame = Call | CancelCall

"""What a client wants of an execution that is under way, by a frame or a call; see `core.frames`."""

from gatewayd.core.value import value


@value(frozen=True, slots=True)
class Cancel:
    request_id: str
    execution_id: str
    reason: str = ""


@value(frozen=True, slots=True)
class Pause:
    request_id: str
    execution_id: str
    reason: str = ""


@value(frozen=True, slots=True)
class Resume:
    request_id: str
    execution_id: str
    reason: str = ""


@value(frozen=True, slots=True)
class InjectInput:
    request_id: str
    execution_id: str
    node_id: str = ""
    """The node that waits; '' for an agent without nodes."""
    content: str = ""


ControlRequest = Cancel | Pause | Resume | InjectInput

"""Work: one reason to start an agent, whatever door it came through; and how it ends."""

from enum import StrEnum

from gatewayd.core.message import ReplyTo
from gatewayd.core.value import value


class Origin(StrEnum):
    """The door that a piece of work came through."""

    CHAT = "chat"
    CLIENT = "client"


class ExecutionState(StrEnum):
    """QUEUED → RUNNING → (PAUSED | INPUT_REQUIRED) → SUCCEEDED | FAILED | CANCELLED."""

    QUEUED = "queued"
    RUNNING = "running"
    PAUSED = "paused"
    INPUT_REQUIRED = "input_required"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in (ExecutionState.SUCCEEDED, ExecutionState.FAILED, ExecutionState.CANCELLED)


class LedgerState(StrEnum):
    """Where a message is in its story; the last five end it, and exactly one of them does."""

    QUEUED = "queued"
    """Received, journaled, routed and waiting for (or in) its execution, all of which was one commit."""
    EXECUTED = "executed"
    """The agent has answered; the answer waits in the outbox."""
    ANSWERED = "answered"
    SILENT = "silent"
    """No answer was due: by group policy, an empty answer, or a newer message that interrupted."""
    FAILED_AND_TOLD = "failed_and_told"
    DEAD_LETTERED = "dead_lettered"
    EXPIRED = "expired"

    @property
    def terminal(self) -> bool:
        return self not in (LedgerState.QUEUED, LedgerState.EXECUTED)


@value(frozen=True, slots=True)
class Execution:
    """One run of an agent, as it is kept: enough to run it again and to deliver its answer."""

    id: str
    message_id: str
    """The ledger entry that this run answers."""
    session_id: str
    agent: str
    principal: str
    origin: Origin
    text: str
    """What the agent is asked."""
    reply_to: ReplyTo
    stream_id: str
    """The event stream its events go to: the agent's id."""
    correlation_id: str
    created: float
    idempotency_key: str = ""
    state: ExecutionState = ExecutionState.QUEUED
    reason: str = ""
    attempts: int = 0
    output: str = ""
    error: str = ""
    started: float = 0.0
    finished: float = 0.0

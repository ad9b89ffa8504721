"""Work: one reason to start an agent, whatever door it came through; and how it ends."""

from enum import StrEnum

from gatewayd.core.message import ReplyTo
from gatewayd.core.value import value


class Origin(StrEnum):
    """The door that a piece of work came through."""

    CHAT = "chat"
    CLIENT = "client"
    TRIGGER = "trigger"
    """Somebody's call of an entry point."""
    EVENT = "event"
    """An event that an entry point waits for."""
    TIMER = "timer"
    """An instant that an entry point waits for."""
    MESSAGE = "message"
    """A message that a client published on a topic."""

    @property
    def stands_alone(self) -> bool:
        """Whether the work has no session; its results are kept as `runtime.execution_result_max` says."""
        return self.is_entry_point or self is Origin.MESSAGE

    @property
    def is_entry_point(self) -> bool:
        """Whether the work came through an entry point."""
        return self in _ENTRY_POINTS


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
        return self in _ENDS


# Here, and not where they are asked for: a member of an enumeration is found by a call of Python's own.
_ENTRY_POINTS = (Origin.TRIGGER, Origin.EVENT, Origin.TIMER)
_ENDS = (ExecutionState.SUCCEEDED, ExecutionState.FAILED, ExecutionState.CANCELLED)


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
        return self not in _UNTOLD


_UNTOLD = (LedgerState.QUEUED, LedgerState.EXECUTED)


@value(frozen=True, slots=True)
class Execution:
    """One run of an agent, as it is kept: enough to run it again and to deliver its answer."""

    id: str
    message_id: str
    """The ledger entry that this run answers."""
    session_id: str
    """'' for work of an entry point: each of its executions stands alone."""
    agent: str
    principal: str
    origin: Origin
    text: str
    """What the agent is asked."""
    reply_to: ReplyTo
    stream_id: str
    """The event stream its events go to: the agent's id, or that of the entry point that started it."""
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
    trace: str = ""
    """The traceparent that its runs are a part of: that under which it was asked for, or of its first run.

    '' for none, and in lists of executions.
    """

    @property
    def entry_point(self) -> str:
        """The entry point that started it; '' for work that came through another door."""
        return self.stream_id if self.origin.is_entry_point else ""


@value(frozen=True, slots=True)
class Trigger:
    """A reason to start an entry point."""

    entry_point: str
    text: str
    """What its agent is asked: the input's text, or the JSON of an input that is no text."""
    origin: Origin
    principal: str
    """For whom it runs."""
    client_id: str = ""
    correlation_id: str = ""
    """'' is the execution's own id."""
    idempotency_key: str = ""
    """The same key of the same principal starts one execution; '' is never the same."""
    given: str = ""
    """The state that it begins with, a JSON object of `memory` and `paused_at`; '' is none."""
    trace: str = ""
    """The traceparent of whoever asks; '' for none."""

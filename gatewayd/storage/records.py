"""The values that the store keeps and gives back, beside events and executions (`core`)."""

from enum import StrEnum

from gatewayd.core.checkpoint import BegunCall, Checkpoint
from gatewayd.core.event import Event
from gatewayd.core.execution_log import LogEntry
from gatewayd.core.graph_result import GraphResult
from gatewayd.core.value import value
from gatewayd.core.work import Execution, ExecutionState, LedgerState, Origin


@value(frozen=True, slots=True)
class Published:
    """An event on its way into the log, with what makes publishing it twice harmless."""

    event: Event
    digest: bytes = b""
    """Digest of the canonical content as its publisher sent it; b'' when the id cannot have been seen before."""
    begins: BegunCall | None = None
    """The tool call that it tells the begin of: kept with the execution, if that has not ended, until it is ended."""
    ends: str | None = None
    """Id of the tool call of its execution that it tells the end of; '' is one, too."""


@value(frozen=True, slots=True)
class LogState:
    """The event log's ends: events with `first_seq` ≤ seq ≤ `last_seq` may be kept.

    Both are 0 in a log that never had an event; where all were swept, `first_seq` is `last_seq` + 1.
    """

    epoch: str
    first_seq: int
    last_seq: int


@value(frozen=True, slots=True)
class EventPage:
    """Events in log order and how far the log was looked through (which may be past the last match)."""

    events: tuple[Event, ...]
    scanned_to: int


@value(frozen=True, slots=True)
class Step:
    """One line of a message's story: `received`, `journaled`, `routed`, `queued`, `executed`, `sent`, …"""

    name: str
    time: float
    detail: str = ""
    """For people: the rule that matched, the reason, an id. Never message text, never a secret."""


@value(frozen=True, slots=True)
class Inbound:
    """The journal row of one message that was taken in, whichever door it came through."""

    message_id: str
    origin: Origin
    principal: str
    channel: str
    """'' for a message that named an agent."""
    chat: str
    peer: str
    platform_id: str
    context: str
    text: str
    received: float


@value(frozen=True, slots=True)
class SessionRecord:
    """One conversation. `key` is built by `gatewayd.sessions`; at most one session per key is not ended."""

    id: str
    key: str
    principal: str
    """Whose it is; every read of it filters by this, unless the reader may see all."""
    agent: str
    channel: str
    rule: str
    """The routing rule that chose the agent."""
    created: float
    last_active: float
    ended: float = 0.0
    end_reason: str = ""
    messages: int = 0
    bytes: int = 0


@value(frozen=True, slots=True)
class HistoryEntry:
    """One line of a session's history."""

    role: str
    """`user` or `assistant`."""
    content: str
    time: float
    execution_id: str = ""


@value(frozen=True, slots=True)
class Answer:
    """A message that is the input an execution waits for."""

    execution_id: str
    node_id: str


@value(frozen=True, slots=True)
class Acceptance:
    """Everything that taking in one message writes, as one unit."""

    inbound: Inbound
    dedupe_scope: str
    """Together with `dedupe_id` the key against duplicates: the channel and account, or the principal."""
    dedupe_id: str
    """'' when there is nothing to compare by."""
    digest: bytes
    """Content digest: the same key with another digest is `IdConflict`. b'' when any repeat is a duplicate."""
    session: SessionRecord | None
    """Inserted, or updated when its id exists."""
    execution: Execution | None
    """None when policy says silence."""
    state: LedgerState
    steps: tuple[Step, ...]
    rule: str = ""
    remembered: tuple[HistoryEntry, ...] = ()
    """History that the message adds although nobody answers it (group policy `observe`)."""
    history_max_messages: int = 0
    """As in `Finish`, for what `remembered` adds."""
    history_max_bytes: int = 0
    outcome: LedgerState | None = None
    """With `outbox`, the terminal state that the last sent piece will give the story."""
    outbox: tuple["OutboxRow", ...] = ()
    """What is said at once, where no agent can be asked (a limit that the user is told of)."""
    given: Checkpoint | None = None
    """What the execution goes on from, where whoever asked for it gave it a state."""
    answer: Answer | None = None
    """What the message's text is the input of; `NotWaiting`, and nothing is written, where that does not wait."""
    events: tuple[Event, ...] = ()


@value(frozen=True, slots=True)
class Accepted:
    """What became of an acceptance; for a duplicate, what became of the first."""

    message_id: str
    execution_id: str
    duplicate: bool


@value(frozen=True, slots=True)
class Ran:
    """What the row of an execution that has ended says of its runs."""

    attempts: int
    started: float
    """When the first one began; 0 if none did."""
    finished: float


class OutboxState(StrEnum):
    QUEUED = "queued"
    SENDING = "sending"
    """Handed to the platform, whose answer is not on disk: after a crash it is unknown whether it was sent."""
    SENT = "sent"
    DEAD = "dead"


@value(frozen=True, slots=True)
class OutboxRow:
    """One piece of text to be sent through a channel. Order within (channel, chat) is that of `id`."""

    id: str
    key: str
    """Idempotency key: `MESSAGE_ID/N` for the n-th piece of the answer, with a part between for what is said before."""
    channel: str
    chat: str
    thread: str
    quote: str
    text: str
    message_id: str
    execution_id: str
    created: float
    state: OutboxState = OutboxState.QUEUED
    attempts: int = 0
    next_time: float = 0.0
    platform_id: str = ""
    reason: str = ""

    @property
    def whole(self) -> tuple[str, str]:
        """What it is a piece of, the same for all pieces of one text: an answer, or a question before it."""
        return self.message_id, self.key.rpartition("/")[0]


@value(frozen=True, slots=True)
class LedgerChange:
    """One step of a message's story, and its new state. A terminal state is left only by an operator's retry."""

    message_id: str
    state: LedgerState
    step: Step
    outcome: LedgerState | None = None
    """The terminal state that the last sent piece will give it; None leaves it as it is."""


@value(frozen=True, slots=True)
class Finish:
    """Everything that the end of an execution writes, as one unit."""

    execution_id: str
    state: ExecutionState
    finished: float
    output: str = ""
    error: str = ""
    reason: str = ""
    absorbed: tuple[str, ...] = ()
    """Executions whose messages were answered within this one (busy mode `steer`); they end SUCCEEDED with it."""
    session_id: str = ""
    turn: tuple[HistoryEntry, ...] = ()
    history_max_messages: int = 0
    """Older history beyond this is deleted in the same unit; 0 keeps by bytes alone."""
    history_max_bytes: int = 0
    outbox: tuple[OutboxRow, ...] = ()
    ledger: tuple[LedgerChange, ...] = ()
    dead_letters: tuple["DeadLetter", ...] = ()
    log: tuple[LogEntry, ...] = ()
    """What the execution did since its last entries were written."""
    events: tuple[Event, ...] = ()
    graph: GraphResult | None = None
    """What it came to as a walk through a graph."""


class DeadLetterKind(StrEnum):
    OUTBOUND = "outbound"
    """An answer that could not be sent (or may have been: reason `ambiguous`)."""
    INBOUND = "inbound"
    """A message whose execution cannot be finished, whatever is tried."""


@value(frozen=True, slots=True)
class DeadLetter:
    """Something that was given up, from where an operator may try it again."""

    id: str
    kind: DeadLetterKind
    message_id: str
    reference: str
    """The outbox row or the execution."""
    channel: str
    reason: str
    time: float
    retried: float = 0.0
    """When an operator asked for another try; 0 while nobody did."""


@value(frozen=True, slots=True)
class LedgerRecord:
    """The story of one message."""

    message_id: str
    state: LedgerState
    rule: str
    agent: str
    session_id: str
    execution_id: str
    inbound: Inbound
    created: float
    updated: float
    steps: tuple[Step, ...] = ()


@value(frozen=True, slots=True)
class AuditRecord:
    """Who did what and what was decided; append-only."""

    time: float
    principal: str
    action: str
    subject: str
    decision: str
    detail: str = ""


class StoreHealth(StrEnum):
    OK = "ok"
    FULL = "full"
    """No space: writes are refused, reads work; it recovers by itself."""
    FAILED = "failed"
    """Durability cannot be promised any more; only a restart helps."""
    CLOSED = "closed"

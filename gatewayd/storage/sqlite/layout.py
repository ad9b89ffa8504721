"""The live tables' columns, and the statuses as values."""

from typing import NamedTuple

from gatewayd.storage.sqlite.live import Table


class ExecutionStatus(NamedTuple):
    state: str
    reason: str
    attempts: int
    output: str
    error: str
    started: float
    finished: float


class StoryStatus(NamedTuple):
    state: str
    outcome: str
    """The state that the last sent piece will give; '' when none was named."""
    unsent: int
    """Pieces that are not sent yet."""
    updated: float
    steps: str


class PieceStatus(NamedTuple):
    state: str
    attempts: int
    next_time: float
    platform_id: str
    reason: str


class SessionStatus(NamedTuple):
    agent: str
    channel: str
    rule: str
    last_active: float
    ended: float
    end_reason: str
    messages: int
    bytes: int
    next_place: int


LIVE = "(state = 'queued' OR state = 'running' OR state = 'paused' OR state = 'input_required')"
"""Executions that are not in a terminal state, in the words of their partial index."""
ENDED = "(state = 'succeeded' OR state = 'failed' OR state = 'cancelled')"
"""Those that are, likewise."""
PENDING = "state IN ('queued', 'sending')"
"""Outbox rows that wait to be sent, in the words of their partial index."""
_ENDED = {"succeeded", "failed", "cancelled"}

EXECUTIONS = Table(
    "executions",
    fixed=(
        "id",
        "message_id",
        "session_id",
        "agent",
        "principal",
        "origin",
        "text",
        "reply_kind",
        "reply_channel",
        "reply_chat",
        "reply_thread",
        "reply_quote",
        "reply_client",
        "stream_id",
        "correlation_id",
        "idempotency_key",
        "created",
    ),
    link="message_id",
    status=ExecutionStatus._make,
    columns=ExecutionStatus._fields,
    final=lambda status: status.state in _ENDED,
)
LEDGER = Table(
    "ledger",
    fixed=(
        "message_id",
        "rule",
        "agent",
        "session_id",
        "execution_id",
        "origin",
        "principal",
        "channel",
        "created",
    ),
    link="execution_id",
    status=StoryStatus._make,
    columns=StoryStatus._fields,
    final=lambda status: status.state not in ("queued", "executed"),
)
OUTBOX = Table(
    "outbox",
    fixed=(
        "id",
        "key",
        "channel",
        "chat",
        "thread",
        "quote",
        "text",
        "message_id",
        "execution_id",
        "created",
    ),
    link="message_id",
    status=PieceStatus._make,
    columns=PieceStatus._fields,
    final=lambda status: status.state in ("sent", "dead"),
)
SESSIONS = Table(
    "sessions",
    fixed=("id", "key", "principal", "created"),
    link="key",
    status=SessionStatus._make,
    columns=SessionStatus._fields,
    final=lambda status: status.ended != 0,
)

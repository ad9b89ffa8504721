"""Events: immutable facts in the past tense, and the cursor that says how far a reader has come.

`catalogue.py` says for each type who may emit it, whether it is durable and which keys its data has.
"""

from collections.abc import Callable, Mapping
from dataclasses import field
from enum import IntEnum
from operator import attrgetter
from typing import Any

from gatewayd.core.errors import InvalidArgument
from gatewayd.core.value import value


class EventType(IntEnum):
    """All types; the numbers are those of `gateway.v1.EventType` and never change."""

    MESSAGE = 1
    CONNECT = 2
    DISCONNECT = 3
    ERROR = 4
    HEARTBEAT = 5
    BROADCAST = 6
    EXECUTION_QUEUED = 10
    EXECUTION_STARTED = 11
    EXECUTION_COMPLETED = 12
    EXECUTION_FAILED = 13
    EXECUTION_PAUSED = 14
    EXECUTION_RESUMED = 15
    EXECUTION_CANCELLED = 16
    EXECUTION_INTERRUPTED = 17
    STATE_CHANGED = 20
    STATE_CONFLICT = 21
    GOAL_PROGRESS = 25
    GOAL_ACHIEVED = 26
    CONSTRAINT_VIOLATION = 27
    STREAM_STARTED = 30
    STREAM_STOPPED = 31
    NODE_LOOP_STARTED = 35
    NODE_LOOP_ITERATION = 36
    NODE_LOOP_COMPLETED = 37
    NODE_INTERNAL_OUTPUT = 38
    NODE_INPUT_BLOCKED = 39
    NODE_STALLED = 40
    LLM_TEXT_DELTA = 45
    LLM_REASONING_DELTA = 46
    TOOL_CALL_STARTED = 50
    TOOL_CALL_COMPLETED = 51
    CLIENT_OUTPUT_DELTA = 55
    CLIENT_INPUT_REQUESTED = 56
    WEBHOOK_RECEIVED = 60
    CHANNEL_STATE_CHANGED = 61
    SESSION_STARTED = 62
    SESSION_ENDED = 63
    SCHEDULE_FIRED = 64
    SCHEDULE_SKIPPED = 65
    CONFIG_RELOADED = 66
    CONFIG_REJECTED = 67
    PRESENCE_JOIN = 70
    PRESENCE_LEAVE = 71
    PRESENCE_UPDATE = 72
    GUARDRAIL_BLOCKED = 75
    BUDGET_EXCEEDED = 76
    CUSTOM = 100

    @property
    def label(self) -> str:
        """The name outside the proto: in YAML, on the command line, in JSON and in metric labels."""
        return self.name.lower()

    @classmethod
    def from_label(cls, label: str) -> "EventType":
        """The type of that lower-case name, or `InvalidArgument`."""
        try:
            return cls[label.upper()]
        except KeyError:
            raise InvalidArgument(f"unknown event type {label!r}") from None


@value(frozen=True, slots=True, order=True)
class Cursor:
    """A place in the event log: everything up to and including `seq` has been seen.

    `epoch` names the log; it changes only when history was lost or restored, not at a restart. Its text form
    (`EPOCH:SEQ`) is opaque to clients.
    """

    epoch: str
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}:{self.seq}"

    @classmethod
    def parse(cls, text: str) -> "Cursor":
        """Read the text form, or raise `InvalidArgument`."""
        epoch, colon, digits = text.rpartition(":")
        if not colon or not epoch or not (digits.isascii() and digits.isdigit()) or len(digits) > 18 or len(epoch) > 80:
            raise InvalidArgument(f"cursor {text[:80]!r} is not one that this gateway gave out")
        return cls(epoch, int(digits))


@value(frozen=True, slots=True)
class Event:
    """One fact.

    `data` holds the keys that the catalogue fixes for the type. An event that came over the wire carries its
    checked bytes in `wire` instead and its data is decoded only if somebody asks (`gatewayd.wire.data_of`).
    Only durable events that the store has committed have an `epoch` and a `seq`.
    """

    id: str
    type: EventType
    source: str
    stream_id: str
    time: float
    data: Mapping[str, Any] = field(default_factory=dict)
    target: str = ""
    node_id: str = ""
    execution_id: str = ""
    session_id: str = ""
    correlation_id: str = ""
    topic: str = ""
    custom_type: str = ""
    durable: bool = True
    owner: str = ""
    """The principal whose session this event belongs to; '' for events of nobody's session. Never on the wire."""
    epoch: str = ""
    seq: int = 0
    wire: bytes = field(default=b"", repr=False, compare=False)
    """The public encoding without `epoch` and `seq`; filled only by `gatewayd.wire`."""

    def stamped(self, epoch: str, seq: int) -> "Event":
        """The same event at its place in the log."""
        return _again(self, epoch, seq, self.wire)

    def encoded(self, wire: bytes) -> "Event":
        """The same event with its encoding."""
        return _again(self, self.epoch, self.seq, wire)

    @property
    def cursor(self) -> Cursor | None:
        """Its place in the log; None for an ephemeral event."""
        return Cursor(self.epoch, self.seq) if self.seq else None


_said = attrgetter(*Event.__match_args__[:-3])
"""All but `epoch`, `seq` and `wire`, which stand last."""
_made: Callable[..., Event] = Event


def _again(event: Event, epoch: str, seq: int, wire: bytes) -> Event:
    """What `dataclasses.replace` would make, in a third of the time."""
    return _made(*_said(event), epoch, seq, wire)

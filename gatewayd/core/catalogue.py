"""The event catalogue: one row per type.

A test compares it with `proto/gateway/v1/event.proto` and with the reference page, so none can drift.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from gatewayd.core.event import EventType
from gatewayd.core.value import value


class Emitter(StrEnum):
    """Who may emit an event of a type."""

    SERVER = "server"
    WORKER = "worker"
    """A worker, for an execution that was assigned to it, and the server."""
    CLIENT = "client"
    """Any client whose scopes allow the type and topic, and the server."""


class Kind(StrEnum):
    """The kind of one value in `data`."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    STRUCT = "struct"
    """A JSON object."""
    VALUE = "value"
    """Any JSON value."""
    STRINGS = "strings"
    """A list of strings."""
    TIME = "time"
    """Seconds since the Unix epoch."""


@value(frozen=True, slots=True)
class Row:
    """What holds for every event of one type."""

    durable: bool
    emitter: Emitter
    data: Mapping[str, Kind]
    requires: tuple[str, ...] = ()
    """Envelope fields that must not be empty."""


_S, _I, _N, _B = Kind.STRING, Kind.INTEGER, Kind.NUMBER, Kind.BOOLEAN
_OBJ, _ANY, _LIST, _TIME = Kind.STRUCT, Kind.VALUE, Kind.STRINGS, Kind.TIME
_SERVER, _WORKER, _CLIENT = Emitter.SERVER, Emitter.WORKER, Emitter.CLIENT
_EXECUTION = ("execution_id",)
_NODE = ("execution_id", "node_id")


def _row(durable: bool, emitter: Emitter, requires: tuple[str, ...] = (), **data: Kind) -> Row:
    return Row(durable, emitter, MappingProxyType(data), requires)


CATALOGUE: Mapping[EventType, Row] = MappingProxyType(
    {
        EventType.MESSAGE: _row(True, _CLIENT, content=_S, parts=_OBJ, sender=_S, reply_to=_S),
        EventType.CONNECT: _row(True, _SERVER, client_id=_S, kind=_S, resumed=_B),
        EventType.DISCONNECT: _row(True, _SERVER, client_id=_S, reason=_S),
        EventType.ERROR: _row(True, _CLIENT, reason=_S, message=_S),
        EventType.HEARTBEAT: _row(False, _SERVER, interval=_N),
        EventType.BROADCAST: _row(False, _CLIENT, content=_S),
        EventType.EXECUTION_QUEUED: _row(True, _SERVER, _EXECUTION, reason=_S),
        EventType.EXECUTION_STARTED: _row(True, _SERVER, _EXECUTION, input=_OBJ),
        EventType.EXECUTION_COMPLETED: _row(True, _SERVER, _EXECUTION, output=_OBJ),
        EventType.EXECUTION_FAILED: _row(True, _SERVER, _EXECUTION, error=_S),
        EventType.EXECUTION_PAUSED: _row(True, _SERVER, _EXECUTION, reason=_S),
        EventType.EXECUTION_RESUMED: _row(True, _SERVER, _EXECUTION, reason=_S),
        EventType.EXECUTION_CANCELLED: _row(True, _SERVER, _EXECUTION, reason=_S),
        EventType.EXECUTION_INTERRUPTED: _row(
            True, _SERVER, _EXECUTION, reason=_S, checkpoint_id=_S, begun_calls=_LIST
        ),
        EventType.STATE_CHANGED: _row(True, _SERVER, key=_S, old_value=_ANY, new_value=_ANY, scope=_S),
        EventType.STATE_CONFLICT: _row(True, _SERVER, key=_S, expected_version=_I, actual_version=_I, scope=_S),
        EventType.GOAL_PROGRESS: _row(True, _SERVER, progress=_N, criteria_status=_OBJ),
        EventType.GOAL_ACHIEVED: _row(True, _SERVER, goal_id=_S, progress=_N),
        EventType.CONSTRAINT_VIOLATION: _row(True, _SERVER, constraint_id=_S, description=_S),
        EventType.STREAM_STARTED: _row(True, _SERVER, entry_point=_S),
        EventType.STREAM_STOPPED: _row(True, _SERVER, entry_point=_S, reason=_S),
        EventType.NODE_LOOP_STARTED: _row(True, _WORKER, _NODE, max_iterations=_I),
        EventType.NODE_LOOP_ITERATION: _row(True, _WORKER, _NODE, iteration=_I),
        EventType.NODE_LOOP_COMPLETED: _row(True, _WORKER, _NODE, iterations=_I),
        EventType.NODE_INTERNAL_OUTPUT: _row(False, _WORKER, _NODE, content=_S),
        EventType.NODE_INPUT_BLOCKED: _row(True, _WORKER, _NODE, prompt=_S),
        EventType.NODE_STALLED: _row(True, _WORKER, _NODE, reason=_S),
        EventType.LLM_TEXT_DELTA: _row(False, _WORKER, _EXECUTION, content=_S, offset=_I, snapshot=_S),
        EventType.LLM_REASONING_DELTA: _row(False, _WORKER, _EXECUTION, content=_S),
        EventType.TOOL_CALL_STARTED: _row(True, _WORKER, _EXECUTION, tool_use_id=_S, tool_name=_S, tool_input=_OBJ),
        EventType.TOOL_CALL_COMPLETED: _row(
            True, _WORKER, _EXECUTION, tool_use_id=_S, tool_name=_S, result=_S, is_error=_B
        ),
        EventType.CLIENT_OUTPUT_DELTA: _row(False, _WORKER, _EXECUTION, content=_S, offset=_I, snapshot=_S),
        EventType.CLIENT_INPUT_REQUESTED: _row(True, _WORKER, _EXECUTION, prompt=_S),
        EventType.WEBHOOK_RECEIVED: _row(
            True, _SERVER, path=_S, method=_S, headers=_OBJ, payload=_ANY, query_params=_OBJ
        ),
        EventType.CHANNEL_STATE_CHANGED: _row(True, _SERVER, channel=_S, old=_S, new=_S, reason=_S, retry_time=_TIME),
        EventType.SESSION_STARTED: _row(True, _SERVER, session_id=_S, agent=_S, reason=_S),
        EventType.SESSION_ENDED: _row(True, _SERVER, session_id=_S, agent=_S, reason=_S),
        EventType.SCHEDULE_FIRED: _row(True, _SERVER, schedule_id=_S, instant=_TIME, reason=_S),
        EventType.SCHEDULE_SKIPPED: _row(True, _SERVER, schedule_id=_S, instant=_TIME, reason=_S),
        EventType.CONFIG_RELOADED: _row(True, _SERVER, digest=_S, changed=_LIST, violations=_LIST),
        EventType.CONFIG_REJECTED: _row(True, _SERVER, digest=_S, changed=_LIST, violations=_LIST),
        EventType.PRESENCE_JOIN: _row(False, _SERVER, topic=_S, client_id=_S, status=_S, metadata=_OBJ),
        EventType.PRESENCE_LEAVE: _row(False, _SERVER, topic=_S, client_id=_S, status=_S, metadata=_OBJ),
        EventType.PRESENCE_UPDATE: _row(False, _SERVER, topic=_S, client_id=_S, status=_S, metadata=_OBJ),
        EventType.GUARDRAIL_BLOCKED: _row(True, _SERVER, guardrail_id=_S, stage=_S),
        EventType.BUDGET_EXCEEDED: _row(True, _SERVER, budget=_S, limit=_N, used=_N),
        EventType.CUSTOM: _row(True, _CLIENT, ("custom_type",)),
    }
)
"""`custom` has free data (a JSON object, or bytes with a content type) and is durable unless its publisher says not."""

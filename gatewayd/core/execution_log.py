"""The log of an execution: what it did, in order, for whoever looks at it."""

from enum import StrEnum
from typing import Final

from gatewayd.core.value import value

MAX_ENTRIES: Final = 500
"""Entries that one execution keeps; the oldest go first."""
MAX_TEXT: Final = 200
"""Longest text of an entry, in characters; the rest is cut off."""


class LogKind(StrEnum):
    """What an entry tells of."""

    STEP = "step"
    """A model was called, or an agent took a step of its own kind."""
    TOOL_STARTED = "tool_started"
    TOOL_COMPLETED = "tool_completed"
    TOOL_FAILED = "tool_failed"
    CHECKPOINT = "checkpoint"
    LEFT = "left"
    """It was paused, or waits for input."""
    CAME_BACK = "came_back"
    """Another run goes on."""


@value(frozen=True, slots=True)
class LogEntry:
    """One line."""

    time: float
    kind: LogKind
    text: str
    """What was called, or why; never what was said to or by anybody."""
    node_id: str = ""
    input_tokens: int = 0
    """With `STEP`, as far as the provider counts them; else 0."""
    output_tokens: int = 0

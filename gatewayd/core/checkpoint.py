"""Checkpoints: what an execution goes on from after a pause, a wait for input, or a crash."""

import json
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum
from typing import Any

from gatewayd.core.errors import InvalidArgument, LimitExceeded
from gatewayd.core.value import value

MAX_STATE = 16 * 1024 * 1024
"""Largest state of a checkpoint, in bytes of JSON."""
MAX_INPUT = 64 * 1024
"""Longest input that is given to a node that waits, in bytes of UTF-8."""


MAX_QUESTIONS = 500
"""What one execution may ask in a chat."""
MAX_BEGUN = 1000
"""Tool calls of one execution that workers may have told the begin of and not the end."""


class CheckpointKind(StrEnum):
    """Where in its work the execution was."""

    START = "start"
    """Before a step."""
    COMPLETE = "complete"
    """Behind a step."""
    WAIT = "wait"
    """At a node that waits for input."""
    GIVEN = "given"
    """Before its beginning: whoever triggered it gave it a state to go on from."""


@value(frozen=True, slots=True)
class Checkpoint:
    """One checkpoint of one execution."""

    id: str
    """Unique."""
    execution_id: str
    node_id: str
    kind: CheckpointKind
    state: str
    """The agent's own state, a JSON object."""
    output: str
    """The text that had been put out."""
    created: float
    prompt: str = ""
    """What a node that waits asks for; of one that found no worker, what its chat was told."""


@value(frozen=True, slots=True)
class BegunCall:
    """A tool call that has begun and whose result is not on disk."""

    execution_id: str
    call_id: str
    tool: str
    time: float

    def __str__(self) -> str:
        return f"{self.tool} ({self.call_id})"


@value(frozen=True, slots=True)
class Question:
    """What an execution that waits has asked in its chat."""

    execution_id: str
    node_id: str
    """'' for an agent without nodes."""
    prompt: str
    asked: float
    answer: str = ""
    message_id: str = ""
    """The message that was the answer; '' where the input was given by other means."""
    answered: float = 0.0
    """0 while it is open."""


@value(frozen=True, slots=True)
class Restart:
    """What the next run of an execution begins with."""

    checkpoint: Checkpoint | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    """By node, what was said since the checkpoint."""
    begun: tuple[BegunCall, ...] = ()
    """Tool calls that were cut off, oldest first."""


def state_text(state: Mapping[str, Any]) -> str:
    """The state as it is kept; `InvalidArgument` for what is no JSON object, `LimitExceeded` for too large a one."""
    if not isinstance(state, Mapping):
        raise InvalidArgument("the state of a checkpoint is not a mapping")
    try:
        text = json.dumps(dict(state), ensure_ascii=False, allow_nan=False)
        size = len(text.encode())
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidArgument(f"the state of a checkpoint is not JSON: {error}") from None
    if size > MAX_STATE:
        raise LimitExceeded(
            f"the state of a checkpoint is {size} bytes large; at most {MAX_STATE} are kept",
            metadata={"limit": "checkpoint_bytes"},
        )
    return text

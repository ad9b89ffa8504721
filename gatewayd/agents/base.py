"""The contract of an agent: a turn goes in, outputs come out, and what they say is the answer.

**Answer.** The answer is all the text that was put out, in order: what streams to a reader and what is sent in the end
are the same. It has at most `MAX_ANSWER` bytes; what would make it longer fails the turn. Other outputs tell of the
work (reasoning, tool calls) and become events.

**Life.** One `run()` is one turn of one session; turns of different sessions run at once. A run may be cancelled at any
await; it must let `CancelledError` pass. Its deadline is the runtime's business, not its own.

**Failure.** Raise `AgentFailed` with a sentence that may be shown to the user; any other exception is a bug, of which
the user is told only that it happened. Text that was put out before a failure is kept as a partial answer and marked.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Protocol

from gatewayd.agents.emitting import Emits
from gatewayd.agents.goal import AgentGoal
from gatewayd.agents.messages import Sends
from gatewayd.agents.state import AgentState
from gatewayd.core.clock import Clock
from gatewayd.core.value import value
from gatewayd.storage.records import HistoryEntry

__all__ = [
    "Agent",
    "AgentContext",
    "AgentFailed",
    "Output",
    "ReasoningOutput",
    "TextOutput",
    "ToolCompleted",
    "ToolStarted",
    "Turn",
]


MAX_ANSWER = 2 * 1024 * 1024
"""Longest answer, in bytes of UTF-8: with room to spare it fits into one message of gRPC, whose clients take 4 MiB."""


class AgentFailed(Exception):
    """The turn cannot be finished. The text is fit to be shown to the user; `cause` is for the log."""

    def __init__(self, message: str, *, cause: str = "") -> None:
        super().__init__(message)
        self.cause = cause or message


@value(frozen=True, slots=True)
class Turn:
    """What an agent is asked, and in which conversation."""

    text: str
    session_id: str
    principal: str
    channel: str = ""
    peer_name: str = ""
    history: Sequence[HistoryEntry] = ()
    """The conversation before this turn, oldest first, within the session's bounds."""
    topic: str = ""
    """What the message was published about, as `TYPE/SOURCE`; then nobody waits for the answer."""
    sender: str = ""
    """The agent that sent or published it, as `AGENT/KEY`; '' if no agent did."""
    data_type: str = ""
    """The type of the message, where `text` is the JSON of an object; '' for text."""


@value(frozen=True, slots=True)
class TextOutput:
    content: str


@value(frozen=True, slots=True)
class ReasoningOutput:
    content: str


@value(frozen=True, slots=True)
class ToolStarted:
    tool_use_id: str
    tool_name: str
    tool_input: dict[str, Any]


@value(frozen=True, slots=True)
class ToolCompleted:
    tool_use_id: str
    tool_name: str
    result: str
    is_error: bool


Output = TextOutput | ReasoningOutput | ToolStarted | ToolCompleted


class AgentContext(Emits, Sends, Protocol):
    """What an agent may use while it runs: `emit_*` tells of its work, `send` and `publish` speak to other agents."""

    @property
    def execution_id(self) -> str: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def state(self) -> AgentState:
        """What executions have in common; see `agents.state`."""
        ...

    @property
    def goal(self) -> AgentGoal | None:
        """What the entry point of this execution is to reach; None without a goal. See `agents.goal`."""
        ...

    def take_steering(self) -> Sequence[str]:
        """Messages that arrived for this session meanwhile and are to be answered within this turn.

        Only in busy mode `steer`, and only to be called where the agent can still take them in: what was taken counts
        as answered by this turn.
        """
        ...


class Agent(Protocol):
    """Something that answers."""

    def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        """Answer one turn. See the module's docstring."""
        ...

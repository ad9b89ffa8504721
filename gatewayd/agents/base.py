"""The contract of an agent: a turn goes in, outputs come out, and what they say is the answer.

**Answer.** The answer is all the text that was put out, in order: what streams to a reader and what is sent in the end
are the same. It has at most `MAX_ANSWER` bytes; what would make it longer fails the turn. Other outputs tell of the
work (reasoning, tool calls) and become events.

**Life.** One `run()` is one turn of one session; turns of different sessions run at once. A run may be cancelled at any
await; it must let `CancelledError` pass. Its deadline is the runtime's business, not its own.

**Leaving and coming back.** A run may end in the middle and another one go on in its place: after a pause, after
waiting for input, after a crash. What it goes on from is its last checkpoint: `ctx.checkpoint(state)` puts it on disk,
and the next run finds it in `ctx.resumed`. The text that was put out before comes back by itself and is not put out
again. A run without checkpoints begins anew. Between two checkpoints nothing can pause it.

**Failure.** Raise `AgentFailed` with a sentence that may be shown to the user; any other exception is a bug, of which
the user is told only that it happened. Text that was put out before a failure is kept as a partial answer and marked.
"""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, NoReturn, Protocol

from gatewayd.agents.emitting import Emits
from gatewayd.agents.goal import AgentGoal
from gatewayd.agents.messages import Sends
from gatewayd.agents.state import AgentState
from gatewayd.core.clock import Clock
from gatewayd.core.graph_result import GraphResult
from gatewayd.core.value import value
from gatewayd.storage.records import HistoryEntry

__all__ = [
    "Agent",
    "AgentContext",
    "AgentFailed",
    "GraphOutput",
    "Output",
    "ReasoningOutput",
    "Suspended",
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


class Suspended(BaseException):
    """This run ends here, and another one goes on from its last checkpoint. An agent lets it pass."""


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
    call_scope: str = ""
    """Tells equal tool calls of several turns of one execution apart: which step of a graph this is, '' outside."""


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
    node_id: str = ""
    """The node of a graph that calls it, which the graph fills in."""


@value(frozen=True, slots=True)
class ToolCompleted:
    tool_use_id: str
    tool_name: str
    result: str
    is_error: bool
    node_id: str = ""


@value(frozen=True, slots=True)
class GraphOutput:
    """How far a walk through a graph has come; the last one counts. For graphs alone."""

    result: GraphResult


Output = TextOutput | ReasoningOutput | ToolStarted | ToolCompleted | GraphOutput


class AgentContext(Emits, Sends, Protocol):
    """What an agent may use while it runs: `emit_*` tells of its work, `send` and `publish` speak to other agents."""

    @property
    def execution_id(self) -> str: ...

    @property
    def clock(self) -> Clock: ...

    @property
    def trace(self) -> str:
        """The `traceparent` of W3C Trace Context for what this run causes elsewhere; '' without a trace."""
        ...

    @property
    def state(self) -> AgentState:
        """What executions have in common; see `agents.state`."""
        ...

    @property
    def goal(self) -> AgentGoal | None:
        """What the entry point of this execution is to reach; None without a goal. See `agents.goal`."""
        ...

    @property
    def deadline(self) -> float | None:
        """When this run is cut off, by the monotonic clock; None for never."""
        ...

    @property
    def resumed(self) -> Mapping[str, Any] | None:
        """What the execution's last checkpoint holds; None where it begins.

        An execution that was triggered with a session state begins with `{"memory": {...}, "paused_at": NODE_ID}`.
        """
        ...

    @property
    def inputs(self) -> Mapping[str, str]:
        """What people said since the last checkpoint, by the node that waited for it ('' for an agent without nodes).

        The next checkpoint takes them as read: what it needs of them belongs into its state.
        """
        ...

    async def checkpoint(
        self, state: Mapping[str, Any], *, node_id: str = "", at: Literal["start", "complete"] = "complete"
    ) -> None:
        """Keep the state, a JSON object, as what to go on from; it is on disk when this returns.

        One unit with the text that was put out and the tool calls that were told of before. Whether checkpoints `at`
        the start or completion of a step are written says `runtime.checkpoints`. It is also where a run can be paused:
        then it raises `Suspended`. Raises `InvalidArgument` for what is no JSON, `LimitExceeded` for too much of it.
        """
        ...

    async def wait_for_input(
        self, prompt: str, state: Mapping[str, Any], *, node_id: str = "", client_facing: bool = True
    ) -> NoReturn:
        """Keep the state and leave until somebody gives input to this node; raises `Suspended`.

        The run that goes on has `state` in `resumed` and the input in `inputs[node_id]`. The prompt is told by
        `client_input_requested`, or by `node_input_blocked` for a node that does not face the client, which has an id.
        """
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

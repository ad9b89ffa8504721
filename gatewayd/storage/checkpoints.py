"""What the store keeps for executions that leave in the middle and come back.

Part of the store's contract (`base.Store` derives from it). A checkpoint, what it takes as read, the state that the
execution goes into with it, and the events that tell of all that are one unit. Everything here goes when the execution
ends, but for its log, which `finish` adds to and which goes with its row.
"""

from asyncio import Future
from collections.abc import Awaitable, Sequence
from typing import Protocol

from gatewayd.core.checkpoint import BegunCall, Checkpoint, Question, Restart
from gatewayd.core.event import Event
from gatewayd.core.execution_log import LogEntry
from gatewayd.core.value import value
from gatewayd.core.work import Execution, ExecutionState
from gatewayd.storage.records import OutboxRow


@value(frozen=True, slots=True)
class CheckpointWrite:
    """One checkpoint and all that is written with it."""

    checkpoint: Checkpoint
    keep: int
    """Checkpoints of the execution that stay, this one included; older ones go. 0: all."""
    consumed: tuple[str, ...] = ()
    """Nodes whose input it takes as read."""
    completed: tuple[str, ...] = ()
    """Tool calls whose result is on disk with it, by their ids."""
    leaves_as: ExecutionState | None = None
    """With it the execution is PAUSED or INPUT_REQUIRED; None: it goes on."""
    reason: str = ""
    awaits: str = ""
    """The agent of which a worker has to come before it goes on; '' where it leaves for another reason."""
    log: tuple[LogEntry, ...] = ()
    """What the execution did since its last entries were written."""
    events: tuple[Event, ...] = ()
    question: Question | None = None
    """What is asked in the chat with it."""
    outbox: tuple[OutboxRow, ...] = ()
    """The same as messages to be sent."""


class CheckpointTables(Protocol):
    """See the module's docstring, and `storage.base` for what holds for every method.

    Raises `NotFound` and `ExecutionFinished` for an execution that is not kept, or has ended.
    """

    def save_checkpoint(self, write: CheckpointWrite) -> Future[None]:
        """Keep it. An execution that leaves with it has its attempts back, one that completed a step all but this."""
        ...

    def pause_queued(self, execution_id: str, reason: str, events: Sequence[Event]) -> Future[None]:
        """QUEUED → PAUSED; `NotPaused` in any other state."""
        ...

    def resume(self, execution_id: str, reason: str, events: Sequence[Event], *, awaiting: str = "") -> Future[None]:
        """PAUSED → QUEUED; `NotPaused` in any other state, and for one that waits for no worker of `awaiting`."""
        ...

    def stay_paused(self, execution_id: str, reason: str, events: Sequence[Event]) -> Future[None]:
        """PAUSED stays, but waits for no worker any more; `NotPaused` if it did not."""
        ...

    async def awaiting(self, agent: str, after: str, limit: int) -> list[Execution]:
        """Those that are PAUSED until a worker of the agent is there, with ids greater than `after`, oldest first."""
        ...

    def give_input(
        self, execution_id: str, node_id: str, content: str, time: float, events: Sequence[Event]
    ) -> Future[None]:
        """INPUT_REQUIRED → QUEUED, with input for the node that waits; `NotWaiting` if that node does not.

        What a chat message answers is given by `Store.accept`.
        """
        ...

    async def open_question(self, session_id: str) -> Question | None:
        """The last one that was asked in the session by what waits there still, and has no answer."""
        ...

    async def questions_of(self, execution_id: str) -> list[Question]:
        """What it has asked in its chat, oldest first; until it ends."""
        ...

    def begin_call(self, call: BegunCall, events: Sequence[Event]) -> Future[None]:
        """A tool is about to be called."""
        ...

    def complete_call(self, execution_id: str, call_id: str, events: Sequence[Event]) -> Awaitable[None]:
        """A tool has answered, and its result is among the events."""
        ...

    async def restart_of(self, execution_id: str) -> Restart:
        """What its next run begins with."""
        ...

    async def list_checkpoints(self, execution_id: str) -> list[Checkpoint]:
        """Those that are kept, oldest first; without their states and texts."""
        ...

    async def execution_log(self, execution_id: str) -> list[LogEntry]:
        """What is kept of its log, oldest first: the newest `MAX_ENTRIES`, for as long as the execution is kept."""
        ...

    async def overdue_suspended(self, before: float, limit: int) -> list[Execution]:
        """Executions that are PAUSED or INPUT_REQUIRED and whose last checkpoint (or, without one, they themselves)
        was made before that time, oldest first."""
        ...

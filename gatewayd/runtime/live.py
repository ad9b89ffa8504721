"""An execution while it lives in memory: its text so far, who listens, and who waits for its end."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from dataclasses import replace

from gatewayd.core.checkpoint import Question
from gatewayd.core.event import Event
from gatewayd.core.execution_log import MAX_ENTRIES, LogEntry
from gatewayd.core.graph_result import GraphResult
from gatewayd.core.value import value
from gatewayd.core.work import Execution, ExecutionState
from gatewayd.storage.records import OutboxRow, Ran

log = logging.getLogger("gatewayd.runtime")

PieceListener = Callable[[str, int], None]
"""Called with new text and its offset in characters; must not block or raise."""


@value(frozen=True, slots=True)
class Outcome:
    """How an execution ended."""

    state: ExecutionState
    output: str = ""
    error: str = ""
    """Fit to be shown to the user."""
    reason: str = ""


class LiveExecution:
    """One execution between its acceptance and its end. All waiters always wake: `done` is resolved in every case."""

    def __init__(self, execution: Execution, *, steerable: bool = False) -> None:
        self.execution = execution
        self.steerable = steerable
        """Whether a running turn of the same session may take this message in."""
        self.state = execution.state
        self.task: asyncio.Task[None] | None = None
        self.run = 0
        """Which run this is; a run with another number was left behind, and is heard no more."""
        self.cancel_reason = ""
        self.pause_reason = ""
        """Why it is to leave at its next checkpoint; '' while nobody wants that."""
        self.leaving: ExecutionState | None = None
        """What it leaves as; from here on this run does nothing more."""
        self.leaving_unit: asyncio.Future[None] | None = None
        """The unit by which it leaves; on disk when this is done without an error."""
        self.awaits = ""
        """The agent of which a worker has to come before it goes on by itself, once it has left."""
        self.asked: tuple[OutboxRow, ...] = ()
        """What it has asked in its chat by leaving."""
        self.question: Question | None = None
        """What it has asked its client by leaving, in a chat or not."""
        self._asking: asyncio.Future[Question] | None = None
        self.resuming = False
        """Whether there may be a checkpoint that it goes on from."""
        self.rests = asyncio.Event()
        """Set when it has left or ended."""
        self.held: list[tuple[str, Event]] = []
        """Results of tools with the ids of their calls:
        they are written with the next checkpoint, or what else comes."""
        self.begun = False
        """Whether its task has taken its first step; one that has not cannot be cancelled, it would never end."""
        self.graph: GraphResult | None = None
        """How far it has come, where a graph runs it."""
        self.ending = False
        """Whether its outcome is settled and being written: from here on nothing interrupts it."""
        self.absorbed: list[LiveExecution] = []
        self.ran: Ran | None = None
        """What its row says of its runs, once its end is on disk."""
        self.done: asyncio.Future[Outcome] = asyncio.get_running_loop().create_future()
        self.log: deque[LogEntry] = deque(maxlen=MAX_ENTRIES)
        """What it did, as far as that is not on disk."""
        self._pieces: list[str] = []
        self._length = 0
        self.size = 0
        """Bytes of its text, in UTF-8."""
        self._listeners: list[PieceListener] = []

    @property
    def text(self) -> str:
        """What was put out so far."""
        return "".join(self._pieces)

    @property
    def length(self) -> int:
        return self._length

    def failed(self, error: str, reason: str = "") -> Outcome:
        """It ends here, with what was put out as a partial answer."""
        return Outcome(ExecutionState.FAILED, output=self.text, error=error, reason=reason)

    def crashed(self) -> Outcome:
        """It ends here, by a defect of its agent; called while the error is handled, which goes to the log."""
        log.exception("agent_crashed", extra={"execution": self.execution.id, "agent": self.execution.agent})
        return self.failed(f"Something went wrong inside the gateway (execution {self.execution.id}).")

    def ended(self, outcome: Outcome) -> Execution | None:
        """The execution as the store has it after that end; None where only the store knows."""
        ran = self.ran
        if ran is None:
            return None
        return replace(
            self.execution,
            state=outcome.state,
            reason=outcome.reason,
            attempts=ran.attempts,
            output=outcome.output,
            error=outcome.error,
            started=ran.started,
            finished=ran.finished,
        )

    def cancelled(self) -> Outcome:
        """It ends here, for `cancel_reason`."""
        return Outcome(ExecutionState.CANCELLED, output=self.text, reason=self.cancel_reason)

    def take_held(self) -> list[tuple[str, Event]]:
        """What is held, to be written now."""
        held, self.held = self.held, []
        return held

    def take_asked(self) -> tuple[OutboxRow, ...]:
        """What was asked in the chat, and is on disk, to be sent now."""
        asked, self.asked = self.asked, ()
        return asked

    def asks(self) -> asyncio.Future[Question]:
        """Done when it rests and has asked its client for input; now, if it does so now. It may never be."""
        if self._asking is None or (self._asking.done() and self.question is None):
            self._asking = asyncio.get_running_loop().create_future()
            if self.state is ExecutionState.INPUT_REQUIRED:
                self.tell_question()
        return self._asking

    def tell_question(self) -> None:
        """It rests now: wake who waits for what it asks."""
        if self.question is not None and self._asking is not None and not self._asking.done():
            self._asking.set_result(self.question)

    def restore(self, text: str) -> None:
        """Begin with the text that was put out before; who listens has heard it."""
        self._pieces, self._length, self.size = [text], len(text), len(text.encode(errors="replace"))

    def come_back(self) -> None:
        """Be queued once more, for another run."""
        self.state = ExecutionState.QUEUED
        self.task, self.leaving, self.pause_reason, self.question = None, None, "", None
        self.begun, self.awaits = False, ""
        self.resuming = True
        self.steerable = False  # what it goes on from is its own
        self.rests = asyncio.Event()

    def cancel_as(self, reason: str) -> Outcome:
        """It ends here, for that reason."""
        self.cancel_reason = reason
        return self.cancelled()

    def put(self, piece: str) -> None:
        """Add text and tell who listens."""
        offset = self._length
        self._pieces.append(piece)
        self._length += len(piece)
        self.size += len(piece.encode(errors="replace"))
        for listener in list(self._listeners):
            listener(piece, offset)

    def listen(self, listener: PieceListener) -> None:
        """Hear all text, from the beginning: what was put out already comes at once."""
        if self._length:
            listener(self.text, 0)
        self._listeners.append(listener)

    def unlisten(self, listener: PieceListener) -> None:
        """Hear no more; harmless if it never listened."""
        if listener in self._listeners:
            self._listeners.remove(listener)

    def resolve(self, outcome: Outcome) -> None:
        """Wake every waiter, also those of the messages that were answered within this turn."""
        self.state = outcome.state
        self._listeners.clear()
        for one in (self, *self.absorbed):
            one.rests.set()
            if not one.done.done():
                one.done.set_result(outcome)

"""How an execution's end is written: the answer, what the user is told, the history, the stories, the events.

Pure: from an execution and its outcome to one `Finish`, the same for live and for recovered executions.
"""

from collections.abc import Callable, Sequence

from gatewayd.channels.text import split
from gatewayd.config.model import GatewayConfig
from gatewayd.core.checkpoint import Question
from gatewayd.core.event import Event, EventType
from gatewayd.core.ids import IdSource
from gatewayd.core.message import ReplyKind, ReplyTo
from gatewayd.core.work import Execution, ExecutionState, LedgerState
from gatewayd.ledger import story_end
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.live import LiveExecution, Outcome
from gatewayd.storage.records import DeadLetter, DeadLetterKind, Finish, HistoryEntry, LedgerChange, OutboxRow, Step

ASKED = "Please say how to go on."
"""What a chat is asked by an agent that waits without words."""
_EVENTS = {
    ExecutionState.SUCCEEDED: EventType.EXECUTION_COMPLETED,
    ExecutionState.FAILED: EventType.EXECUTION_FAILED,
    ExecutionState.CANCELLED: EventType.EXECUTION_CANCELLED,
}


class Endings:
    """Writes ends. `max_length` gives the longest message of a channel, in characters."""

    def __init__(self, *, ids: IdSource, events: ExecutionEvents, max_length: Callable[[str], int]) -> None:
        self._ids = ids
        self._events = events
        self._max_length = max_length

    def finish(
        self,
        config: GatewayConfig,
        live: LiveExecution,
        outcome: Outcome,
        now: float,
        questions: Sequence[Question] = (),
    ) -> Finish:
        """The unit that ends an execution, and the messages that its turn took in or that answered its questions."""
        execution = live.execution
        absorbed = tuple(one.execution for one in live.absorbed)
        outbox = self.rows(execution.reply_to, execution.message_id, execution.id, told(outcome), now)
        bounds = config.gateway.session_config
        poison = execution.reply_to.kind is ReplyKind.TOPIC and outcome.state is ExecutionState.FAILED
        return Finish(
            execution_id=execution.id,
            state=outcome.state,
            finished=now,
            output=outcome.output,
            error=outcome.error,
            reason=outcome.reason,
            absorbed=tuple(one.id for one in absorbed),
            session_id=execution.session_id,
            turn=turn(execution, absorbed, outcome, now, questions) if bounds.persist else (),
            history_max_messages=bounds.max_messages,
            history_max_bytes=bounds.max_bytes,
            outbox=outbox,
            ledger=_dead(execution, outcome.error, now)
            if poison
            else _stories(execution, absorbed, outcome, now, questions, sends=bool(outbox)),
            dead_letters=(self._letter(execution, outcome.error, now),) if poison else (),
            log=tuple(live.log),
            events=self._tell(execution, absorbed, outcome),
            graph=live.graph,
        )

    def give_up(self, execution: Execution, why: str, now: float, questions: Sequence[Question] = ()) -> Finish:
        """The unit that ends an execution which cannot be finished, whatever is tried."""
        outcome = Outcome(ExecutionState.FAILED, error=why, reason="dead-lettered")
        return Finish(
            execution_id=execution.id,
            state=outcome.state,
            finished=now,
            error=why,
            reason=outcome.reason,
            ledger=(*_dead(execution, why, now), *_answers(execution, questions, LedgerState.DEAD_LETTERED, now)),
            dead_letters=(self._letter(execution, why, now),),
            events=self._tell(execution, (), outcome),
        )

    def _letter(self, execution: Execution, why: str, now: float) -> DeadLetter:
        channel = execution.reply_to.channel
        return DeadLetter(
            self._ids.new(), DeadLetterKind.INBOUND, execution.message_id, execution.id, channel, why, now
        )

    def prompt(self, execution: Execution, prompt: str, now: float) -> tuple[OutboxRow, ...]:
        """What an execution asks in its chat; nothing for one that has none where it could be answered."""
        if not execution.session_id:
            return ()
        reply_to, text = execution.reply_to, prompt if prompt.strip() else ASKED
        return self.rows(reply_to, execution.message_id, execution.id, text, now, part=f"{self._ids.new()}/")

    def rows(
        self, reply_to: ReplyTo, message_id: str, execution_id: str, text: str, now: float, *, part: str = ""
    ) -> tuple[OutboxRow, ...]:
        """The text as outbox rows, cut to what the channel bears; nothing for a caller over gRPC.

        `part` tells what is said before the answer from that.
        """
        if reply_to.kind is not ReplyKind.CHANNEL or not text.strip():
            return ()
        return tuple(
            OutboxRow(
                id=self._ids.new(),
                key=f"{message_id}/{part}{number}",
                channel=reply_to.channel,
                chat=reply_to.chat,
                thread=reply_to.thread,
                quote=reply_to.quote if number == 0 else "",
                text=piece,
                message_id=message_id,
                execution_id=execution_id,
                created=now,
            )
            for number, piece in enumerate(split(text, self._max_length(reply_to.channel)))
        )

    def _tell(self, execution: Execution, absorbed: Sequence[Execution], outcome: Outcome) -> tuple[Event, ...]:
        kind = _EVENTS[outcome.state]
        data: dict[str, object] = {"output": {"text": outcome.output}}
        if outcome.state is ExecutionState.FAILED:
            data = {"error": outcome.error}
        elif outcome.state is ExecutionState.CANCELLED:
            data = {"reason": outcome.reason}
        return tuple(self._events.make(one, kind, data) for one in (execution, *absorbed))


def _dead(execution: Execution, why: str, now: float) -> tuple[LedgerChange, ...]:
    """The story of work that was given up, and waits for an operator."""
    return (LedgerChange(execution.message_id, LedgerState.DEAD_LETTERED, Step("dead_lettered", now, why)),)


def told(outcome: Outcome) -> str:
    """What the user of a chat reads."""
    if outcome.state is ExecutionState.CANCELLED:
        return ""
    if outcome.state is ExecutionState.FAILED:
        notice = f"Sorry, this did not work: {outcome.error}"
        return f"{outcome.output}\n\n{notice}" if outcome.output.strip() else notice
    return outcome.output


def turn(
    execution: Execution,
    absorbed: Sequence[Execution],
    outcome: Outcome,
    now: float,
    questions: Sequence[Question] = (),
) -> tuple[HistoryEntry, ...]:
    """What the session remembers of it: all that was said on the way, and the answer as far as it came."""
    asked = [HistoryEntry("user", one.text, one.created, one.id) for one in (execution, *absorbed)]
    for one in questions:
        asked.append(HistoryEntry("assistant", one.prompt or ASKED, one.asked, execution.id))
        if one.answered:
            asked.append(HistoryEntry("user", one.answer, one.answered, execution.id))
    if outcome.output:
        asked.append(HistoryEntry("assistant", outcome.output, now, execution.id))
    return tuple(asked)


def _stories(
    execution: Execution,
    absorbed: Sequence[Execution],
    outcome: Outcome,
    now: float,
    questions: Sequence[Question],
    *,
    sends: bool,
) -> tuple[LedgerChange, ...]:
    state, ends_as = story_end(outcome.state, has_text=bool(outcome.output.strip()), to_channel=sends)
    step = Step("executed", now, f"{outcome.state.value} {outcome.error or outcome.reason}".strip())
    changes = [LedgerChange(execution.message_id, state, step, ends_as)]
    for one in absorbed:
        within = Step("executed", now, f"answered within execution {execution.id}")
        changes.append(LedgerChange(one.message_id, ends_as or state, within))
    return (*changes, *_answers(execution, questions, ends_as or state, now))


def _answers(
    execution: Execution, questions: Sequence[Question], state: LedgerState, now: float
) -> tuple[LedgerChange, ...]:
    """The ends of the messages that were its input."""
    step = Step("executed", now, f"answered within execution {execution.id}")
    return tuple(LedgerChange(one.message_id, state, step) for one in questions if one.message_id)

"""Messages of the ledger, their stories, pieces of answers and dead letters → messages of `gateway.v1`."""

from collections.abc import Sequence

from gateway.v1 import message_pb2

from gatewayd.core.work import LedgerState, Origin
from gatewayd.rpc.convert import instant, origin
from gatewayd.storage.records import DeadLetterKind, LedgerRecord, OutboxRow, OutboxState, Step
from gatewayd.storage.views import OpenLetter
from gatewayd.wire.values import refuse, valid_text

PREVIEW = 80
"""Characters of a dead letter's text that a list shows."""

_STATE = {state: message_pb2.LedgerState.Value(f"LEDGER_STATE_{state.name}") for state in LedgerState}
_STATE_BACK = {value: state for state, value in _STATE.items()}
_STAGE = {
    "received": message_pb2.MESSAGE_STAGE_RECEIVED,
    "journaled": message_pb2.MESSAGE_STAGE_JOURNALED,
    "routed": message_pb2.MESSAGE_STAGE_ROUTED,
    "queued": message_pb2.MESSAGE_STAGE_QUEUED,
    "executed": message_pb2.MESSAGE_STAGE_EXECUTED,
    "sending": message_pb2.MESSAGE_STAGE_SENDING,
    "sent": message_pb2.MESSAGE_STAGE_SENT,
}
_OTHER_STAGES = {
    "retried": message_pb2.MESSAGE_STAGE_QUEUED,
    "refused": message_pb2.MESSAGE_STAGE_EXECUTED,
    "input": message_pb2.MESSAGE_STAGE_ROUTED,
    "command": message_pb2.MESSAGE_STAGE_EXECUTED,
}
"""Steps that the contract has no stage for: told as the nearest one, with their own name in `detail`."""
_PIECE = {
    OutboxState.QUEUED: message_pb2.OUTBOUND_STATE_PENDING,
    OutboxState.SENDING: message_pb2.OUTBOUND_STATE_SENDING,
    OutboxState.SENT: message_pb2.OUTBOUND_STATE_SENT,
    OutboxState.DEAD: message_pb2.OUTBOUND_STATE_DEAD,
}
_LETTER_REASON = {"rejected": "refused", "undeliverable": "exhausted"}
"""The outbox's word for why it gave up → the contract's."""


def ledger_states_of(value: int) -> tuple[LedgerState, ...]:
    """The states to look for; none for unspecified, which is any."""
    if value == message_pb2.LEDGER_STATE_UNSPECIFIED:
        return ()
    state = _STATE_BACK.get(message_pb2.LedgerState.ValueType(value))
    if state is None:
        raise refuse("state", f"{value} is no state of a message")
    return (state,)


def ledger_message(record: LedgerRecord, last: Step | None) -> message_pb2.Message:
    """A message as it stands; `last` is the newest step of its story."""
    inbound, chat = record.inbound, record.inbound.origin is Origin.CHAT
    return message_pb2.Message(
        id=record.message_id,
        state=_STATE[record.state],
        origin=origin(inbound.origin),
        channel=inbound.channel,
        # A client's journal row keeps its idempotency key and its client id where a chat's has the platform's ids.
        platform_id=inbound.platform_id if chat else "",
        chat=inbound.chat if chat else "",
        peer=inbound.peer if chat else inbound.chat or inbound.principal,
        principal=inbound.principal,
        rule=record.rule,
        agent=record.agent,
        session_id=record.session_id,
        execution_id=record.execution_id,
        receive_time=instant(inbound.received),
        end_time=instant(record.updated) if record.state.terminal else None,
        reason=_reason(record.state, last),
    )


def _reason(state: LedgerState, last: Step | None) -> str:
    """Why a story ended otherwise than with an answer; the last word on it."""
    if last is None or state in (LedgerState.QUEUED, LedgerState.EXECUTED, LedgerState.ANSWERED):
        return ""
    return valid_text(last.detail) if last.name != "sent" else ""


def story_steps(record: LedgerRecord) -> list[message_pb2.MessageStep]:
    """The steps in order; the end is told as a step of its own."""
    steps: list[message_pb2.MessageStep] = []
    before = None
    for step in record.steps:
        stage = _STAGE.get(step.name)
        detail = step.detail
        if stage is None:
            stage = _OTHER_STAGES.get(step.name, message_pb2.MESSAGE_STAGE_ENDED)
            detail = f"{step.name}: {step.detail}" if step.detail else step.name
        # Steps of one commit have one time.
        time = instant(step.time) if step.time != before else None
        steps.append(message_pb2.MessageStep(stage=stage, time=time, detail=valid_text(detail)))
        before = step.time
    if record.state.terminal and not (steps and steps[-1].stage == message_pb2.MESSAGE_STAGE_ENDED):
        time = instant(record.updated) if record.updated != before else None
        steps.append(
            message_pb2.MessageStep(stage=message_pb2.MESSAGE_STAGE_ENDED, time=time, detail=record.state.value)
        )
    return steps


def piece_message(row: OutboxRow, story: Sequence[Step]) -> message_pb2.OutboundPart:
    """One piece of an answer; `story` is that of its message, where the times of changes are kept."""
    return message_pb2.OutboundPart(
        id=row.id,
        channel=row.channel,
        chat=row.chat,
        state=_PIECE[row.state],
        attempts=row.attempts,
        platform_id=row.platform_id,
        update_time=instant(_changed(row, story)),
        error=valid_text(row.reason),
    )


def _changed(row: OutboxRow, story: Sequence[Step]) -> float:
    """When the piece came into its state, as far as that is kept: for one on its way, when it was made."""
    for step in reversed(story):
        sent = row.state is OutboxState.SENT and step.name == "sent" and step.detail == row.platform_id
        if sent or (row.state is OutboxState.DEAD and step.name in ("dead_lettered", "erased")):
            return step.time
    return row.created


def letter_message(opened: OpenLetter) -> message_pb2.DeadLetter:
    """A dead letter with what it is about."""
    letter = opened.letter
    word, _, error = letter.reason.partition(": ")
    if letter.kind is DeadLetterKind.INBOUND:
        word, error = "poison", letter.reason
    return message_pb2.DeadLetter(
        id=letter.id,
        message_id=letter.message_id,
        channel=letter.channel,
        chat=opened.chat,
        reason=_LETTER_REASON.get(word, word),
        error=valid_text(error),
        attempts=opened.attempts,
        create_time=instant(letter.time),
        preview=valid_text(opened.text[:PREVIEW]),
    )

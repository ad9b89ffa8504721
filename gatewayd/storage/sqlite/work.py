"""The intents that span tables: taking a message in, and ending its execution."""

from gatewayd.core.errors import IdConflict
from gatewayd.core.work import ExecutionState
from gatewayd.storage.records import Acceptance, Accepted, Finish, Ran
from gatewayd.storage.sqlite import (
    checkpoints,
    execution_log,
    executions,
    graph_results,
    ledger,
    letters,
    outbox,
    sessions,
)
from gatewayd.storage.sqlite.seen import Key
from gatewayd.storage.sqlite.tx import Tx


def seen_key(acceptance: Acceptance) -> Key:
    """Where the message's id is remembered; messages' ids and event ids of one principal do not know each other."""
    return message_key(acceptance.dedupe_scope, acceptance.dedupe_id)


def message_key(scope: str, dedupe_id: str) -> Key:
    return f"message {scope}", dedupe_id


def weight(acceptance: Acceptance) -> int:
    """Bytes that it holds while it waits, roughly."""
    given = len(acceptance.given.state) if acceptance.given is not None else 0
    return 2 * len(acceptance.inbound.text) + given + sum(len(event.wire) for event in acceptance.events)


def accept(tx: Tx, acceptance: Acceptance) -> Accepted:
    message_id = acceptance.inbound.message_id
    execution_id = acceptance.execution.id if acceptance.execution else ""
    if acceptance.answer is not None:
        execution_id = acceptance.answer.execution_id
    if acceptance.dedupe_id:
        key = seen_key(acceptance)
        first = tx.seen.get(key)
        if first is not None:
            first_digest, ref = first
            if acceptance.digest and first_digest and first_digest != acceptance.digest:
                raise IdConflict(f"id {acceptance.dedupe_id!r} was used before with other content")
            first_message, _, first_execution = ref.partition(" ")
            return Accepted(first_message, first_execution, duplicate=True)
    if (given := acceptance.answer) is not None:
        inbound = acceptance.inbound
        checkpoints.give_input(tx, execution_id, given.node_id, inbound.text, inbound.received, message_id=message_id)
    if acceptance.session is not None:
        sessions.put(tx, acceptance.session)
    ledger.begin(tx, acceptance)
    if acceptance.execution is not None:
        executions.insert(tx, acceptance.execution)
    if acceptance.given is not None:
        checkpoints.insert(tx, acceptance.given)
    if acceptance.session is not None and acceptance.remembered:
        sessions.add_turn(
            tx,
            acceptance.session.id,
            acceptance.remembered,
            acceptance.inbound.received,
            max_messages=acceptance.history_max_messages,
            max_bytes=acceptance.history_max_bytes,
        )
    if acceptance.outbox:
        outbox.insert(tx, acceptance.outbox)
    if acceptance.dedupe_id:
        ref = f"{message_id} {execution_id}"
        tx.seen.add((key,), (acceptance.digest,), (ref,), float(acceptance.inbound.received))
    tx.add_events(acceptance.events)
    return Accepted(message_id, execution_id, duplicate=False)


def finish(tx: Tx, end: Finish) -> Ran:
    old = executions.live(tx, end.execution_id)
    new = old._replace(
        state=str(end.state), reason=end.reason, output=end.output, error=end.error, finished=float(end.finished)
    )
    executions.save(tx, end.execution_id, old, new)
    checkpoints.forget_executions(tx, (end.execution_id,))
    execution_log.add(tx, end.execution_id, end.log)
    if end.graph is not None:
        graph_results.save(tx, end.execution_id, end.graph)
    for absorbed in end.absorbed:
        other = tx.executions.find(absorbed)
        if other is None or ExecutionState(other.state).terminal:
            continue
        ended = other._replace(state=str(ExecutionState.SUCCEEDED), reason="absorbed", finished=float(end.finished))
        executions.save(tx, absorbed, other, ended)
    if end.session_id:
        sessions.add_turn(
            tx,
            end.session_id,
            end.turn,
            end.finished,
            max_messages=end.history_max_messages,
            max_bytes=end.history_max_bytes,
        )
    if end.outbox:
        outbox.insert(tx, end.outbox)
    for change in end.ledger:
        ledger.change(tx, change)
    for letter in end.dead_letters:
        letters.insert(tx, letter)
    tx.add_events(end.events)
    return Ran(new.attempts, new.started, new.finished)

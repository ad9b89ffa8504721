"""Checkpoints, input that waits for its execution, and tool calls that have begun."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from gatewayd.core.checkpoint import MAX_BEGUN, BegunCall, Checkpoint, CheckpointKind, Restart
from gatewayd.core.errors import LimitExceeded, NotPaused, NotWaiting
from gatewayd.core.work import Execution, ExecutionState
from gatewayd.storage.checkpoints import CheckpointWrite
from gatewayd.storage.records import Published
from gatewayd.storage.sqlite import absences, execution_log, executions, outbox, questions
from gatewayd.storage.sqlite.layout import EXECUTIONS, LIVE
from gatewayd.storage.sqlite.seal import damaged, seal, size_of
from gatewayd.storage.sqlite.tx import Tx

_COLUMNS = "id, execution_id, node_id, kind, state, output, created, prompt, crc"
_LAST = f"SELECT {_COLUMNS} FROM checkpoints WHERE execution_id = ? ORDER BY number DESC LIMIT 1"
_SIZE = "length(CAST(state AS BLOB)) + length(CAST(output AS BLOB))"
_TABLES = ("checkpoints", "inputs", "begun_calls", "questions", "absences")
_PAUSED, _QUEUED = str(ExecutionState.PAUSED), str(ExecutionState.QUEUED)


def save(tx: Tx, write: CheckpointWrite) -> None:
    made = write.checkpoint
    old = executions.live(tx, made.execution_id)
    insert(tx, made)
    if write.keep:
        _keep(tx, made.execution_id, write.keep)
    for node_id in write.consumed:
        _delete(tx, "inputs", "execution_id = ? AND node_id = ?", (made.execution_id, node_id))
    for call_id in write.completed:
        _delete(tx, "begun_calls", "execution_id = ? AND call_id = ?", (made.execution_id, call_id))
    execution_log.add(tx, made.execution_id, write.log)
    if write.question is not None:
        questions.ask(tx, write.question)
    outbox.insert(tx, write.outbox)
    if write.leaves_as is not None:
        new = old._replace(state=str(write.leaves_as), reason=write.reason, attempts=0)
        executions.save(tx, made.execution_id, old, new)
        if write.awaits:
            absences.begin(tx, made.execution_id, write.awaits)
    elif made.kind is CheckpointKind.COMPLETE and old.attempts > 1:
        executions.save(tx, made.execution_id, old, old._replace(attempts=1))


def insert(tx: Tx, made: Checkpoint) -> None:
    values = (
        made.id,
        made.execution_id,
        made.node_id,
        str(made.kind),
        made.state,
        made.output,
        float(made.created),
        made.prompt,
    )
    tx.execute(
        "INSERT INTO checkpoints SELECT ?2, coalesce(max(number), 0) + 1, ?1, ?3, ?4, ?5, ?6, ?7, ?8, ?9 "
        "FROM checkpoints WHERE execution_id = ?2",
        (*values, seal(*values)),
    )
    tx.count("checkpoints", 1, size_of(made.state, made.output))


def pause_queued(tx: Tx, execution_id: str, reason: str) -> None:
    old = executions.live(tx, execution_id)
    if old.state != _QUEUED:
        raise NotPaused(f"execution {execution_id} is {old.state}, and not queued")
    executions.save(tx, execution_id, old, old._replace(state=_PAUSED, reason=reason))


def requeue(tx: Tx, execution_id: str, reason: str) -> None:
    """What was cut off is told of with this, once."""
    executions.requeue(tx, execution_id, reason)
    _delete(tx, "begun_calls", "execution_id = ?", (execution_id,))


def resume(tx: Tx, execution_id: str, reason: str, *, awaiting: str = "") -> None:
    old = executions.live(tx, execution_id)
    if old.state != _PAUSED:
        raise NotPaused(f"execution {execution_id} is {old.state}, and not paused")
    awaited = absences.end(tx, execution_id)
    if awaiting and awaited != awaiting:
        raise NotPaused(f"execution {execution_id} does not wait for a worker of {awaiting}")
    executions.save(tx, execution_id, old, old._replace(state=_QUEUED, reason=reason))


def give_input(tx: Tx, execution_id: str, node_id: str, content: str, time: float, *, message_id: str = "") -> None:
    """`message_id` is the chat message that it is the text of."""
    old = executions.live(tx, execution_id)
    row = tx.execute(_LAST, (execution_id,)).fetchone()
    last = _checkpoint_of(row) if row else None
    if old.state != str(ExecutionState.INPUT_REQUIRED) or last is None:
        raise NotWaiting(f"execution {execution_id} is {old.state} and waits for no input")
    if last.node_id != node_id:
        raise NotWaiting(
            f"node {node_id!r} of execution {execution_id} waits for no input: {last.node_id!r} does",
            metadata={"node_id": last.node_id},
        )
    values = (execution_id, node_id, content, float(time))
    before = tx.execute("SELECT 1 FROM inputs WHERE execution_id = ? AND node_id = ?", values[:2]).fetchone()
    tx.execute("REPLACE INTO inputs VALUES (?, ?, ?, ?, ?)", (*values, seal(*values)))
    tx.count("inputs", 0 if before else 1, 0)
    questions.answer(tx, execution_id, node_id, content, message_id=message_id, time=time)
    executions.save(tx, execution_id, old, old._replace(state=_QUEUED, reason="input was given"))


def begin_call(tx: Tx, call: BegunCall) -> None:
    executions.live(tx, call.execution_id)
    values = (call.execution_id, call.call_id, call.tool, float(call.time))
    before = tx.execute("SELECT 1 FROM begun_calls WHERE execution_id = ? AND call_id = ?", values[:2]).fetchone()
    tx.execute("REPLACE INTO begun_calls VALUES (?, ?, ?, ?, ?)", (*values, seal(*values)))
    tx.count("begun_calls", 0 if before else 1, 0)


def tell_call(tx: Tx, told: Published) -> None:
    """Note the tool call that an event tells of, with the event; what tells of an execution that has ended is news."""
    if told.ends is not None:
        complete_call(tx, told.event.execution_id, told.ends)
    call = told.begins
    if call is None or (status := tx.executions.find(call.execution_id)) is None:
        return
    if ExecutionState(status.state).terminal:
        return
    open_ = tx.execute("SELECT count(*) FROM begun_calls WHERE execution_id = ?", (call.execution_id,)).fetchone()[0]
    if open_ >= MAX_BEGUN:
        raise LimitExceeded(
            f"execution {call.execution_id} has {MAX_BEGUN} tool calls that began and have not completed",
            metadata={"limit": "begun_calls"},
        )
    begin_call(tx, call)


def complete_call(tx: Tx, execution_id: str, call_id: str) -> None:
    _delete(tx, "begun_calls", "execution_id = ? AND call_id = ?", (execution_id, call_id))


def forget_executions(tx: Tx, execution_ids: Iterable[str]) -> None:
    """What was kept for these executions goes with them."""
    used = [table for table in _TABLES if tx.may_have(table)]
    if used:
        for execution_id in execution_ids:
            for table in used:
                _delete(tx, table, "execution_id = ?", (execution_id,))


def _keep(tx: Tx, execution_id: str, keep: int) -> None:
    last = tx.execute(
        "SELECT number FROM checkpoints WHERE execution_id = ? ORDER BY number DESC LIMIT 1 OFFSET ?",
        (execution_id, keep),
    ).fetchone()
    if last is not None:
        _delete(tx, "checkpoints", "execution_id = ? AND number <= ?", (execution_id, last[0]))


def _delete(tx: Tx, table: str, where: str, arguments: Sequence[str | int]) -> None:
    size = _SIZE if table == "checkpoints" else "0"
    rows, content = tx.execute(f"SELECT count(*), sum({size}) FROM {table} WHERE {where}", arguments).fetchone()
    if rows:
        tx.execute(f"DELETE FROM {table} WHERE {where}", arguments)
        tx.count(table, -rows, -content)


def _checkpoint_of(row: Sequence[Any]) -> Checkpoint:
    if seal(*row[:8]) != row[8]:
        raise damaged(f"checkpoint {row[0]}")
    id_, execution_id, node_id, kind, state, output, created, prompt = row[:8]
    return Checkpoint(id_, execution_id, node_id, CheckpointKind(kind), state, output, created, prompt)


# Reading


def restart_of(connection: sqlite3.Connection, execution_id: str) -> Restart:
    row = connection.execute(_LAST, (execution_id,)).fetchone()
    inputs, begun = {}, []
    for execution, node_id, content, time, crc in connection.execute(
        "SELECT execution_id, node_id, content, time, crc FROM inputs WHERE execution_id = ?", (execution_id,)
    ):
        if seal(execution, node_id, content, time) != crc:
            raise damaged(f"the input of execution {execution}")
        inputs[node_id] = content
    for *values, crc in connection.execute(
        "SELECT execution_id, call_id, tool, time, crc FROM begun_calls WHERE execution_id = ? ORDER BY time, call_id",
        (execution_id,),
    ):
        if seal(*values) != crc:
            raise damaged(f"a tool call of execution {execution_id}")
        begun.append(BegunCall(*values))
    return Restart(_checkpoint_of(row) if row else None, inputs, tuple(begun))


def list_all(connection: sqlite3.Connection, execution_id: str) -> list[Checkpoint]:
    rows = connection.execute(
        "SELECT id, execution_id, node_id, kind, created, prompt FROM checkpoints WHERE execution_id = ? "
        "ORDER BY number",
        (execution_id,),
    )
    return [
        Checkpoint(id_, execution, node_id, CheckpointKind(kind), "", "", created, prompt)
        for id_, execution, node_id, kind, created, prompt in rows
    ]


def overdue(connection: sqlite3.Connection, before: float, limit: int) -> list[Execution]:
    rows = connection.execute(
        f"SELECT {EXECUTIONS.columns} FROM executions INDEXED BY executions_live "
        f"WHERE {LIVE} AND state IN ('paused', 'input_required') AND coalesce("
        "(SELECT max(checkpoints.created) FROM checkpoints WHERE checkpoints.execution_id = executions.id), "
        "executions.created) < ?",
        (before,),
    ).fetchmany(max(0, limit))
    return sorted((executions.execution_of(row) for row in rows), key=lambda execution: execution.id)

"""Executions, from QUEUED to their one end."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from gatewayd.core.errors import ExecutionFinished, NotFound
from gatewayd.core.message import ReplyKind, ReplyTo
from gatewayd.core.work import Execution, ExecutionState, Origin
from gatewayd.storage.sqlite import traces
from gatewayd.storage.sqlite.layout import EXECUTIONS, LIVE, ExecutionStatus
from gatewayd.storage.sqlite.seal import size_of
from gatewayd.storage.sqlite.tx import Tx


def insert(tx: Tx, execution: Execution) -> None:
    given, reply = execution, execution.reply_to
    fixed = (
        given.id,
        given.message_id,
        given.session_id,
        given.agent,
        given.principal,
        str(given.origin),
        given.text,
        str(reply.kind),
        reply.channel,
        reply.chat,
        reply.thread,
        reply.quote,
        reply.client_id,
        given.stream_id,
        given.correlation_id,
        given.idempotency_key,
        float(given.created),
    )
    status = ExecutionStatus(
        str(given.state),
        given.reason,
        given.attempts,
        given.output,
        given.error,
        float(given.started),
        float(given.finished),
    )
    tx.executions.insert(fixed, status)
    traces.save(tx, given.id, given.trace)
    tx.count("executions", 1, size_of(given.text, given.output, given.error))


def live(tx: Tx, execution_id: str) -> ExecutionStatus:
    """The status of an execution that has not ended; `NotFound` or `ExecutionFinished` otherwise."""
    status = tx.executions.find(execution_id)
    if status is None:
        raise NotFound(f"there is no execution {execution_id!r}")
    if ExecutionState(status.state).terminal:
        raise ExecutionFinished(f"execution {execution_id!r} has ended as {status.state}")
    return status


def save(tx: Tx, execution_id: str, old: ExecutionStatus, new: ExecutionStatus) -> None:
    tx.executions.save(execution_id, new)
    grown = size_of(new.output, new.error) - size_of(old.output, old.error)
    if grown:
        tx.count("executions", 0, grown)


def start(tx: Tx, execution_id: str, started: float, trace: str = "") -> None:
    old = live(tx, execution_id)
    running = str(ExecutionState.RUNNING)
    # The first start stays: what it took counts all its lives.
    new = old._replace(state=running, reason="", attempts=old.attempts + 1, started=old.started or float(started))
    save(tx, execution_id, old, new)
    traces.save(tx, execution_id, trace)


def requeue(tx: Tx, execution_id: str, reason: str) -> None:
    old = live(tx, execution_id)
    save(tx, execution_id, old, old._replace(state=str(ExecutionState.QUEUED), reason=reason))


def revive(tx: Tx, execution_id: str) -> Execution:
    """Queue an execution that has ended once more, as if it had never run."""
    old = tx.executions.find(execution_id)
    if old is None:
        raise NotFound(f"execution {execution_id!r} is no longer kept")
    save(tx, execution_id, old, ExecutionStatus(str(ExecutionState.QUEUED), "", 0, "", "", 0.0, 0.0))
    tx.flush()
    return execution_of(
        tx.execute(f"SELECT {EXECUTIONS.columns} FROM executions WHERE id = ?", (execution_id,)).fetchone()
    )


# Reading


def execution_of(values: Sequence[Any]) -> Execution:
    fixed, status = EXECUTIONS.read(values)
    kind, channel, chat, thread, quote, client_id = fixed[7:13]
    return Execution(
        id=fixed[0],
        message_id=fixed[1],
        session_id=fixed[2],
        agent=fixed[3],
        principal=fixed[4],
        origin=Origin(fixed[5]),
        text=fixed[6],
        reply_to=ReplyTo(ReplyKind(kind), channel, chat, thread, quote, client_id),
        stream_id=fixed[13],
        correlation_id=fixed[14],
        created=fixed[16],
        idempotency_key=fixed[15],
        state=ExecutionState(status.state),
        reason=status.reason,
        attempts=status.attempts,
        output=status.output,
        error=status.error,
        started=status.started,
        finished=status.finished,
    )


def get(connection: sqlite3.Connection, execution_id: str) -> Execution | None:
    values = connection.execute(f"SELECT {EXECUTIONS.columns} FROM executions WHERE id = ?", (execution_id,)).fetchone()
    return traces.with_trace(connection, execution_of(values)) if values else None


def unfinished(connection: sqlite3.Connection) -> list[Execution]:
    # By name: to save the sort, SQLite would walk through every execution that is kept.
    rows = connection.execute(f"SELECT {EXECUTIONS.columns} FROM executions INDEXED BY executions_live WHERE {LIVE}")
    found = sorted((execution_of(values) for values in rows), key=lambda execution: execution.id)
    return traces.with_traces(connection, found)


def list_all(
    connection: sqlite3.Connection,
    *,
    states: Sequence[ExecutionState],
    session_id: str,
    agent: str,
    before: str,
    limit: int,
) -> list[Execution]:
    where: list[str] = ["1"]
    arguments: list[str] = []
    if states:
        where.append(f"state IN ({', '.join('?' * len(states))})")
        arguments.extend(map(str, states))
    for column, value in (("session_id", session_id), ("agent", agent)):
        if value:
            where.append(f"{column} = ?")
            arguments.append(value)
    if before:
        where.append("id < ?")
        arguments.append(before)
    rows = connection.execute(
        f"SELECT {EXECUTIONS.columns} FROM executions WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?",
        [*arguments, max(0, limit)],
    )
    return [execution_of(values) for values in rows]

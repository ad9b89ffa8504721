"""Executions: rows whose input never changes and whose status is read, checked and written as one."""

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from gatewayd.core.errors import ExecutionFinished, NotFound
from gatewayd.core.message import ReplyKind, ReplyTo
from gatewayd.core.work import Execution, ExecutionState, Origin
from gatewayd.storage.sqlite.seal import damaged, seal, size_of
from gatewayd.storage.sqlite.sessions import LIVE
from gatewayd.storage.sqlite.tx import Tx, insert_sql


class Status(NamedTuple):
    """What changes in the life of an execution."""

    state: str
    reason: str
    attempts: int
    output: str
    error: str
    started: float
    finished: float


_INPUT = 17
_INPUT_COLUMNS = (
    "id, message_id, session_id, agent, principal, origin, text, reply_kind, reply_channel, reply_chat, reply_thread, "
    "reply_quote, reply_client, stream_id, correlation_id, idempotency_key, created, input_crc"
)
_STATUS_COLUMNS = ", ".join((*Status._fields, "crc"))
COLUMNS = f"{_INPUT_COLUMNS}, {_STATUS_COLUMNS}"
_SET = ", ".join(f"{name} = ?" for name in (*Status._fields, "crc"))


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
    status = Status(
        str(given.state),
        given.reason,
        given.attempts,
        given.output,
        given.error,
        float(given.started),
        float(given.finished),
    )
    tx.execute(insert_sql("executions", 26, 1), (*fixed, seal(*fixed), *status, seal(given.id, *status)))
    tx.count("executions", 1, size_of(given.text, given.output, given.error))


def find(tx: Tx, execution_id: str) -> Status | None:
    values = tx.execute(f"SELECT {_STATUS_COLUMNS} FROM executions WHERE id = ?", (execution_id,)).fetchone()
    if values is None:
        return None
    status = Status._make(values[:-1])
    if seal(execution_id, *status) != values[-1]:
        raise damaged(f"execution {execution_id}")
    return status


def live(tx: Tx, execution_id: str) -> Status:
    """The status of an execution that has not ended; `NotFound` or `ExecutionFinished` otherwise."""
    status = find(tx, execution_id)
    if status is None:
        raise NotFound(f"there is no execution {execution_id!r}")
    if ExecutionState(status.state).terminal:
        raise ExecutionFinished(f"execution {execution_id!r} has ended as {status.state}")
    return status


def save(tx: Tx, execution_id: str, old: Status, new: Status) -> None:
    tx.execute(f"UPDATE executions SET {_SET} WHERE id = ?", (*new, seal(execution_id, *new), execution_id))
    grown = size_of(new.output, new.error) - size_of(old.output, old.error)
    if grown:
        tx.count("executions", 0, grown)


def start(tx: Tx, execution_id: str, started: float) -> None:
    old = live(tx, execution_id)
    new = old._replace(state=str(ExecutionState.RUNNING), reason="", attempts=old.attempts + 1, started=float(started))
    save(tx, execution_id, old, new)


def requeue(tx: Tx, execution_id: str, reason: str) -> None:
    old = live(tx, execution_id)
    save(tx, execution_id, old, old._replace(state=str(ExecutionState.QUEUED), reason=reason))


def revive(tx: Tx, execution_id: str) -> None:
    """Queue an execution that has ended once more, as if it had never run."""
    old = find(tx, execution_id)
    if old is None:
        raise NotFound(f"execution {execution_id!r} is no longer kept")
    save(tx, execution_id, old, Status(str(ExecutionState.QUEUED), "", 0, "", "", 0.0, 0.0))


# Reading


def execution_of(values: Sequence[Any]) -> Execution:
    fixed, status = values[:_INPUT], Status._make(values[_INPUT + 1 : -1])
    if seal(*fixed) != values[_INPUT] or seal(fixed[0], *status) != values[-1]:
        raise damaged(f"execution {fixed[0]}")
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
    values = connection.execute(f"SELECT {COLUMNS} FROM executions WHERE id = ?", (execution_id,)).fetchone()
    return execution_of(values) if values else None


def unfinished(connection: sqlite3.Connection) -> list[Execution]:
    rows = connection.execute(f"SELECT {COLUMNS} FROM executions WHERE {LIVE} ORDER BY id")
    return [execution_of(values) for values in rows]


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
        f"SELECT {COLUMNS} FROM executions WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?",
        [*arguments, max(0, limit)],
    )
    return [execution_of(values) for values in rows]

"""The journal and the ledger: what was taken in, and the story of it."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from gatewayd.core.work import LedgerState, Origin
from gatewayd.storage.records import Acceptance, Inbound, LedgerChange, LedgerRecord, Step
from gatewayd.storage.sqlite.seal import damaged, seal, size_of
from gatewayd.storage.sqlite.tx import Tx

_FIELD, _LINE = "\x1f", "\x1e"
_PLAIN = str.maketrans({_FIELD: " ", _LINE: " "})


class LedgerRow(NamedTuple):
    """A row of `ledger`, without its seal."""

    message_id: str
    state: str
    outcome: str
    rule: str
    agent: str
    session_id: str
    execution_id: str
    origin: str
    principal: str
    channel: str
    created: float
    updated: float
    steps: str


COLUMNS = ", ".join((*LedgerRow._fields, "crc"))
_INSERT = f"INSERT INTO ledger ({COLUMNS}) VALUES ({', '.join('?' * 14)})"
INBOX_COLUMNS = "message_id, origin, principal, channel, chat, peer, platform_id, context, text, received, crc"


def write_steps(steps: Iterable[Step]) -> str:
    """Steps as the column keeps them: to add one is to append a text."""
    return "".join(
        f"{step.name}{_FIELD}{float(step.time)}{_FIELD}{step.detail.translate(_PLAIN)}{_LINE}" for step in steps
    )


def read_steps(text: str) -> tuple[Step, ...]:
    steps = []
    for line in text.split(_LINE)[:-1]:
        name, time, detail = line.split(_FIELD)
        steps.append(Step(name, float(time), detail))
    return tuple(steps)


def row_of(values: Sequence[Any]) -> LedgerRow:
    row = LedgerRow._make(values[:-1])
    if seal(*row) != values[-1]:
        raise damaged(f"the story of message {row.message_id}")
    return row


def inbox_fields(values: Sequence[Any]) -> Sequence[Any]:
    """The values of a journal row, its seal checked and taken off."""
    if seal(*values[:-1]) != values[-1]:
        raise damaged(f"the journal of message {values[0]}")
    return values[:-1]


def begin(tx: Tx, acceptance: Acceptance) -> None:
    """Journal the message and begin its story."""
    inbound = acceptance.inbound
    session, execution = acceptance.session, acceptance.execution
    received = float(inbound.received)
    tx.add_inbox(
        (
            inbound.message_id,
            str(inbound.origin),
            inbound.principal,
            inbound.channel,
            inbound.chat,
            inbound.peer,
            inbound.platform_id,
            inbound.context,
            inbound.text,
            received,
        ),
        size_of(inbound.text),
    )
    steps = write_steps(acceptance.steps)
    row = LedgerRow(
        inbound.message_id,
        str(acceptance.state),
        str(acceptance.outcome) if acceptance.outcome else "",
        acceptance.rule,
        execution.agent if execution else session.agent if session else "",
        session.id if session else "",
        execution.id if execution else "",
        str(inbound.origin),
        inbound.principal,
        inbound.channel,
        received,
        received,
        steps,
    )
    tx.execute(_INSERT, (*row, seal(*row)))
    tx.count("ledger", 1, size_of(steps))


def find(tx: Tx, message_id: str) -> LedgerRow | None:
    values = tx.execute(f"SELECT {COLUMNS} FROM ledger WHERE message_id = ?", (message_id,)).fetchone()
    return row_of(values) if values else None


def tell(
    tx: Tx, message_id: str, step: Step, state: LedgerState | None, outcome: LedgerState | None, *, reopen: bool = False
) -> None:
    """Add a step, and move the story on (None: it stays where it is). A story that has ended keeps its end."""
    row = find(tx, message_id)
    if row is None:
        return
    new_state = row.state
    if state is not None and (reopen or not LedgerState(row.state).terminal):
        new_state = str(state)
    line = write_steps((step,))
    row = row._replace(
        state=new_state,
        outcome=str(outcome) if outcome else row.outcome,
        updated=max(row.updated, float(step.time)),
        steps=row.steps + line,
    )
    save(tx, row)
    tx.count("ledger", 0, size_of(line))


def change(tx: Tx, wanted: LedgerChange) -> None:
    tell(tx, wanted.message_id, wanted.step, wanted.state, wanted.outcome)


def save(tx: Tx, row: LedgerRow) -> None:
    tx.execute(
        "UPDATE ledger SET state = ?, outcome = ?, updated = ?, steps = ?, crc = ? WHERE message_id = ?",
        (row.state, row.outcome, row.updated, row.steps, seal(*row), row.message_id),
    )


# Reading


def story(connection: sqlite3.Connection, reference: str) -> LedgerRecord | None:
    for query in (
        "SELECT ?",
        "SELECT message_id FROM executions WHERE id = ?",
        "SELECT message_id FROM outbox WHERE id = ?",
        "SELECT message_id FROM inbox WHERE platform_id = ? AND platform_id <> '' ORDER BY message_id DESC LIMIT 1",
        "SELECT message_id FROM outbox WHERE platform_id = ? AND platform_id <> '' ORDER BY id DESC LIMIT 1",
    ):
        found = connection.execute(query, (reference,)).fetchone()
        if found is None:
            continue
        values = connection.execute(f"SELECT {COLUMNS} FROM ledger WHERE message_id = ?", found).fetchone()
        if values is not None:
            return record_of(connection, row_of(values), with_steps=True)
    return None


def list_all(
    connection: sqlite3.Connection,
    *,
    states: Sequence[LedgerState],
    channel: str,
    session_id: str,
    before: str,
    limit: int,
) -> list[LedgerRecord]:
    where: list[str] = ["1"]
    arguments: list[str] = []
    if states:
        where.append(f"state IN ({', '.join('?' * len(states))})")
        arguments.extend(map(str, states))
    for column, value in (("channel", channel), ("session_id", session_id)):
        if value:
            where.append(f"{column} = ?")
            arguments.append(value)
    if before:
        where.append("message_id < ?")
        arguments.append(before)
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM ledger WHERE {' AND '.join(where)} ORDER BY message_id DESC LIMIT ?",
        [*arguments, max(0, limit)],
    ).fetchall()
    return [record_of(connection, row_of(values), with_steps=False) for values in rows]


def record_of(connection: sqlite3.Connection, row: LedgerRow, *, with_steps: bool) -> LedgerRecord:
    return LedgerRecord(
        row.message_id,
        LedgerState(row.state),
        row.rule,
        row.agent,
        row.session_id,
        row.execution_id,
        _inbound(connection, row),
        row.created,
        row.updated,
        read_steps(row.steps) if with_steps else (),
    )


def _inbound(connection: sqlite3.Connection, row: LedgerRow) -> Inbound:
    values = connection.execute(f"SELECT {INBOX_COLUMNS} FROM inbox WHERE message_id = ?", (row.message_id,)).fetchone()
    if values is None:
        # The journal is swept on its own terms; what the ledger knows itself is told.
        return Inbound(row.message_id, Origin(row.origin), row.principal, row.channel, "", "", "", "", "", row.created)
    fields = inbox_fields(values)
    return Inbound(fields[0], Origin(fields[1]), *fields[2:])

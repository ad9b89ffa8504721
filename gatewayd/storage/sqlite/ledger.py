"""The journal and the ledger: what was taken in, and the story of it."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from gatewayd.core.work import LedgerState, Origin
from gatewayd.storage.records import Acceptance, Inbound, LedgerChange, LedgerRecord, Step
from gatewayd.storage.sqlite.layout import LEDGER, StoryStatus
from gatewayd.storage.sqlite.seal import damaged, seal, size_of
from gatewayd.storage.sqlite.tx import Tx

_FIELD, _LINE = "\x1f", "\x1e"
_PLAIN = str.maketrans({_FIELD: " ", _LINE: " "})


INBOX_COLUMNS = "message_id, origin, principal, channel, chat, peer, platform_id, context, text, received, crc"


def write_steps(steps: Iterable[Step]) -> str:
    """Steps as the column keeps them: to add one is to append a text."""
    text, time, time_text = "", -1.0, "-1.0"
    for step in steps:
        if step.time != time:  # most have that of the one before, and to write it out is dear
            time = float(step.time)
            time_text = str(time)
        detail = step.detail if step.detail.isprintable() else step.detail.translate(_PLAIN)
        text += f"{step.name}{_FIELD}{time_text}{_FIELD}{detail}{_LINE}"
    return text


def read_steps(text: str) -> tuple[Step, ...]:
    steps = []
    for line in text.split(_LINE)[:-1]:
        name, time, detail = line.split(_FIELD)
        steps.append(Step(name, float(time), detail))
    return tuple(steps)


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
    fixed = (
        inbound.message_id,
        acceptance.rule,
        execution.agent if execution else session.agent if session else "",
        session.id if session else "",
        execution.id if execution else acceptance.answer.execution_id if acceptance.answer else "",
        str(inbound.origin),
        inbound.principal,
        inbound.channel,
        received,
    )
    outcome = str(acceptance.outcome) if acceptance.outcome else ""
    tx.ledger.insert(fixed, StoryStatus(str(acceptance.state), outcome, 0, received, steps))
    tx.count("ledger", 1, size_of(steps))


def tell(tx: Tx, message_id: str, step: Step, state: LedgerState, outcome: LedgerState | None = None) -> None:
    """Add a step and move the story on. A story that has ended keeps its end; only an operator's retry reopens it."""
    status = tx.ledger.find(message_id)
    if status is not None:
        if not LedgerState(status.state).terminal:
            status = status._replace(state=str(state))
        if outcome is not None:
            status = status._replace(outcome=str(outcome))
        _save(tx, message_id, status, step)


def change(tx: Tx, wanted: LedgerChange) -> None:
    tell(tx, wanted.message_id, wanted.step, wanted.state, wanted.outcome)


def reopen(tx: Tx, message_id: str, step: Step, state: LedgerState) -> None:
    """An operator's retry: the story goes on."""
    status = tx.ledger.find(message_id)
    if status is not None:
        _save(tx, message_id, status._replace(state=str(state)), step)


def await_pieces(tx: Tx, message_id: str, count: int) -> None:
    """So many more pieces have to be sent before the story ends; negative for pieces that were given up."""
    status = tx.ledger.find(message_id)
    if status is not None:
        tx.ledger.save(message_id, status._replace(unsent=status.unsent + count))


def piece_sent(tx: Tx, message_id: str, step: Step) -> None:
    """One piece less to wait for; the last one gives the story its outcome."""
    status = tx.ledger.find(message_id)
    if status is None:
        return
    unsent = max(0, status.unsent - 1)
    state = status.state
    if not unsent and status.outcome and not LedgerState(state).terminal:
        state = status.outcome
    _save(tx, message_id, status._replace(unsent=unsent, state=state), step)


def _save(tx: Tx, message_id: str, status: StoryStatus, step: Step) -> None:
    line = write_steps((step,))
    updated = max(status.updated, float(step.time))
    tx.ledger.save(message_id, status._replace(updated=updated, steps=status.steps + line))
    tx.count("ledger", 0, size_of(line))


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
        values = connection.execute(f"SELECT {LEDGER.columns} FROM ledger WHERE message_id = ?", found).fetchone()
        if values is not None:
            return record_of(connection, values, with_steps=True)
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
        f"SELECT {LEDGER.columns} FROM ledger WHERE {' AND '.join(where)} ORDER BY message_id DESC LIMIT ?",
        [*arguments, max(0, limit)],
    ).fetchall()
    return [record_of(connection, values, with_steps=False) for values in rows]


def record_of(connection: sqlite3.Connection, values: Sequence[Any], *, with_steps: bool) -> LedgerRecord:
    fixed, status = LEDGER.read(values)
    message_id, rule, agent, session_id, execution_id, origin, principal, channel, created = fixed
    found = connection.execute(f"SELECT {INBOX_COLUMNS} FROM inbox WHERE message_id = ?", (message_id,)).fetchone()
    if found is None:
        # The journal is swept on its own terms; what the ledger knows itself is told.
        inbound = Inbound(message_id, Origin(origin), principal, channel, "", "", "", "", "", created)
    else:
        fields = inbox_fields(found)
        inbound = Inbound(fields[0], Origin(fields[1]), *fields[2:])
    return LedgerRecord(
        message_id,
        LedgerState(status.state),
        rule,
        agent,
        session_id,
        execution_id,
        inbound,
        created,
        status.updated,
        read_steps(status.steps) if with_steps else (),
    )

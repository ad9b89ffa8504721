"""The outbox: pieces of text on their way to a platform."""

import sqlite3
from collections.abc import Sequence
from typing import Any, NamedTuple

from gatewayd.core.errors import NotFound
from gatewayd.core.work import LedgerState
from gatewayd.storage.records import OutboxRow, OutboxState, Step
from gatewayd.storage.sqlite import ledger
from gatewayd.storage.sqlite.seal import damaged, seal, size_of
from gatewayd.storage.sqlite.tx import Tx


class Status(NamedTuple):
    """What changes in the life of a piece."""

    state: str
    attempts: int
    next_time: float
    platform_id: str
    reason: str


_INPUT = 10
_INPUT_COLUMNS = "id, key, channel, chat, thread, quote, text, message_id, execution_id, created, input_crc"
_STATUS_COLUMNS = ", ".join((*Status._fields, "crc"))
COLUMNS = f"{_INPUT_COLUMNS}, {_STATUS_COLUMNS}"
_SET = ", ".join(f"{name} = ?" for name in (*Status._fields, "crc"))
PENDING = "state IN ('queued', 'sending')"


def insert(tx: Tx, rows: Sequence[OutboxRow]) -> None:
    values = []
    size = 0
    for row in rows:
        fixed = (
            row.id,
            row.key,
            row.channel,
            row.chat,
            row.thread,
            row.quote,
            row.text,
            row.message_id,
            row.execution_id,
            float(row.created),
        )
        status = (str(row.state), row.attempts, float(row.next_time), row.platform_id, row.reason)
        values.append((*fixed, seal(*fixed), *status, seal(row.id, *status)))
        size += size_of(row.text)
    tx.insert("outbox", values, 17)
    tx.count("outbox", len(values), size)


def find(tx: Tx, row_id: str) -> tuple[Status, str]:
    """The row's status and its message; `NotFound` when it is not kept."""
    values = tx.execute(f"SELECT {_STATUS_COLUMNS}, message_id FROM outbox WHERE id = ?", (row_id,)).fetchone()
    if values is None:
        raise NotFound(f"there is no outbox row {row_id!r}")
    *fields, crc, message_id = values
    status = Status._make(fields)
    if seal(row_id, *status) != crc:
        raise damaged(f"outbox row {row_id}")
    return status, message_id


def save(tx: Tx, row_id: str, status: Status) -> None:
    tx.execute(f"UPDATE outbox SET {_SET} WHERE id = ?", (*status, seal(row_id, *status), row_id))


def mark_sending(tx: Tx, row_ids: Sequence[str]) -> None:
    for row_id in row_ids:
        status, _ = find(tx, row_id)
        if status.state in (OutboxState.QUEUED, OutboxState.SENDING):
            save(tx, row_id, status._replace(state=str(OutboxState.SENDING), attempts=status.attempts + 1))


def mark_sent(tx: Tx, row_id: str, platform_id: str, time: float) -> None:
    """A piece that has its end already keeps it, so that marking twice is harmless."""
    status, message_id = find(tx, row_id)
    if status.state not in (OutboxState.QUEUED, OutboxState.SENDING):
        return
    save(tx, row_id, status._replace(state=str(OutboxState.SENT), platform_id=platform_id, reason=""))
    others = tx.execute(
        "SELECT count(*) FROM outbox WHERE message_id = ? AND state <> 'sent'", (message_id,)
    ).fetchone()[0]
    state: LedgerState | None = None
    if not others:
        story = ledger.find(tx, message_id)
        state = LedgerState(story.outcome) if story and story.outcome else None
    ledger.tell(tx, message_id, Step("sent", time, platform_id), state, None)


def mark_retry(tx: Tx, row_id: str, next_time: float, reason: str) -> None:
    status, _ = find(tx, row_id)
    if status.state in (OutboxState.QUEUED, OutboxState.SENDING):
        save(tx, row_id, status._replace(state=str(OutboxState.QUEUED), next_time=float(next_time), reason=reason))


def kill(tx: Tx, row_id: str, reason: str) -> bool:
    """→ DEAD with all later pieces of its message; whether it was still on its way."""
    status, message_id = find(tx, row_id)
    if status.state not in (OutboxState.QUEUED, OutboxState.SENDING):
        return False
    for piece in _pieces_from(tx, message_id, row_id):
        old, _ = find(tx, piece)
        if old.state != OutboxState.SENT:
            save(tx, piece, old._replace(state=str(OutboxState.DEAD), reason=reason))
    return True


def revive(tx: Tx, row_id: str) -> OutboxRow:
    """Queue a dead piece and its message's later dead ones as if they had never been tried."""
    _, message_id = find(tx, row_id)
    for piece in _pieces_from(tx, message_id, row_id):
        old, _ = find(tx, piece)
        if old.state == OutboxState.DEAD:
            save(tx, piece, Status(str(OutboxState.QUEUED), 0, 0.0, "", ""))
    return row_of(tx.execute(f"SELECT {COLUMNS} FROM outbox WHERE id = ?", (row_id,)).fetchone())


def _pieces_from(tx: Tx, message_id: str, row_id: str) -> list[str]:
    rows = tx.execute("SELECT id FROM outbox WHERE message_id = ? AND id >= ? ORDER BY id", (message_id, row_id))
    return [row[0] for row in rows]


# Reading


def row_of(values: Sequence[Any]) -> OutboxRow:
    fixed, status = values[:_INPUT], Status._make(values[_INPUT + 1 : -1])
    if seal(*fixed) != values[_INPUT] or seal(fixed[0], *status) != values[-1]:
        raise damaged(f"outbox row {fixed[0]}")
    row_id, key, channel, chat, thread, quote, text, message_id, execution_id, created = fixed
    return OutboxRow(
        row_id,
        key,
        channel,
        chat,
        thread,
        quote,
        text,
        message_id,
        execution_id,
        created,
        OutboxState(status.state),
        status.attempts,
        status.next_time,
        status.platform_id,
        status.reason,
    )


def pending(connection: sqlite3.Connection, channel: str) -> list[OutboxRow]:
    rows = connection.execute(f"SELECT {COLUMNS} FROM outbox WHERE channel = ? AND {PENDING} ORDER BY id", (channel,))
    return [row_of(values) for values in rows]

"""The outbox: pieces of text on their way to a platform."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from gatewayd.core.errors import NotFound
from gatewayd.storage.records import OutboxRow, OutboxState, Step
from gatewayd.storage.sqlite import ledger
from gatewayd.storage.sqlite.layout import OUTBOX, PENDING, PieceStatus
from gatewayd.storage.sqlite.seal import size_of
from gatewayd.storage.sqlite.tx import Tx

_PENDING = (OutboxState.QUEUED, OutboxState.SENDING)


def insert(tx: Tx, rows: Sequence[OutboxRow]) -> None:
    """Queue the pieces; their message's story waits for one more each."""
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
        tx.outbox.insert(
            fixed, PieceStatus(str(row.state), row.attempts, float(row.next_time), row.platform_id, row.reason)
        )
        tx.count("outbox", 1, size_of(row.text))
        ledger.await_pieces(tx, row.message_id, 1)


def find(tx: Tx, row_id: str) -> PieceStatus:
    """`NotFound` when it is not kept."""
    status = tx.outbox.find(row_id)
    if status is None:
        raise NotFound(f"there is no outbox row {row_id!r}")
    return status


def mark_sending(tx: Tx, row_ids: Sequence[str]) -> None:
    statuses = [find(tx, row_id) for row_id in row_ids]
    for row_id, status in zip(row_ids, statuses, strict=True):
        if status.state in _PENDING:
            sending = str(OutboxState.SENDING)
            tx.outbox.save(row_id, status._replace(state=sending, attempts=status.attempts + 1))


def mark_sent(tx: Tx, row_id: str, platform_id: str, time: float) -> None:
    """A piece that has its end already keeps it, so that marking twice is harmless."""
    status = find(tx, row_id)
    if status.state in _PENDING:
        tx.outbox.save(row_id, status._replace(state=str(OutboxState.SENT), platform_id=platform_id, reason=""))
        ledger.piece_sent(tx, tx.outbox.link(row_id), Step("sent", time, platform_id))


def mark_retry(tx: Tx, row_id: str, next_time: float, reason: str) -> None:
    status = find(tx, row_id)
    if status.state in _PENDING:
        queued = str(OutboxState.QUEUED)
        tx.outbox.save(row_id, status._replace(state=queued, next_time=float(next_time), reason=reason))


def kill(tx: Tx, row_id: str, reason: str) -> bool:
    """→ DEAD with all later pieces of its text; whether it was still on its way."""
    if find(tx, row_id).state not in _PENDING:
        return False
    message_id = tx.outbox.link(row_id)
    for piece in _pieces_from(tx, message_id, row_id):
        old = find(tx, piece)
        if old.state in _PENDING:
            tx.outbox.save(piece, old._replace(state=str(OutboxState.DEAD), reason=reason))
            ledger.await_pieces(tx, message_id, -1)
    return True


def revive(tx: Tx, row_id: str) -> OutboxRow:
    """Queue a dead piece and its text's later dead ones as if they had never been tried."""
    find(tx, row_id)
    message_id = tx.outbox.link(row_id)
    for piece in _pieces_from(tx, message_id, row_id):
        if find(tx, piece).state == OutboxState.DEAD:
            tx.outbox.save(piece, PieceStatus(str(OutboxState.QUEUED), 0, 0.0, "", ""))
            ledger.await_pieces(tx, message_id, 1)
    tx.flush()
    return row_of(tx.execute(f"SELECT {OUTBOX.columns} FROM outbox WHERE id = ?", (row_id,)).fetchone())


def _pieces_from(tx: Tx, message_id: str, row_id: str) -> list[str]:
    tx.flush()
    rows = tx.execute("SELECT id, key FROM outbox WHERE message_id = ? AND id >= ? ORDER BY id", (message_id, row_id))
    texts = [(id_, key.rpartition("/")[0]) for id_, key in rows]
    return [id_ for id_, text in texts if text == texts[0][1]]


# Reading


def row_of(values: Sequence[Any]) -> OutboxRow:
    fixed, status = OUTBOX.read(values)
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


def pending(connection: sqlite3.Connection, channel: str, after: str, limit: int) -> list[OutboxRow]:
    rows = connection.execute(
        f"SELECT {OUTBOX.columns} FROM outbox WHERE channel = ? AND id > ? AND {PENDING} ORDER BY id LIMIT ?",
        (channel, after, limit),
    )
    return [row_of(values) for values in rows]

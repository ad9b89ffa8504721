"""Dead letters: what was given up, and the way back."""

import sqlite3
from collections.abc import Sequence
from typing import Any

from gatewayd.core.errors import NotFound
from gatewayd.core.work import Execution, LedgerState
from gatewayd.storage.records import DeadLetter, DeadLetterKind, LedgerChange, OutboxRow, Step
from gatewayd.storage.sqlite import executions, ledger, outbox
from gatewayd.storage.sqlite.live import insert_sql
from gatewayd.storage.sqlite.seal import damaged, seal
from gatewayd.storage.sqlite.tx import Tx

NO_OPEN = "NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.message_id = {table}.message_id AND retried = 0)"
"""That no operator may still retry what a row is of; by the words of the index."""
_COLUMNS = "id, kind, message_id, reference, channel, reason, time, retried, crc"


def insert(tx: Tx, letter: DeadLetter) -> None:
    values = (
        letter.id,
        str(letter.kind),
        letter.message_id,
        letter.reference,
        letter.channel,
        letter.reason,
        float(letter.time),
        float(letter.retried),
    )
    tx.execute(insert_sql("dead_letters", 9, 1), (*values, seal(*values)))
    tx.count("dead_letters", 1, 0)


def mark_dead(tx: Tx, row_id: str, letter: DeadLetter, step: LedgerChange) -> None:
    if outbox.kill(tx, row_id, letter.reason):
        insert(tx, letter)
        ledger.change(tx, step)


def retry(tx: Tx, letter_id: str, time: float, actor: str) -> OutboxRow | Execution:
    values = tx.execute(f"SELECT {_COLUMNS} FROM dead_letters WHERE id = ?", (letter_id,)).fetchone()
    letter = letter_of(values) if values else None
    if letter is None or letter.retried:
        raise NotFound(f"there is no dead letter {letter_id!r} that waits for a retry")
    revived: OutboxRow | Execution
    if letter.kind is DeadLetterKind.OUTBOUND:
        revived = outbox.revive(tx, letter.reference)
        state = LedgerState.EXECUTED
    else:
        revived = executions.revive(tx, letter.reference)
        state = LedgerState.QUEUED
    fields = (*values[:7], float(time))
    tx.execute("UPDATE dead_letters SET retried = ?, crc = ? WHERE id = ?", (float(time), seal(*fields), letter_id))
    ledger.reopen(tx, letter.message_id, Step("retried", time, actor), state)
    return revived


# Reading


def letter_of(values: Sequence[Any]) -> DeadLetter:
    if seal(*values[:-1]) != values[-1]:
        raise damaged(f"dead letter {values[0]}")
    return DeadLetter(values[0], DeadLetterKind(values[1]), *values[2:-1])


def list_open(connection: sqlite3.Connection, channel: str, before: str, limit: int) -> list[DeadLetter]:
    where, arguments = "retried = 0", []
    if channel:
        where += " AND channel = ?"
        arguments.append(channel)
    if before:
        where += " AND id < ?"
        arguments.append(before)
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM dead_letters WHERE {where} ORDER BY id DESC LIMIT ?", [*arguments, max(0, limit)]
    )
    return [letter_of(values) for values in rows]

"""The logs of executions: added to with what they tell of, bounded, gone with the execution's row."""

import sqlite3
from collections.abc import Iterable, Sequence

from gatewayd.core.execution_log import MAX_ENTRIES, LogEntry, LogKind
from gatewayd.storage.sqlite.seal import damaged, seal, size_of
from gatewayd.storage.sqlite.tx import Tx

_SURPLUS = (
    f"execution_id = ?1 AND number <= (SELECT max(number) FROM execution_log WHERE execution_id = ?1) - {MAX_ENTRIES}"
)


def add(tx: Tx, execution_id: str, entries: Sequence[LogEntry]) -> None:
    if not entries:
        return
    for one in entries:
        values = (
            execution_id,
            float(one.time),
            str(one.kind),
            one.text,
            one.node_id,
            one.input_tokens,
            one.output_tokens,
        )
        tx.add_log((*values, seal(*values)))
    tx.count("execution_log", len(entries), sum(size_of(one.text) for one in entries))
    if len(entries) > 1:  # a single one that is too many goes with the next
        tx.flush_rows("execution_log")
        _delete(tx, _SURPLUS, execution_id)


def forget(tx: Tx, execution_ids: Iterable[str]) -> None:
    if tx.totals("execution_log")[0]:
        tx.flush_rows("execution_log")
        for execution_id in execution_ids:
            _delete(tx, "execution_id = ?1", execution_id)


def _delete(tx: Tx, where: str, execution_id: str) -> None:
    rows, size = tx.execute(
        f"SELECT count(*), sum(length(CAST(text AS BLOB))) FROM execution_log WHERE {where}", (execution_id,)
    ).fetchone()
    if rows:
        tx.execute(f"DELETE FROM execution_log WHERE {where}", (execution_id,))
        tx.count("execution_log", -rows, -size)


# Reading


def read(connection: sqlite3.Connection, execution_id: str) -> list[LogEntry]:
    found = []
    for *values, crc in connection.execute(
        "SELECT execution_id, time, kind, text, node_id, input_tokens, output_tokens, crc FROM execution_log "
        "WHERE execution_id = ? ORDER BY number DESC LIMIT ?",
        (execution_id, MAX_ENTRIES),
    ):
        if seal(*values) != crc:
            raise damaged(f"the log of execution {execution_id}")
        _, time, kind, text, node_id, read_tokens, written_tokens = values
        found.append(LogEntry(time, LogKind(kind), text, node_id, read_tokens, written_tokens))
    return found[::-1]

"""The traces of executions: beside their rows, since most have none, and a column would be sealed with the rest."""

import sqlite3
from collections.abc import Sequence
from dataclasses import replace

from gatewayd.core.work import Execution
from gatewayd.storage.sqlite.layout import LIVE
from gatewayd.storage.sqlite.seal import damaged, seal
from gatewayd.storage.sqlite.tx import Tx

_LENGTH = 55
"""Characters of a `traceparent` that say something; what may follow in a later version is not kept."""


def save(tx: Tx, execution_id: str, trace: str) -> None:
    """Keep it, in place of an earlier one; '' keeps what is there."""
    if trace:
        text = trace[:_LENGTH]
        tx.execute("REPLACE INTO traces VALUES (?, ?, ?)", (execution_id, text, seal(execution_id, text)))


def with_trace(connection: sqlite3.Connection, execution: Execution) -> Execution:
    """The execution with the trace that it is a part of, if it is."""
    row = connection.execute(
        "SELECT execution_id, traceparent, crc FROM traces WHERE execution_id = ?", (execution.id,)
    ).fetchone()
    return replace(execution, trace=_read(row)) if row else execution


def with_traces(connection: sqlite3.Connection, unfinished: Sequence[Execution]) -> list[Execution]:
    """The same for all that have not ended."""
    rows = connection.execute(
        "SELECT execution_id, traceparent, traces.crc FROM traces JOIN executions INDEXED BY executions_live "
        f"ON executions.id = execution_id WHERE {LIVE}"
    )
    found = {row[0]: _read(row) for row in rows}
    return [replace(one, trace=found[one.id]) if one.id in found else one for one in unfinished]


def _read(row: Sequence[str | int]) -> str:
    execution_id, text, crc = row
    if seal(execution_id, text) != crc:
        raise damaged(f"the trace of execution {execution_id}")
    return str(text)

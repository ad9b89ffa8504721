"""What executions of graphs came to; see `core.graph_result`."""

import sqlite3

from gatewayd.core.graph_result import GraphResult
from gatewayd.storage.sqlite.seal import damaged, seal
from gatewayd.storage.sqlite.tx import Tx


def save(tx: Tx, execution_id: str, result: GraphResult) -> None:
    """Keep it, in place of that of an earlier run."""
    text = result.to_json()
    tx.execute("REPLACE INTO graph_results VALUES (?, ?, ?)", (execution_id, text, seal(execution_id, text)))


def get(connection: sqlite3.Connection, execution_id: str) -> GraphResult | None:
    row = connection.execute("SELECT result, crc FROM graph_results WHERE execution_id = ?", (execution_id,)).fetchone()
    if row is None:
        return None
    if seal(execution_id, row[0]) != row[1]:
        raise damaged(f"the graph's result of execution {execution_id}")
    return GraphResult.from_json(row[0])

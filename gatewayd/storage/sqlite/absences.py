"""Which paused executions wait for a worker of which agent."""

import sqlite3

from gatewayd.core.errors import NotPaused
from gatewayd.core.work import Execution
from gatewayd.storage.sqlite import executions
from gatewayd.storage.sqlite.layout import EXECUTIONS
from gatewayd.storage.sqlite.seal import damaged, seal
from gatewayd.storage.sqlite.tx import Tx

_TABLE = "absences"


def begin(tx: Tx, execution_id: str, agent: str) -> None:
    end(tx, execution_id)
    tx.execute(f"INSERT INTO {_TABLE} VALUES (?, ?, ?)", (execution_id, agent, seal(execution_id, agent)))
    tx.count(_TABLE, 1, 0)


def end(tx: Tx, execution_id: str) -> str:
    """It waits for nobody any more; for which agent it did, '' for none."""
    if not tx.may_have(_TABLE):
        return ""
    row = tx.execute(f"SELECT agent, crc FROM {_TABLE} WHERE execution_id = ?", (execution_id,)).fetchone()
    if row is None:
        return ""
    agent, crc = row
    if seal(execution_id, agent) != crc:
        raise damaged(f"what execution {execution_id} waits for")
    tx.execute(f"DELETE FROM {_TABLE} WHERE execution_id = ?", (execution_id,))
    tx.count(_TABLE, -1, 0)
    return str(agent)


def stay_paused(tx: Tx, execution_id: str, reason: str) -> None:
    old = executions.live(tx, execution_id)
    if not end(tx, execution_id):
        raise NotPaused(f"execution {execution_id} is {old.state}, and waits for no worker")
    executions.save(tx, execution_id, old, old._replace(reason=reason))


def of(connection: sqlite3.Connection, agent: str, after: str, limit: int) -> list[Execution]:
    rows = connection.execute(
        f"SELECT {EXECUTIONS.columns} FROM executions WHERE id IN "
        f"(SELECT execution_id FROM {_TABLE} WHERE agent = ? AND execution_id > ? ORDER BY execution_id LIMIT ?) "
        "ORDER BY id",
        (agent, after, max(0, limit)),
    )
    return [executions.execution_of(values) for values in rows]

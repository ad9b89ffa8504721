"""The part of `SQLiteStore` that implements `storage.agent_states.AgentStateTable`."""

import sqlite3
from functools import partial

from gatewayd.storage.sqlite.reader import Reader
from gatewayd.storage.sqlite.seal import damaged, seal
from gatewayd.storage.sqlite.tx import Tx
from gatewayd.storage.sqlite.unit import Receipt
from gatewayd.storage.sqlite.writer import Writer


class SQLiteAgentStates:
    """See `storage.agent_states.AgentStateTable`."""

    _reader: Reader
    _writer: Writer

    def save_agent_state(self, key: str, state: str, now: float) -> Receipt[None]:
        return self._writer.submit(partial(_save, key=key, state=state, now=float(now)), size=len(state))

    async def agent_state(self, key: str) -> str:
        return await self._reader.run(_find, key)


def _save(tx: Tx, key: str, state: str, now: float) -> None:
    tx.execute("DELETE FROM agent_states WHERE key = ?", (key,))
    if state:
        tx.execute("INSERT INTO agent_states VALUES (?, ?, ?, ?)", (key, state, now, seal(key, state, now)))


def _find(connection: sqlite3.Connection, key: str) -> str:
    found = connection.execute("SELECT state, saved, crc FROM agent_states WHERE key = ?", (key,)).fetchone()
    if found is None:
        return ""
    state, saved, crc = found
    if seal(key, state, saved) != crc:
        raise damaged(f"the state of {key}")
    return str(state)

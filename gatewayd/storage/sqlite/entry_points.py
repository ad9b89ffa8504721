"""The part of `SQLiteStore` that implements `storage.entry_points.EntryPointTables`."""

import sqlite3
from collections.abc import Callable, Sequence
from functools import partial

from gatewayd.core.clock import Clock
from gatewayd.core.event import Event
from gatewayd.core.graph_result import GraphResult
from gatewayd.core.work import Origin
from gatewayd.storage.sqlite import erasure, execution_log, followers, graph_results, letters, state
from gatewayd.storage.sqlite.events import EventReader
from gatewayd.storage.sqlite.layout import ENDED
from gatewayd.storage.sqlite.reader import Reader
from gatewayd.storage.sqlite.seal import damaged, seal
from gatewayd.storage.sqlite.tx import Tx
from gatewayd.storage.sqlite.unit import Receipt
from gatewayd.storage.sqlite.work import message_key
from gatewayd.storage.sqlite.writer import Writer

BITE = 500
"""Executions that one unit deletes at most."""

_ORIGINS = ", ".join(f"'{origin}'" for origin in Origin if origin.stands_alone)
"""In the words of the index on `finished`."""
_CLOSED = (
    "NOT EXISTS (SELECT 1 FROM ledger WHERE ledger.message_id = executions.message_id "
    f"AND ledger.state IN ('queued', 'executed')) AND {letters.NO_OPEN.format(table='executions')}"
)
_SIZE = "length(CAST(text AS BLOB)) + length(CAST(output AS BLOB)) + length(CAST(error AS BLOB))"


class SQLiteEntryPoints:
    """See `storage.entry_points.EntryPointTables`."""

    _reader: Reader
    _writer: Writer
    _events: EventReader
    _encode: Callable[[Event], bytes]
    _clock: Clock

    async def marks(self, prefix: str) -> dict[str, str]:
        return await self._reader.run(_marks, prefix)

    def set_mark(self, name: str, value: str, events: Sequence[Event] = ()) -> Receipt[None]:
        return self._writer.submit(
            partial(_set_mark, name=name, value=value, events=tuple(events)),
            streams=[event.stream_id for event in events],
            size=len(value) + sum(len(event.wire) for event in events),
        )

    def forget_mark(self, name: str) -> Receipt[None]:
        return self._writer.submit(partial(_forget_mark, name=name))

    async def knows(self, scope: str, dedupe_id: str) -> bool:
        return await self._reader.run(_knows, *message_key(scope, dedupe_id))

    async def followers(self, *, session_id: str = "", principal: str = "") -> list[str]:
        return await self._reader.run(followers.find, session_id, principal)

    def erase_executions(self, execution_ids: Sequence[str]) -> Receipt[int]:
        apply = partial(
            erasure.erase_executions,
            execution_ids=tuple(execution_ids),
            events=self._events,
            encode=self._encode,
            now=self._clock.now(),
        )
        return self._writer.submit(apply)

    async def drop_results(self, *, keep: int, before: float) -> int:
        gone = 0
        while ids := await self._reader.run(_surplus, keep, before):
            dropped = await self._writer.submit(partial(_drop, ids=ids))
            gone += dropped
            if dropped < len(ids) or len(ids) < BITE:
                break
        return gone

    async def graph_result(self, execution_id: str) -> GraphResult | None:
        return await self._reader.run(graph_results.get, execution_id)


def _set_mark(tx: Tx, name: str, value: str, events: Sequence[Event]) -> None:
    tx.execute("INSERT OR REPLACE INTO meta VALUES (?, ?, ?)", (name, value, seal(name, value)))
    tx.add_events(events)


def _forget_mark(tx: Tx, name: str) -> None:
    tx.execute("DELETE FROM meta WHERE name = ?", (name,))


def _drop(tx: Tx, ids: Sequence[str]) -> int:
    tx.flush()
    dropped = content = 0
    for execution_id in ids:
        found = tx.execute(
            f"SELECT {_SIZE} FROM executions WHERE id = ? AND {ENDED} AND {_CLOSED}", (execution_id,)
        ).fetchone()
        if found is not None:
            tx.execute("DELETE FROM executions WHERE id = ?", (execution_id,))
            execution_log.forget(tx, (execution_id,))
            state.forget_executions(tx, (execution_id,))
            dropped, content = dropped + 1, content + found[0]
    if dropped:
        tx.forget()
        tx.count("executions", -dropped, -content)
    return dropped


# Reading


def _marks(connection: sqlite3.Connection, prefix: str) -> dict[str, str]:
    found = {}
    rows = connection.execute(
        "SELECT name, value, crc FROM meta WHERE substr(name, 1, ?) = ? ORDER BY name", (len(prefix), prefix)
    )
    for name, value, crc in rows:
        if seal(name, value) != crc:
            raise damaged(f"the mark {name}")
        found[name] = value
    return found


def _knows(connection: sqlite3.Connection, scope: str, id_: str) -> bool:
    return connection.execute("SELECT 1 FROM seen WHERE scope = ? AND id = ?", (scope, id_)).fetchone() is not None


def _surplus(connection: sqlite3.Connection, keep: int, before: float) -> list[str]:
    """A bite of the oldest that may go. Read beside the writer, since it looks through the ended executions."""
    mine = f"{ENDED} AND origin IN ({_ORIGINS})"
    last = connection.execute(
        f"SELECT finished, id FROM executions WHERE {mine} ORDER BY finished DESC, id DESC LIMIT 1 OFFSET ?", (keep,)
    ).fetchone()
    bound = (last[0], last[1]) if last is not None else (-1.0, "")
    rows = connection.execute(
        f"SELECT id FROM executions WHERE {mine} AND {_CLOSED} AND (finished < ? OR (finished, id) <= (?, ?)) "
        "ORDER BY finished, id LIMIT ?",
        (before, *bound, BITE),
    )
    return [row[0] for row in rows]

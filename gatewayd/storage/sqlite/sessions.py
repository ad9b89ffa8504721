"""Sessions and their history."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gatewayd.core.errors import AlreadyExists
from gatewayd.storage.records import HistoryEntry, SessionRecord
from gatewayd.storage.sqlite.seal import damaged, seal, size_of
from gatewayd.storage.sqlite.tx import Tx

LIVE = "state IN ('queued', 'running', 'paused', 'input_required')"
"""Executions that are not in a terminal state, in the words of their partial index."""
_TRIM_BITE = 64


class SessionRow(NamedTuple):
    """A row of `sessions`, without its seal."""

    id: str
    key: str
    principal: str
    agent: str
    channel: str
    rule: str
    created: float
    last_active: float
    ended: float
    end_reason: str
    messages: int
    bytes: int
    next_place: int


COLUMNS = ", ".join((*SessionRow._fields, "crc"))
_SET = ", ".join(f"{name} = ?" for name in (*SessionRow._fields[1:], "crc"))


def row_of(values: Sequence[Any]) -> SessionRow:
    row = SessionRow._make(values[:-1])
    if seal(*row) != values[-1]:
        raise damaged(f"session {row.id}")
    return row


def record_of(row: SessionRow) -> SessionRecord:
    return SessionRecord(*row[:12])


def find(tx: Tx, session_id: str) -> SessionRow | None:
    values = tx.execute(f"SELECT {COLUMNS} FROM sessions WHERE id = ?", (session_id,)).fetchone()
    return row_of(values) if values else None


def save(tx: Tx, row: SessionRow) -> None:
    tx.execute(f"UPDATE sessions SET {_SET} WHERE id = ?", (*row[1:], seal(*row), row.id))


def put(tx: Tx, record: SessionRecord) -> None:
    """Insert, or update what an acceptance may change; counters and the end belong to the store."""
    known = find(tx, record.id)
    if known is not None:
        save(
            tx,
            known._replace(
                agent=record.agent,
                channel=record.channel,
                rule=record.rule,
                last_active=max(known.last_active, float(record.last_active)),
            ),
        )
        return
    row = SessionRow(
        record.id,
        record.key,
        record.principal,
        record.agent,
        record.channel,
        record.rule,
        float(record.created),
        float(record.last_active),
        0.0,
        "",
        0,
        0,
        1,
    )
    try:
        tx.execute(f"INSERT INTO sessions ({COLUMNS}) VALUES ({', '.join('?' * 14)})", (*row, seal(*row)))
    except sqlite3.IntegrityError as error:
        raise AlreadyExists(f"another session of the key of {record.id} is not ended") from error
    tx.count("sessions", 1, 0)


def end(tx: Tx, session_id: str, reason: str, time: float) -> bool:
    row = find(tx, session_id)
    if row is None or row.ended:
        return False
    save(tx, row._replace(ended=float(time), end_reason=reason))
    return True


def add_turn(
    tx: Tx, session_id: str, turn: Sequence[HistoryEntry], time: float, *, max_messages: int, max_bytes: int
) -> None:
    """Add the entries, forget the oldest beyond the bounds (0 = none), and note that the session was active."""
    row = find(tx, session_id)
    if row is None:
        return
    place, size = row.next_place, 0
    rows = []
    for entry in turn:
        values = (session_id, place, entry.role, entry.content, float(entry.time), entry.execution_id)
        rows.append((*values, seal(*values)))
        size += size_of(entry.content)
        place += 1
    tx.insert("history", rows, 7)
    messages, kept = row.messages + len(rows), row.bytes + size
    messages, kept = _trim(tx, session_id, (messages, kept), max_messages, max_bytes)
    tx.count("sessions", 0, kept - row.bytes)
    save(
        tx,
        row._replace(messages=messages, bytes=kept, next_place=place, last_active=max(row.last_active, float(time))),
    )


def _trim(tx: Tx, session_id: str, held: tuple[int, int], max_messages: int, max_bytes: int) -> tuple[int, int]:
    messages, kept = held

    def over() -> bool:
        return bool((max_messages and messages > max_messages) or (max_bytes and kept > max_bytes))

    while over() and messages:
        oldest = tx.execute(
            "SELECT place, length(CAST(content AS BLOB)) FROM history WHERE session_id = ? ORDER BY place LIMIT ?",
            (session_id, min(_TRIM_BITE, max(2, messages - max_messages) if max_messages else _TRIM_BITE)),
        ).fetchall()
        if not oldest:
            break
        last = 0
        for place, size in oldest:
            if not over():
                break
            last, messages, kept = place, messages - 1, kept - size
        tx.execute("DELETE FROM history WHERE session_id = ? AND place <= ?", (session_id, last))
    return messages, kept


# Reading


def get(connection: sqlite3.Connection, where: str, value: str) -> SessionRecord | None:
    values = connection.execute(f"SELECT {COLUMNS} FROM sessions WHERE {where}", (value,)).fetchone()
    return record_of(row_of(values)) if values else None


def list_all(
    connection: sqlite3.Connection,
    owners: Mapping[str, str],
    *,
    include_ended: bool,
    before: str,
    limit: int,
) -> list[SessionRecord]:
    where: list[str] = ["1"]
    arguments: list[object] = []
    for column, value in owners.items():
        if value:
            where.append(f"{column} = ?")
            arguments.append(value)
    if not include_ended:
        where.append("ended = 0")
    if before:
        where.append("id < ?")
        arguments.append(before)
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM sessions WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?",
        [*arguments, max(0, limit)],
    )
    return [record_of(row_of(values)) for values in rows]


def count_active(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT agent, count(*) FROM sessions WHERE ended = 0 GROUP BY agent"))


def idle(connection: sqlite3.Connection, idle_since: float, limit: int) -> list[SessionRecord]:
    rows = connection.execute(
        f"SELECT {COLUMNS} FROM sessions WHERE ended = 0 AND last_active < ? AND NOT EXISTS "
        f"(SELECT 1 FROM executions WHERE executions.session_id = sessions.id AND {LIVE}) "
        "ORDER BY last_active LIMIT ?",
        (idle_since, max(0, limit)),
    )
    return [record_of(row_of(values)) for values in rows]


def history(connection: sqlite3.Connection, session_id: str, max_messages: int, max_bytes: int) -> list[HistoryEntry]:
    entries: list[HistoryEntry] = []
    size = 0
    rows = connection.execute(
        "SELECT session_id, place, role, content, time, execution_id, crc FROM history "
        "WHERE session_id = ? ORDER BY place DESC LIMIT ?",
        (session_id, max_messages if max_messages > 0 else -1),
    )
    for *values, crc in rows:
        if seal(*values) != crc:
            raise damaged(f"history of session {session_id}")
        size += size_of(values[3])
        if max_bytes and size > max_bytes:
            break
        entries.append(HistoryEntry(*values[2:]))
    entries.reverse()
    return entries

"""Sessions and their history."""

import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from gatewayd.core.errors import AlreadyExists
from gatewayd.storage.records import HistoryEntry, SessionRecord
from gatewayd.storage.sqlite.layout import LIVE, SESSIONS, SessionStatus
from gatewayd.storage.sqlite.seal import damaged, seal, size_of
from gatewayd.storage.sqlite.tx import Tx

_TRIM_BITE = 64


def put(tx: Tx, record: SessionRecord) -> None:
    """Insert, or update what an acceptance may change; counters and the end belong to the store."""
    known = tx.sessions.find(record.id)
    if known is not None:
        last_active = max(known.last_active, float(record.last_active))
        tx.sessions.save(
            record.id,
            known._replace(agent=record.agent, channel=record.channel, rule=record.rule, last_active=last_active),
        )
        return
    if _key_is_taken(tx, record.key):
        raise AlreadyExists(f"another session of the key of {record.id} is not ended")
    tx.sessions.insert(
        (record.id, record.key, record.principal, float(record.created)),
        SessionStatus(record.agent, record.channel, record.rule, float(record.last_active), 0.0, "", 0, 0, 1),
    )
    tx.count("sessions", 1, 0)


def _key_is_taken(tx: Tx, key: str) -> bool:
    changed = dict(tx.sessions.linked(key))
    if any(not status.ended for status in changed.values()):
        return True
    found = tx.execute("SELECT id FROM sessions WHERE key = ? AND ended = 0", (key,)).fetchone()
    return found is not None and found[0] not in changed


def end(tx: Tx, session_id: str, reason: str, time: float) -> bool:
    status = tx.sessions.find(session_id)
    if status is None or status.ended:
        return False
    tx.sessions.save(session_id, status._replace(ended=float(time), end_reason=reason))
    return True


def add_turn(
    tx: Tx, session_id: str, turn: Sequence[HistoryEntry], time: float, *, max_messages: int, max_bytes: int
) -> None:
    """Add the entries, forget the oldest beyond the bounds (0 = none), and note that the session was active."""
    status = tx.sessions.find(session_id)
    if status is None:
        return
    place, messages, kept = status.next_place, status.messages, status.bytes
    for entry in turn:
        tx.add_history((session_id, place, entry.role, entry.content, float(entry.time), entry.execution_id))
        kept += size_of(entry.content)
        place, messages = place + 1, messages + 1
    messages, kept = _trim(tx, session_id, (messages, kept), max_messages, max_bytes)
    tx.count("sessions", 0, kept - status.bytes)
    last_active = max(status.last_active, float(time))
    tx.sessions.save(
        session_id, status._replace(messages=messages, bytes=kept, next_place=place, last_active=last_active)
    )


def _trim(tx: Tx, session_id: str, held: tuple[int, int], max_messages: int, max_bytes: int) -> tuple[int, int]:
    messages, kept = held

    def over() -> bool:
        return bool((max_messages and messages > max_messages) or (max_bytes and kept > max_bytes))

    if over():
        tx.flush_rows("history")
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


def record_of(values: Sequence[Any]) -> SessionRecord:
    (session_id, key, principal, created), status = SESSIONS.read(values)
    return SessionRecord(
        id=session_id,
        key=key,
        principal=principal,
        agent=status.agent,
        channel=status.channel,
        rule=status.rule,
        created=created,
        last_active=status.last_active,
        ended=status.ended,
        end_reason=status.end_reason,
        messages=status.messages,
        bytes=status.bytes,
    )


def get(connection: sqlite3.Connection, where: str, value: str) -> SessionRecord | None:
    values = connection.execute(f"SELECT {SESSIONS.columns} FROM sessions WHERE {where}", (value,)).fetchone()
    return record_of(values) if values else None


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
        f"SELECT {SESSIONS.columns} FROM sessions WHERE {' AND '.join(where)} ORDER BY id DESC LIMIT ?",
        [*arguments, max(0, limit)],
    )
    return [record_of(values) for values in rows]


def count_active(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT agent, count(*) FROM sessions WHERE ended = 0 GROUP BY agent"))


def idle(connection: sqlite3.Connection, idle_since: float, limit: int) -> list[SessionRecord]:
    rows = connection.execute(
        f"SELECT {SESSIONS.columns} FROM sessions WHERE ended = 0 AND last_active < ? AND NOT EXISTS "
        f"(SELECT 1 FROM executions WHERE executions.session_id = sessions.id AND {LIVE}) "
        "ORDER BY last_active LIMIT ?",
        (idle_since, max(0, limit)),
    )
    return [record_of(values) for values in rows]


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

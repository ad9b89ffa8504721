"""The joined reads of `storage.views`."""

import json
import sqlite3
from collections.abc import Collection, Sequence
from typing import Any

from gatewayd.storage.records import DeadLetterKind, HistoryEntry, LedgerRecord, OutboxRow, SessionRecord, Step
from gatewayd.storage.sqlite import executions, ledger, letters, outbox, sessions
from gatewayd.storage.sqlite.layout import LEDGER, LIVE, OUTBOX, PENDING, SESSIONS
from gatewayd.storage.sqlite.reader import Reader
from gatewayd.storage.sqlite.seal import damaged, seal
from gatewayd.storage.views import HistoryLine, OpenLetter

_OTHER_CHANNEL = "channel NOT IN (SELECT value FROM json_each(?))"
_LETTER = "id, kind, message_id, reference, channel, reason, time, retried, crc"


class SQLiteViews:
    """The part of `SQLiteStore` that implements `storage.views.Views`."""

    _reader: Reader

    async def recent_sessions(
        self, *, principal: str, agent: str, channel: str, before: tuple[float, str] | None, limit: int
    ) -> list[SessionRecord]:
        owners = {"principal": principal, "agent": agent, "channel": channel}
        return await self._reader.run(_recent_sessions, owners, before, limit)

    async def history_lines(self, session_id: str, *, after: int, newest: bool, limit: int) -> list[HistoryLine]:
        return await self._reader.run(_history_lines, session_id, after, newest, limit)

    async def pieces(self, message_id: str, limit: int) -> list[OutboxRow]:
        return await self._reader.run(_pieces, message_id, limit)

    async def open_letters(self, *, channel: str, after: str, limit: int) -> list[OpenLetter]:
        return await self._reader.run(_open_letters, channel, after, limit)

    async def count_letters(self) -> dict[str, int]:
        return await self._reader.run(_count_letters)

    async def message_on(self, channel: str, platform_id: str) -> str:
        return await self._reader.run(_message_on, channel, platform_id)

    async def waiting_answers(self, *, besides: Collection[str], limit: int) -> dict[str, int]:
        return await self._reader.run(_waiting_answers, besides, limit)

    async def overdue_pieces(self, before: float, *, besides: Collection[str], limit: int) -> list[OutboxRow]:
        return await self._reader.run(_overdue_pieces, before, besides, limit)

    async def overdue_stories(self, before: float, limit: int) -> list[LedgerRecord]:
        return await self._reader.run(_overdue_stories, before, limit)

    async def last_steps(self, message_ids: Sequence[str]) -> dict[str, Step]:
        return await self._reader.run(_last_steps, message_ids)


def _recent_sessions(
    connection: sqlite3.Connection, owners: dict[str, str], before: tuple[float, str] | None, limit: int
) -> list[SessionRecord]:
    where, arguments = ["ended = 0"], list[Any]()
    for column, value in owners.items():
        if value:
            where.append(f"{column} = ?")
            arguments.append(value)
    if before is not None:
        where.append("(last_active, id) < (?, ?)")
        arguments.extend(before)
    rows = connection.execute(
        f"SELECT {SESSIONS.columns} FROM sessions WHERE {' AND '.join(where)} "
        "ORDER BY last_active DESC, id DESC LIMIT ?",
        [*arguments, max(0, limit)],
    )
    return [sessions.record_of(values) for values in rows]


def _history_lines(
    connection: sqlite3.Connection, session_id: str, after: int, newest: bool, limit: int
) -> list[HistoryLine]:
    rows = connection.execute(
        "SELECT session_id, place, role, content, time, execution_id, crc, "
        "coalesce((SELECT message_id FROM executions WHERE executions.id = history.execution_id), '') "
        f"FROM history WHERE session_id = ? AND place > ? ORDER BY place {'DESC' if newest else 'ASC'} LIMIT ?",
        (session_id, after, max(0, limit)),
    )
    lines = []
    for *values, crc, message_id in rows:
        if seal(*values) != crc:
            raise damaged(f"history of session {session_id}")
        lines.append(HistoryLine(values[1], HistoryEntry(*values[2:]), message_id))
    return lines[::-1] if newest else lines


def _pieces(connection: sqlite3.Connection, message_id: str, limit: int) -> list[OutboxRow]:
    rows = connection.execute(
        f"SELECT {OUTBOX.columns} FROM outbox WHERE message_id = ? ORDER BY id LIMIT ?", (message_id, max(0, limit))
    )
    return [outbox.row_of(values) for values in rows]


def _open_letters(connection: sqlite3.Connection, channel: str, after: str, limit: int) -> list[OpenLetter]:
    where, arguments = "retried = 0 AND id > ?", [after]
    if channel:
        where += " AND channel = ?"
        arguments.append(channel)
    rows = connection.execute(
        f"SELECT {_LETTER} FROM dead_letters WHERE {where} ORDER BY id LIMIT ?", [*arguments, max(0, limit)]
    ).fetchall()
    return [_letter(connection, values) for values in rows]


def _letter(connection: sqlite3.Connection, values: Sequence[Any]) -> OpenLetter:
    letter = letters.letter_of(values)
    if letter.kind is DeadLetterKind.OUTBOUND:
        found = connection.execute(f"SELECT {OUTBOX.columns} FROM outbox WHERE id = ?", (letter.reference,)).fetchone()
        if found is not None:
            row = outbox.row_of(found)
            return OpenLetter(letter, row.chat, row.text, row.attempts)
    elif (execution := executions.get(connection, letter.reference)) is not None:
        return OpenLetter(letter, execution.reply_to.chat, execution.text, execution.attempts)
    return OpenLetter(letter, "", "", 0)


def _count_letters(connection: sqlite3.Connection) -> dict[str, int]:
    return dict(connection.execute("SELECT channel, count(*) FROM dead_letters WHERE retried = 0 GROUP BY channel"))


def _message_on(connection: sqlite3.Connection, channel: str, platform_id: str) -> str:
    if not platform_id:
        return ""
    found: str | None = connection.execute(
        "SELECT max(message_id) FROM (SELECT message_id FROM inbox WHERE platform_id = ?1 AND channel = ?2 "
        "UNION ALL SELECT message_id FROM outbox WHERE platform_id = ?1 AND channel = ?2)",
        (platform_id, channel),
    ).fetchone()[0]
    return found or ""


def _waiting_answers(connection: sqlite3.Connection, besides: Collection[str], limit: int) -> dict[str, int]:
    return dict(
        connection.execute(
            f"SELECT channel, count(DISTINCT message_id) FROM (SELECT channel, message_id FROM outbox WHERE {PENDING} "
            f"AND {_OTHER_CHANNEL} LIMIT ?) GROUP BY channel",
            (json.dumps(list(besides)), max(0, limit)),
        )
    )


def _overdue_pieces(
    connection: sqlite3.Connection, before: float, besides: Collection[str], limit: int
) -> list[OutboxRow]:
    rows = connection.execute(
        f"SELECT {OUTBOX.columns} FROM outbox WHERE {PENDING} AND {_OTHER_CHANNEL} AND created < ? ORDER BY id LIMIT ?",
        (json.dumps(list(besides)), before, max(0, limit)),
    )
    return [outbox.row_of(values) for values in rows]


def _overdue_stories(connection: sqlite3.Connection, before: float, limit: int) -> list[LedgerRecord]:
    rows = connection.execute(
        f"SELECT {LEDGER.columns} FROM ledger WHERE state IN ('queued', 'executed') AND updated < ? "
        f"AND NOT EXISTS (SELECT 1 FROM executions WHERE executions.id = ledger.execution_id AND {LIVE}) "
        f"AND NOT EXISTS (SELECT 1 FROM outbox WHERE outbox.message_id = ledger.message_id AND {PENDING}) "
        "ORDER BY message_id LIMIT ?",
        (before, max(0, limit)),
    ).fetchall()
    return [ledger.record_of(connection, values, with_steps=False) for values in rows]


def _last_steps(connection: sqlite3.Connection, message_ids: Sequence[str]) -> dict[str, Step]:
    steps = {}
    for message_id in message_ids:
        values = connection.execute(
            f"SELECT {LEDGER.columns} FROM ledger WHERE message_id = ?", (message_id,)
        ).fetchone()
        if values is None:
            continue
        _, status = LEDGER.read(values)
        if told := ledger.read_steps(status.steps):
            steps[message_id] = told[-1]
    return steps

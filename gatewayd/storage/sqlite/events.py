"""The event log: appending a batch, and reading it in bounded windows."""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from gatewayd.core.errors import IdConflict
from gatewayd.core.event import Event
from gatewayd.core.filter import EventFilter
from gatewayd.storage.records import EventPage, LogState, Published
from gatewayd.storage.sqlite import checkpoints
from gatewayd.storage.sqlite.seal import damaged, seal_event
from gatewayd.storage.sqlite.seen import Key
from gatewayd.storage.sqlite.tx import Tx

SCAN = 20_000
"""Rows that one read looks through at most, so that a filter that matches nothing does not hold a connection."""

COLUMNS = "seq, type, stream_id, node_id, execution_id, session_id, correlation_id, topic, owner, time, wire, crc"


def scope_key(scope: str) -> str:
    """Event ids and messages' ids of one principal do not know each other."""
    return f"event {scope}"


def append(tx: Tx, published: Sequence[Published], scope: str, now: float) -> list[Event]:
    """All or nothing: a conflict raises before anything is written, and what was gathered is undone."""
    scope = scope_key(scope)
    keys = [(scope, item.event.id) for item in published if item.digest]
    if keys and len(set(keys)) == len(published) and not tx.seen.any(keys):
        stamped = tx.add_events([item.event for item in published])
        tx.seen.add(keys, [item.digest for item in published], [str(event.seq) for event in stamped], now)
        for item in published:
            checkpoints.tell_call(tx, item)
        return stamped
    before = tx.last_seq
    return [_append_one(tx, item, (scope, item.event.id), before, now) for item in published]


def _append_one(tx: Tx, item: Published, key: Key, before: int, now: float) -> Event:
    """One of a batch that began behind the place `before`."""
    event, digest = item.event, item.digest
    first = tx.seen.get(key) if digest else None
    if first is None:
        event = tx.add_event(event)
        checkpoints.tell_call(tx, item)
        if digest:
            tx.seen.add((key,), (digest,), (str(event.seq),), now)
        return event
    first_digest, ref = first
    if first_digest == digest:
        return event.stamped(tx.epoch, int(ref))
    if int(ref) > before:
        raise IdConflict(f"event id {event.id!r} is twice in this batch, with different content")
    raise IdConflict(f"event id {event.id!r} was published before with other content")


class EventReader:
    """Reads pages of the log; `decode` makes an event of its bytes."""

    def __init__(self, decode: Callable[[bytes], Event]) -> None:
        self._decode = decode

    def forward(
        self, connection: sqlite3.Connection, log: LogState, after: int, selection: EventFilter, limit: int
    ) -> EventPage:
        after = max(0, after)
        end = min(log.last_seq, after + SCAN)
        if limit <= 0 or end <= after:
            return EventPage((), after)
        where, values = _conditions(selection)
        rows = connection.execute(
            f"SELECT {COLUMNS} FROM events WHERE seq > ? AND seq <= ?{where} ORDER BY seq", [after, end, *values]
        )
        return self._page(rows, log, selection, limit, end)

    def backward(
        self, connection: sqlite3.Connection, log: LogState, before: int, selection: EventFilter, limit: int
    ) -> EventPage:
        if before <= 0 or before > log.last_seq:
            before = log.last_seq + 1
        start = max(log.first_seq, before - SCAN)
        if limit <= 0 or before <= log.first_seq:
            return EventPage((), before)
        where, values = _conditions(selection)
        rows = connection.execute(
            f"SELECT {COLUMNS} FROM events WHERE seq < ? AND seq >= ?{where} ORDER BY seq DESC",
            [before, start, *values],
        )
        return self._page(rows, log, selection, limit, start)

    def _page(
        self, rows: Iterator[tuple[Any, ...]], log: LogState, selection: EventFilter, limit: int, end: int
    ) -> EventPage:
        found: list[Event] = []
        for row in rows:
            if selection.topic is not None and not (row[7] and selection.topic.matches(row[7])):
                continue
            found.append(self.event_of(row, log.epoch))
            if len(found) == limit:
                return EventPage(tuple(found), found[-1].seq)
        return EventPage(tuple(found), end)

    def event_of(self, row: tuple[Any, ...], epoch: str) -> Event:
        """The event of a row in the order of the table's columns, its seal and its columns checked."""
        seq, kind, stream, node, execution, session, correlation, topic, owner, time, wire, crc = row
        if seal_event(seq, owner, time, wire) != crc:
            raise damaged(f"event {seq}")
        event = self._decode(wire)
        columns = (
            event.type,
            event.stream_id,
            event.node_id,
            event.execution_id,
            event.session_id,
            event.correlation_id,
            event.topic,
        )
        if columns != (kind, stream, node, execution, session, correlation, topic):
            raise damaged(f"event {seq}")
        return replace(event, owner=owner, epoch=epoch, seq=seq, wire=wire)

    def blank(self, row: tuple[Any, ...], encode: Callable[[Event], bytes]) -> tuple[Any, ...]:
        """The row of the same event without its data: what is left after an erasure."""
        event = replace(self.event_of(row, ""), data={}, wire=b"", seq=0)
        wire = encode(event)
        return (*row[:10], wire, seal_event(row[0], row[8], row[9], wire))


def first_seq(connection: sqlite3.Connection) -> int:
    """The oldest event's seq; 0 when there is none."""
    found: int = connection.execute("SELECT coalesce(min(seq), 0) FROM events").fetchone()[0]
    return found


def _conditions(selection: EventFilter) -> tuple[str, list[Any]]:
    where, values = "", []
    if selection.types is not None:
        where += f" AND type IN ({', '.join(str(int(kind)) for kind in sorted(selection.types))})"
    for column in ("stream_id", "node_id", "execution_id", "session_id", "correlation_id"):
        value = getattr(selection, column)
        if value:
            where += f" AND {column} = ?"
            values.append(value)
    if selection.topic is not None:
        where += " AND topic <> ''"
    return where, values

"""Shared state: compare and set, expiry, and what goes with an execution."""

import json
import logging
import sqlite3
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Any

from gatewayd.core.errors import ExecutionFinished, LimitExceeded, NotFound, StoreCorrupt
from gatewayd.core.event import EventType
from gatewayd.core.state import Place, StateEntry, StateLimits, StateScope
from gatewayd.core.work import ExecutionState
from gatewayd.storage.sqlite.seal import damaged, seal, size_of
from gatewayd.storage.sqlite.tx import ROW_BYTES, Tx
from gatewayd.storage.state import StateMismatch, StateOutcome, StateTotals, StateWrite

_log = logging.getLogger("gatewayd.storage")

_COLUMNS = "scope, scope_id, key, value, version, writer, updated, expires, crc"
_AT = "scope = ? AND scope_id = ? AND key = ?"


def write(tx: Tx, writes: Sequence[StateWrite], *, writer: str, now: float, limits: StateLimits) -> StateOutcome:
    for place in {one.place for one in writes}:
        _check_place(tx, place)
    kept = [_find(tx, one.place, one.key) for one in writes]
    there = [entry if entry is not None and entry.is_there(now) else None for entry in kept]
    mismatches = tuple(
        StateMismatch(one.place, one.key, one.expected, entry.version if entry else 0)
        for one, entry in zip(writes, there, strict=True)
        if one.expected is not None and one.expected != (entry.version if entry else 0)
    )
    if mismatches:
        _tell_conflicts(tx, writes, mismatches)
        return StateOutcome(mismatches=mismatches)
    _check_room(tx, writes, kept, limits)
    done = []
    for one, old, seen in zip(writes, kept, there, strict=True):
        new = StateEntry(one.place, one.key, one.text, 0, writer, float(now), float(one.expires))
        done.append(_apply(tx, one, new, old, seen))
    return StateOutcome(tuple(done))


def _apply(tx: Tx, one: StateWrite, new: StateEntry, old: StateEntry | None, seen: StateEntry | None) -> StateEntry:
    """`old` is what is kept, `seen` the same unless it has expired."""
    if not one.text and seen is None:
        return StateEntry(one.place, one.key, "", 0)
    data = {
        "key": one.key,
        "old_value": seen.value if seen else None,
        "new_value": json.loads(one.text) if one.text else None,
        "scope": str(one.place.scope),
    }
    version = tx.add_event(replace(one.event, type=EventType.STATE_CHANGED, data=data)).seq
    entry = replace(new, version=version)
    if one.text:
        _save(tx, entry, old)
    elif old is not None:
        _delete(tx, old)
    return entry


def drop_expired(tx: Tx, writes: Sequence[StateWrite], now: float) -> int:
    gone = 0
    for one in writes:
        entry = _find(tx, one.place, one.key)
        if entry is None or entry.version != one.expected or entry.is_there(now):
            continue
        data = {"key": one.key, "old_value": entry.value, "new_value": None, "scope": str(one.place.scope)}
        tx.add_event(replace(one.event, type=EventType.STATE_CHANGED, data=data))
        _delete(tx, entry)
        gone += 1
    return gone


def forget_executions(tx: Tx, execution_ids: Iterable[str]) -> None:
    """What was kept for these executions goes with them; nothing tells of it."""
    if not tx.totals("state")[0]:
        return
    for execution_id in execution_ids:
        place = (str(StateScope.EXECUTION), execution_id)
        rows = tx.execute("SELECT key, value FROM state WHERE scope = ? AND scope_id = ?", place).fetchall()
        if rows:
            tx.execute("DELETE FROM state WHERE scope = ? AND scope_id = ?", place)
            tx.count("state", -len(rows), -sum(size_of(key, text) for key, text in rows))


def _check_place(tx: Tx, place: Place) -> None:
    """An execution's state ends with its work: what is written later would tell nobody anything."""
    if place.scope is not StateScope.EXECUTION:
        return
    status = tx.executions.find(place.id)
    if status is None:
        raise NotFound(f"no execution {place.id!r}")
    if ExecutionState(status.state).terminal:
        raise ExecutionFinished(f"execution {place.id} has ended already: {status.state}")


def _tell_conflicts(tx: Tx, writes: Sequence[StateWrite], mismatches: Sequence[StateMismatch]) -> None:
    envelopes = {(one.place, one.key): one.event for one in writes}
    for one in mismatches:
        data = {
            "key": one.key,
            "expected_version": one.expected,
            "actual_version": one.actual,
            "scope": str(one.place.scope),
        }
        tx.add_event(replace(envelopes[one.place, one.key], type=EventType.STATE_CONFLICT, data=data))


def _check_room(tx: Tx, writes: Sequence[StateWrite], kept: Sequence[StateEntry | None], limits: StateLimits) -> None:
    growth = 0
    new: Counter[Place] = Counter()
    for one, old in zip(writes, kept, strict=True):
        growth -= _weight(old.key, old.text) if old else 0
        growth += _weight(one.key, one.text) if one.text else 0
        new[one.place] += bool(one.text) - (old is not None)
    for place, more in new.items():
        if more > 0 and _count(tx, place) + more > limits.keys:
            raise LimitExceeded(
                f"{place} has {limits.keys} keys, which is all that may be kept", metadata={"limit": "state_keys"}
            )
    _, size = tx.totals("state")
    if growth > 0 and size + growth > limits.total_bytes:
        raise LimitExceeded(
            f"the shared state is {size} bytes large; at most {limits.total_bytes} are kept",
            metadata={"limit": "state_bytes"},
        )


def _weight(key: str, text: str) -> int:
    return size_of(key, text) + ROW_BYTES


def _count(tx: Tx, place: Place) -> int:
    at = (str(place.scope), place.id)
    return int(tx.execute("SELECT count(*) FROM state WHERE scope = ? AND scope_id = ?", at).fetchone()[0])


def _find(tx: Tx, place: Place, key: str) -> StateEntry | None:
    row = tx.execute(f"SELECT {_COLUMNS} FROM state WHERE {_AT}", (str(place.scope), place.id, key)).fetchone()
    return _entry_of(row) if row else None


def _save(tx: Tx, entry: StateEntry, old: StateEntry | None) -> None:
    values = _values_of(entry)
    tx.execute("REPLACE INTO state VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", (*values, seal(*values)))
    before = size_of(old.key, old.text) if old else 0
    tx.count("state", 0 if old else 1, size_of(entry.key, entry.text) - before)


def _delete(tx: Tx, entry: StateEntry) -> None:
    tx.execute(f"DELETE FROM state WHERE {_AT}", (str(entry.place.scope), entry.place.id, entry.key))
    tx.count("state", -1, -size_of(entry.key, entry.text))


def _values_of(entry: StateEntry) -> tuple[Any, ...]:
    place = (str(entry.place.scope), entry.place.id)
    return (*place, entry.key, entry.text, entry.version, entry.writer, entry.updated, entry.expires)


def _entry_of(row: Sequence[Any]) -> StateEntry:
    if seal(*row[:8]) != row[8]:
        raise damaged(f"the state {row[2]!r} of {row[0]} {row[1]}".rstrip())
    return StateEntry(Place(StateScope(row[0]), row[1]), *row[2:8])


# Reading


def read(connection: sqlite3.Connection, wanted: Sequence[tuple[Place, str]]) -> list[StateEntry]:
    if not wanted:
        return []
    flat = [part for place, key in wanted for part in (str(place.scope), place.id, key)]
    places = ", ".join(["(?, ?, ?)"] * len(wanted))
    # As a join in this order: for a list of places SQLite would walk through the whole table.
    rows = connection.execute(
        f"WITH wanted (s, i, k) AS (VALUES {places}) SELECT {_COLUMNS} FROM wanted CROSS JOIN state "
        "ON scope = s AND scope_id = i AND key = k",
        flat,
    )
    return [_entry_of(row) for row in rows]


def list_place(connection: sqlite3.Connection, place: Place, after: str, limit: int) -> list[StateEntry]:
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM state WHERE scope = ? AND scope_id = ? AND key > ? ORDER BY key LIMIT ?",
        (str(place.scope), place.id, after, max(0, limit)),
    )
    return [_entry_of(row) for row in rows]


def totals(connection: sqlite3.Connection) -> StateTotals:
    keys = connection.execute("SELECT scope, count(*) FROM state GROUP BY scope")
    counts = {StateScope(scope): count for scope, count in keys}
    row = connection.execute("SELECT bytes FROM totals WHERE name = 'state'").fetchone()
    return StateTotals(counts, row[0] if row else 0)


def list_expired(connection: sqlite3.Connection, now: float, limit: int) -> list[StateEntry]:
    """Rows that are damaged stay where they are, and hold up nobody."""
    rows = connection.execute(
        f"SELECT {_COLUMNS} FROM state WHERE expires > 0 AND expires <= ? ORDER BY expires", (float(now),)
    )
    found: list[StateEntry] = []
    broken = 0
    for row in rows:
        if len(found) >= limit:
            break
        try:
            found.append(_entry_of(row))
        except StoreCorrupt:
            broken += 1
    if broken:
        _log.error("state_damaged", extra={"expired_rows": broken})
    return found

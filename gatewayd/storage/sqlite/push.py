"""Push topics, members, pending deliveries and their dead letters."""

import sqlite3
from collections.abc import Iterable, Sequence
from typing import Any

from gatewayd.core.errors import IdConflict
from gatewayd.core.push import Peer, TopicDeadReason
from gatewayd.storage.push import (
    Kept,
    MemberRecord,
    Pending,
    PushedMessage,
    Recipient,
    Settled,
    TopicLetter,
    TopicRecord,
    Waiting,
)
from gatewayd.storage.sqlite.seal import damaged, seal, seal_bytes
from gatewayd.storage.sqlite.seen import Key
from gatewayd.storage.sqlite.tx import Tx

_PENDING = "principal, client_id, message_id, topic, size, expires, attempts, retries, crc"
_LETTER = "number, principal, client_id, topic, message_id, reason, attempts, time, wire, crc"
_PLACE = "principal = ? AND client_id = ? AND message_id = ?"
_Row = Sequence[Any]


def add_topic(tx: Tx, record: TopicRecord) -> bool:
    values = (record.name, record.owner, record.metadata, float(record.created))
    done = tx.execute("INSERT OR IGNORE INTO push_topics VALUES (?, ?, ?, ?, ?)", (*values, seal(*values)))
    return done.rowcount > 0


def remove_topic(tx: Tx, name: str) -> None:
    tx.execute("DELETE FROM push_members WHERE topic = ?", (name,))
    tx.execute("DELETE FROM push_topics WHERE name = ?", (name,))


def keep_member(tx: Tx, record: MemberRecord) -> None:
    values = (record.topic, *_peer(record.peer), float(record.joined), float(record.seen))
    tx.execute("REPLACE INTO push_members VALUES (?, ?, ?, ?, ?, ?)", (*values, seal(*values)))


def end_member(tx: Tx, topic: str, peer: Peer, reason: TopicDeadReason, time: float) -> list[Settled]:
    tx.execute("DELETE FROM push_members WHERE topic = ? AND principal = ? AND client_id = ?", (topic, *_peer(peer)))
    rows = tx.execute(
        f"SELECT {_PENDING} FROM push_pending WHERE principal = ? AND client_id = ? AND topic = ?",
        (*_peer(peer), topic),
    ).fetchall()
    return _bury(tx, rows, reason, time)


def keep(
    tx: Tx,
    message: PushedMessage,
    recipients: Sequence[Recipient],
    refused: Sequence[Peer],
    *,
    key: Key | None,
    digest: bytes,
    count: int,
) -> Kept:
    if key is not None:
        seen = tx.seen.get(key)
        if seen is not None:
            first_digest, ref = seen
            if first_digest != digest:
                raise IdConflict(f"idempotency key {key[1]!r} was used for another message")
            first, _, told = ref.partition(" ")
            return Kept(first, int(told), duplicate=True)
        tx.seen.add((key,), (digest,), (f"{message.id} {count}",), float(message.time))
    if recipients:
        tx.execute(
            "INSERT INTO push_messages VALUES (?, ?, ?)",
            (message.id, message.wire, _seal_wire(message.id, message.wire)),
        )
    rows = []
    for recipient in recipients:
        place = (*_peer(recipient.peer), message.id, message.topic)
        values = (*place, len(message.wire), float(message.expires), recipient.attempts, 0)
        rows.append((*values, seal(*values)))
    tx.executemany("INSERT INTO push_pending VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", rows)
    for peer in refused:
        to = (*_peer(peer), message.topic, message.id)
        _add_letter(tx, (*to, str(TopicDeadReason.QUEUE_FULL), 0, float(message.time)), message.wire)
    return Kept(message.id, count)


def retry_letter(tx: Tx, number: int, message: PushedMessage, recipient: Recipient) -> Kept:
    row = tx.execute("SELECT length(wire) FROM push_dead_letters WHERE number = ?", (number,)).fetchone()
    if row is None:
        return Kept(message.id, 0, duplicate=True)
    tx.execute("DELETE FROM push_dead_letters WHERE number = ?", (number,))
    tx.count("push_dead_letters", -1, -row[0])
    return keep(tx, message, [recipient], [], key=None, digest=b"", count=1)


def settle(tx: Tx, peer: Peer, message_ids: Sequence[str]) -> list[Settled]:
    return _remove(tx, _find(tx, peer, message_ids))


def give_up(tx: Tx, peer: Peer, message_ids: Sequence[str], reason: TopicDeadReason, time: float) -> list[Settled]:
    return _bury(tx, _find(tx, peer, message_ids), reason, time)


def give_up_expired(tx: Tx, now: float, limit: int) -> list[Settled]:
    rows = tx.execute(
        f"SELECT {_PENDING} FROM push_pending WHERE expires <= ? ORDER BY expires LIMIT ?", (now, limit)
    ).fetchall()
    return _bury(tx, rows, TopicDeadReason.EXPIRED, now)


def note_attempts(tx: Tx, peer: Peer, attempts: Sequence[tuple[str, int, int]]) -> None:
    known = {row[2]: row for row in _find(tx, peer, [message_id for message_id, _, _ in attempts])}
    changes = []
    for message_id, tries, retries in attempts:
        if message_id in known:
            fixed = known[message_id][:6]
            changes.append((tries, retries, seal(*fixed, tries, retries), *fixed[:3]))
    tx.executemany(f"UPDATE push_pending SET attempts = ?, retries = ?, crc = ? WHERE {_PLACE}", changes)


def _find(tx: Tx, peer: Peer, message_ids: Sequence[str]) -> list[_Row]:
    found = []
    for message_id in message_ids:
        row = tx.execute(f"SELECT {_PENDING} FROM push_pending WHERE {_PLACE}", (*_peer(peer), message_id)).fetchone()
        if row is not None:
            _check_pending(row)
            found.append(row)
    return found


def _bury(tx: Tx, rows: Iterable[_Row], reason: TopicDeadReason, time: float) -> list[Settled]:
    rows = list(rows)
    for principal, client_id, message_id, topic, _, _, attempts, *_ in rows:
        wire = _wire_of(tx.execute("SELECT wire, crc FROM push_messages WHERE id = ?", (message_id,)), message_id)
        _add_letter(tx, (principal, client_id, topic, message_id, str(reason), attempts, float(time)), wire)
    return _remove(tx, rows)


def _remove(tx: Tx, rows: Sequence[_Row]) -> list[Settled]:
    for row in rows:
        _check_pending(row)
    tx.executemany(f"DELETE FROM push_pending WHERE {_PLACE}", [row[:3] for row in rows])
    # A message goes with the last delivery of it.
    tx.executemany(
        "DELETE FROM push_messages WHERE id = ? AND NOT EXISTS (SELECT 1 FROM push_pending WHERE message_id = id)",
        [(row[2],) for row in rows],
    )
    return [Settled(Peer(row[0], row[1]), row[3], row[2], row[4]) for row in rows]


def _add_letter(tx: Tx, values: Sequence[Any], wire: bytes) -> None:
    """`values`: principal, client id, topic, message id, reason, attempts, time."""
    tx.execute(
        "INSERT INTO push_dead_letters (principal, client_id, topic, message_id, reason, attempts, time, wire, crc) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, wire, seal_bytes(wire, seal(*values))),
    )
    tx.count("push_dead_letters", 1, len(wire))


# Reading


def list_topics(connection: sqlite3.Connection, after: str, limit: int) -> list[TopicRecord]:
    rows = connection.execute(
        "SELECT name, owner, metadata, created, crc FROM push_topics WHERE name > ? ORDER BY name LIMIT ?",
        (after, limit),
    )
    return [TopicRecord(*_checked(row, "push topic")) for row in rows]


def list_members(connection: sqlite3.Connection, after: tuple[str, str, str], limit: int) -> list[MemberRecord]:
    rows = connection.execute(
        "SELECT topic, principal, client_id, joined, seen, crc FROM push_members "
        "WHERE (topic, principal, client_id) > (?, ?, ?) ORDER BY topic, principal, client_id LIMIT ?",
        (*after, limit),
    )
    found = []
    for row in rows:
        topic, principal, client_id, joined, seen = _checked(row, "member of push topic")
        found.append(MemberRecord(topic, Peer(principal, client_id), joined, seen))
    return found


def list_pending(connection: sqlite3.Connection, peer: Peer, after: str, limit: int) -> list[Pending]:
    rows = connection.execute(
        f"SELECT {_PENDING.replace('crc', 'p.crc')}, m.wire, m.crc FROM push_pending AS p "
        "JOIN push_messages AS m ON m.id = message_id "
        "WHERE principal = ? AND client_id = ? AND message_id > ? ORDER BY message_id LIMIT ?",
        (*_peer(peer), after, limit),
    )
    found = []
    for *row, wire, crc in rows:
        _check_pending(row)
        if _seal_wire(row[2], wire) != crc:
            raise damaged(f"the pushed message {row[2]}")
        found.append(Pending(row[2], row[3], wire, row[6], row[7]))
    return found


def count_pending(connection: sqlite3.Connection) -> list[Waiting]:
    """Row by row, because a sum would hide a damaged one."""
    found: dict[tuple[str, str, str], tuple[int, int]] = {}
    for row in connection.execute(f"SELECT {_PENDING} FROM push_pending ORDER BY principal, client_id, message_id"):
        _check_pending(row)
        key = row[0], row[1], row[3]
        count, size = found.get(key, (0, 0))
        found[key] = count + 1, size + row[4]
    return [
        Waiting(Peer(principal, client_id), topic, count, size)
        for (principal, client_id, topic), (count, size) in found.items()
    ]


def list_letters(
    connection: sqlite3.Connection, topic: str, principal: str, before: int, limit: int
) -> list[TopicLetter]:
    where, arguments = "1", []
    for column, wanted in (("topic", topic), ("principal", principal)):
        if wanted:
            where += f" AND {column} = ?"
            arguments.append(wanted)
    rows = connection.execute(
        f"SELECT {_LETTER} FROM push_dead_letters WHERE {where} AND number < ? ORDER BY number DESC LIMIT ?",
        (*arguments, before or 1 << 62, limit),
    )
    letters = []
    for number, *values, wire, crc in rows:
        if seal_bytes(wire, seal(*values)) != crc:
            raise damaged(f"the push dead letter {number}")
        principal_, client_id, topic_, message_id, reason, attempts, time = values
        letter = TopicLetter(
            number, Peer(principal_, client_id), topic_, message_id, TopicDeadReason(reason), attempts, time, wire
        )
        letters.append(letter)
    return letters


def _peer(peer: Peer) -> tuple[str, str]:
    return peer.principal, peer.client_id


def _seal_wire(message_id: str, wire: bytes) -> int:
    return seal_bytes(wire, seal(message_id))


def _wire_of(found: sqlite3.Cursor, message_id: str) -> bytes:
    row = found.fetchone()
    if row is None or _seal_wire(message_id, row[0]) != row[1]:
        raise damaged(f"the pushed message {message_id}")
    wire: bytes = row[0]
    return wire


def _check_pending(row: _Row) -> None:
    if seal(*row[:-1]) != row[-1]:
        raise damaged(f"a pending delivery of message {row[2]}")


def _checked(row: _Row, what: str) -> _Row:
    if seal(*row[:-1]) != row[-1]:
        raise damaged(f"the {what} {row[0]!r}")
    return row[:-1]

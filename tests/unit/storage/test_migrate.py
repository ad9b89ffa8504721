"""Numbered files, applied once and in order."""

import sqlite3
from pathlib import Path

import pytest

from gatewayd.core.errors import IdConflict, StoreCorrupt
from gatewayd.core.state import EVERYWHERE, StateLimits
from gatewayd.storage.migrate import Migration, migrations_of, pending
from gatewayd.storage.records import Published
from gatewayd.storage.retention import Limits, Retention
from gatewayd.storage.sqlite import schema
from gatewayd.storage.sqlite.seal import seal
from gatewayd.storage.sqlite.tx import ROW_BYTES
from gatewayd.storage.state import StateWrite
from gatewayd.testing.store_cases.samples import ALL, NOW, event, published
from gatewayd.testing.store_cases.sqlite import SQLiteHarness


def test_the_files_are_numbered_without_a_gap() -> None:
    found = migrations_of("sqlite")
    assert [migration.version for migration in found] == list(range(1, len(found) + 1))
    assert found[0].name == "0001_initial.sql"


def test_what_was_applied_is_not_applied_again() -> None:
    three = [Migration(number, f"{number:04}_x.sql", "") for number in (1, 2, 3)]
    assert pending(three, 0, "here") == three
    assert pending(three, 2, "here") == three[2:]
    assert pending(three, 3, "here") == []


def test_data_of_a_newer_gatewayd_is_refused_with_what_to_do() -> None:
    with pytest.raises(StoreCorrupt, match="schema version 4, this gatewayd knows up to 1: start the newer gatewayd"):
        pending([Migration(1, "0001_x.sql", "")], 4, "here")


def test_statements_are_cut_at_their_ends_and_not_in_comments() -> None:
    sql = "-- one; not two\nCREATE TABLE a (b);\nINSERT INTO a\n  VALUES (';');\n"
    assert len(list(schema.statements_of(Migration(1, "0001_x.sql", sql)))) == 2


async def test_a_file_of_the_version_before_takes_the_shared_state_and_keeps_what_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = migrations_of("sqlite")[:2]
    with monkeypatch.context() as patched:
        patched.setattr(schema, "migrations_of", lambda _backend: before)
        harness = SQLiteHarness(tmp_path / "gateway.db")
        await harness.store.open()
        await harness.store.append([Published(event("e1"))], scope="ann")
        await harness.store.close()
    harness = SQLiteHarness(tmp_path / "gateway.db")
    await harness.store.open()
    write = StateWrite(EVERYWHERE, "k", "1", event("c1"))
    (entry,) = (await harness.store.write_state([write], writer="ann", now=NOW, limits=StateLimits())).entries
    page = await harness.store.read_forward(0, ALL, 9)
    assert [(found.id, found.seq) for found in page.events] == [("e1", 1), ("c1", entry.version)]
    await harness.store.close()


async def _of_before_batches(path: Path, monkeypatch: pytest.MonkeyPatch, *, flipped: bool = False) -> SQLiteHarness:
    """A file with three ids that were seen while each had a row of its own; the last one's time may be damaged."""
    before = migrations_of("sqlite")[:6]
    with monkeypatch.context() as patched:
        patched.setattr(schema, "migrations_of", lambda _backend: before)
        harness = SQLiteHarness(path)
        await harness.store.open()
        await harness.store.append([Published(one) for one in map(event, ("e1", "e2", "e3"))], scope="ann")
        await harness.store.close()
    connection = sqlite3.connect(path)
    for seq, digest in enumerate((b"d", b"another digest", b""), 1):
        values = ("event ann", f"e{seq}", digest.hex(), str(seq), NOW - seq)
        crc = seal(*values)
        time = NOW - seq + (flipped and seq == 3)
        connection.execute("INSERT INTO seen VALUES (?, ?, ?, ?, ?, ?)", (*values[:2], digest, values[3], time, crc))
    totals = ("seen", 3, 3 * (ROW_BYTES + 3), 0)
    connection.execute("INSERT INTO totals VALUES (?, ?, ?, ?, ?)", (*totals, seal(*totals)))
    connection.commit()
    connection.close()
    return SQLiteHarness(path)


async def test_ids_that_were_seen_before_there_were_batches_are_known_and_forgotten_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = await _of_before_batches(tmp_path / "gateway.db", monkeypatch)
    await harness.store.open()
    for name, digest, seq in (("e1", b"d", 1), ("e2", b"another digest", 2)):
        (known,) = await harness.store.append([Published(event(name), digest)], scope="ann")
        assert known.seq == seq
        with pytest.raises(IdConflict):
            await harness.store.append([Published(event(name), b"other")], scope="ann")
    deleted = await harness.store.sweep(Retention({"seen": Limits(max_count=1)}), NOW)
    assert deleted == {"seen": 2}  # e3 and e2, which came first
    (known, new) = await harness.store.append(published("e1", "e2", digest=b"d"), scope="ann")
    assert (known.seq, new.seq) == (1, 4)
    await harness.store.close()


async def test_an_id_that_was_damaged_before_there_were_batches_stays_damaged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    harness = await _of_before_batches(tmp_path / "gateway.db", monkeypatch, flipped=True)
    await harness.store.open()
    with pytest.raises(StoreCorrupt):
        await harness.store.append(published("e3"), scope="ann")
    await harness.store.close()


def test_a_migration_that_fails_leaves_the_version_before_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = len(migrations_of("sqlite"))
    half = Migration(known + 1, "9999_half.sql", "CREATE TABLE extra (a);\nINSERT INTO missing VALUES (1);\n")
    connection = sqlite3.connect(tmp_path / "gateway.db", isolation_level=None)
    schema.upgrade(connection, tmp_path / "gateway.db")
    monkeypatch.setattr(schema, "outdated", lambda *_: [half])
    with pytest.raises(sqlite3.OperationalError):
        schema.upgrade(connection, tmp_path / "gateway.db")
    assert connection.execute("PRAGMA user_version").fetchone() == (known,)
    assert connection.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'extra'").fetchone() == (0,)
    connection.close()

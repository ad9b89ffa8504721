"""Numbered files, applied once and in order."""

import sqlite3
from pathlib import Path

import pytest

from gatewayd.core.errors import StoreCorrupt
from gatewayd.core.state import EVERYWHERE, StateLimits
from gatewayd.storage.migrate import Migration, migrations_of, pending
from gatewayd.storage.sqlite import schema
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
        await harness.store.append(published("e1"), scope="ann")
        await harness.store.close()
    harness = SQLiteHarness(tmp_path / "gateway.db")
    await harness.store.open()
    write = StateWrite(EVERYWHERE, "k", "1", event("c1"))
    (entry,) = (await harness.store.write_state([write], writer="ann", now=NOW, limits=StateLimits())).entries
    page = await harness.store.read_forward(0, ALL, 9)
    assert [(found.id, found.seq) for found in page.events] == [("e1", 1), ("c1", entry.version)]
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

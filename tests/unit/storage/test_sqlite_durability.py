"""What SQLite is asked for, on the connection that writes: no kill of a process shows whether a commit was synced."""

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from gatewayd.testing.store_cases.samples import published
from gatewayd.testing.store_cases.sqlite import SQLiteHarness


@pytest.mark.parametrize(("durability", "synchronous"), [("full", 2), ("relaxed", 1)])
async def test_a_commit_is_synced_unless_the_file_says_otherwise(
    tmp_path: Path, durability: str, synchronous: int
) -> None:
    """storage.durability: with `full` every commit waits for its fsync; in NORMAL mode SQLite leaves that out."""
    made: list[sqlite3.Connection] = []

    def connect(*args: Any, **options: Any) -> sqlite3.Connection:
        made.append(sqlite3.connect(*args, **options))
        return made[-1]

    for life in ("made", "found"):
        made.clear()
        harness = SQLiteHarness(tmp_path / "state" / "gatewayd.db", connect=connect, durability=durability)
        await harness.store.open()
        try:
            await harness.store.append(published(f"e-{life}"), scope="ann")
            writer = made[-1]
            found = [writer.execute(f"PRAGMA {name}").fetchone()[0] for name in ("synchronous", "journal_mode")]
        finally:
            await harness.store.close()

        assert found == [synchronous, "wal"]

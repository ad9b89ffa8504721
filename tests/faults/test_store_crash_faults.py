"""What is left of a store whose process was killed, and what is noticed when the rest was tampered with."""

import errno
import os
import sqlite3
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from store_rig import Make, failing_connect, kill_after, stores

from gatewayd.core.errors import StoreCorrupt, StoreFailed
from gatewayd.storage.sqlite.place import APPLICATION_ID
from gatewayd.testing.store_cases.samples import ALL, NOW, acceptance, answered, event, finish, published
from gatewayd.testing.store_cases.sqlite import SQLiteHarness


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with stores(tmp_path / "state" / "gateway.db") as make_one:
        yield make_one


# F28: killed at any instant


@pytest.mark.parametrize("lines", [1, 150, 900])
async def test_F28_nothing_that_was_acknowledged_is_lost_when_killed(lines: int, tmp_path: Path, make: Make) -> None:
    path = tmp_path / "state" / "gateway.db"
    said = kill_after(path, lines)
    harness = await make(path)
    store = harness.store
    kept: dict[int, str] = {}
    while (page := await store.read_forward(max(kept, default=0), ALL, 1000)).events:
        kept |= {found.seq: found.id for found in page.events}
    assert list(kept) == list(range(1, store.log.last_seq + 1))
    for kind, *rest in said:
        if kind == "event":
            assert kept[int(rest[0])] == rest[1]
            continue
        execution = await store.get_execution(f"x{int(rest[0]):04}")
        assert execution is not None
        if kind == "finished":
            assert execution.state.terminal
    pending = {row.message_id for row in await store.pending_outbox("tg")}
    assert pending >= {f"m{int(rest[0]):04}" for kind, *rest in said if kind == "finished"}


async def test_F28_a_killed_store_goes_on_in_the_same_log(tmp_path: Path, make: Make) -> None:
    path = tmp_path / "state" / "gateway.db"
    kill_after(path, 50)
    harness = await make(path)
    last = harness.store.log.last_seq
    assert (await harness.store.append(published("new"), scope="ann"))[0].seq == last + 1


# F29: killed while the schema is made


async def test_F29_a_database_that_was_half_made_is_made_anew(tmp_path: Path, make: Make) -> None:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    (directory / ".gateway.db.new").write_bytes(b"half of a database")
    harness = await make(directory / "gateway.db")
    assert harness.store.log.last_seq == 0
    assert sorted(entry.name for entry in directory.iterdir() if entry.name.startswith(".")) == []


async def test_F29_a_database_has_its_name_only_once_it_is_on_the_disk(
    tmp_path: Path, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, fsync = tmp_path / "state" / "gateway.db", os.fsync

    def fails(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise OSError(errno.EIO, os.strerror(errno.EIO))
        fsync(descriptor)

    with monkeypatch.context() as broken:
        broken.setattr(os, "fsync", fails)
        with pytest.raises(OSError, match=r"Input/output error: .*/state/\.gateway\.db\.new"):
            await make(path)
    assert not path.exists()

    harness = await make(path)

    assert harness.store.log.last_seq == 0
    with sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True) as connection:
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert connection.execute("PRAGMA application_id").fetchone() == (APPLICATION_ID,)
    connection.close()


async def test_F29_a_crash_before_the_commit_leaves_nothing_half_done(make: Make) -> None:
    connect, failing = failing_connect()
    harness = await make(connect=connect)
    await answered(harness.store, 1)
    await harness.store.accept(acceptance(2))
    failing["COMMIT"] = (sqlite3.SQLITE_IOERR_WRITE, "SQLITE_IOERR_WRITE")
    with pytest.raises(StoreFailed):
        await harness.store.finish(finish(2, events=(event("lost"),)))
    failing.clear()
    await harness.reopen()
    assert [kept.id for kept in await harness.store.unfinished()] == ["x0002"]
    assert await harness.store.pending_outbox("tg") == []
    await harness.store.finish(finish(2))
    await harness.store.mark_sending(["o0002-0"])
    await harness.store.mark_sent("o0002-0", "p", NOW)


# F35: damage that has a name; arbitrary damage is in tests/unit/storage


async def test_F35_a_missing_log_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "state" / "gateway.db"
    kill_after(path, 50)
    path.with_name("gateway.db-wal").unlink()
    with pytest.raises(StoreCorrupt, match="write-ahead log is missing"):
        await SQLiteHarness(path).store.open()


async def test_F35_a_log_damaged_in_the_middle_is_noticed_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "state" / "gateway.db"
    kill_after(path, 200)
    log = path.with_name("gateway.db-wal")
    content = bytearray(log.read_bytes())
    content[len(content) // 3] ^= 0x10
    log.write_bytes(content)
    database = path.read_bytes()
    with pytest.raises(StoreCorrupt, match="cannot be read"):
        await SQLiteHarness(path).store.open()
    assert log.read_bytes() == bytes(content)
    assert path.read_bytes() == database


async def test_F35_a_vanished_database_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    path = tmp_path / "state" / "gateway.db"
    kill_after(path, 10)
    path.unlink()
    with pytest.raises(StoreCorrupt, match="is gone"):
        await SQLiteHarness(path).store.open()
    assert not path.exists()

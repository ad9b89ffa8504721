"""What the store does when the disk, the kernel or another program lets it down."""

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from store_rig import Make, failing_connect, stores

from gatewayd.core.errors import StoreBusy, StoreCorrupt, StoreFailed, StoreFull
from gatewayd.storage.records import StoreHealth
from gatewayd.testing.store_cases.samples import ALL, published
from gatewayd.testing.store_cases.sqlite import SQLiteHarness


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    async with stores(tmp_path / "state" / "gateway.db") as make_one:
        yield make_one


# F31: the disk refuses to make it durable


async def test_F31_a_failed_fsync_ends_all_writing_and_is_told_once(make: Make) -> None:
    connect, failing = failing_connect()
    harness = await make(connect=connect)
    await harness.store.append(published("e1"), scope="ann")
    failing["COMMIT"] = (sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC")
    waiting = [harness.store.append(published(f"lost{n}"), scope="ann") for n in range(3)]
    for receipt in waiting:
        with pytest.raises(StoreFailed):
            await receipt
    failing.clear()
    with pytest.raises(StoreFailed):
        await harness.store.append(published("e2"), scope="ann")
    with pytest.raises(StoreFailed):
        await harness.store.read_forward(0, ALL, 10)
    assert harness.store.health is StoreHealth.FAILED
    assert len(harness.failures) == 1
    assert [found.id for found in harness.sink.events] == ["e1"]
    assert harness.sink.heard.count(("abandoned", ["agent"])) == 3


async def test_F31_after_a_restart_what_was_acknowledged_is_there(make: Make) -> None:
    connect, failing = failing_connect()
    harness = await make(connect=connect)
    await harness.store.append(published("e1"), scope="ann")
    failing["COMMIT"] = (sqlite3.SQLITE_IOERR_FSYNC, "SQLITE_IOERR_FSYNC")
    with pytest.raises(StoreFailed):
        await harness.store.append(published("lost"), scope="ann")
    failing.clear()
    await harness.reopen()
    assert [found.id for found in (await harness.store.read_forward(0, ALL, 10)).events] == ["e1"]


# F32: no space


async def test_F32_a_full_disk_refuses_writes_serves_reads_and_heals(make: Make) -> None:
    connect, failing = failing_connect()
    harness = await make(connect=connect)
    await harness.store.append(published("e1"), scope="ann")
    failing["COMMIT"] = (sqlite3.SQLITE_FULL, "SQLITE_FULL")
    with pytest.raises(StoreFull):
        await harness.store.append(published("e2"), scope="ann")
    assert harness.store.health is StoreHealth.FULL
    assert len((await harness.store.read_forward(0, ALL, 10)).events) == 1
    failing.clear()
    assert (await harness.store.append(published("e2"), scope="ann"))[0].seq == 2
    assert harness.store.health is StoreHealth.OK
    assert harness.failures == []


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 2 MiB."""
    place = tmp_path / "small"
    place.mkdir(mode=0o700)
    if os.geteuid() != 0 or shutil.which("mount") is None:
        pytest.skip("a file system of its own can only be mounted by root")
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "tmpfs", place], check=False, capture_output=True
    )
    if done.returncode:
        pytest.skip(f"no tmpfs can be mounted here: {done.stderr.decode().strip()}")
    yield place
    subprocess.run(["umount", "-l", place], check=True)


async def test_F32_a_disk_that_is_really_full_loses_nothing(small_disk: Path, make: Make) -> None:
    harness = await make(small_disk / "gateway.db")
    kept: list[str] = []
    refused: BaseException | None = None
    while refused is None:
        receipt = harness.store.append(published(f"e{len(kept)}", content="x" * 20_000), scope="ann")
        (result,) = await asyncio.gather(receipt, return_exceptions=True)
        if isinstance(result, BaseException):
            refused = result
        else:
            kept.append(result[0].id)
    assert isinstance(refused, StoreFull)
    assert harness.store.health is StoreHealth.FULL
    found = (await harness.store.read_forward(0, ALL, 1000)).events
    assert [event.id for event in found] == kept
    subprocess.run(["mount", "-o", "remount,size=16m", small_disk], check=True)
    await harness.store.append(published("more", content="x" * 20_000), scope="ann")
    assert harness.store.health is StoreHealth.OK
    await harness.reopen()
    assert harness.store.log.last_seq == len(kept) + 1


# F33: the directory


async def test_F33_a_directory_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"state.*file/state|file/state"):
        await SQLiteHarness(tmp_path / "file" / "state" / "gateway.db").store.open()


async def test_F33_a_directory_that_others_may_write_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir()
    directory.chmod(0o777)
    with pytest.raises(PermissionError, match="written by others"):
        await SQLiteHarness(directory / "gateway.db").store.open()


async def test_F33_a_link_in_place_of_the_file_is_refused(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    (directory / "gateway.db").symlink_to(victim)
    with pytest.raises(OSError, match="not a regular file"):
        await SQLiteHarness(directory / "gateway.db").store.open()
    assert victim.read_text() == "mine"


async def test_F33_the_file_is_private(make: Make) -> None:
    harness = await make()
    await harness.store.append(published("e1"), scope="ann")
    for entry in harness.path.parent.iterdir():
        assert stat.S_IMODE(entry.stat().st_mode) == 0o600, entry
    assert stat.S_IMODE(harness.path.parent.stat().st_mode) == 0o700


@pytest.mark.parametrize("what", ["directory", "file", "log"])
async def test_F33_what_vanishes_at_run_time_is_noticed_at_the_next_commit(what: str, make: Make) -> None:
    harness = await make()
    await harness.store.append(published("e1"), scope="ann")
    directory = harness.path.parent
    if what == "directory":
        directory.rename(directory.with_name("elsewhere"))
    elif what == "file":
        harness.path.rename(directory / "moved.db")
    else:
        (directory / "gateway.db-wal").unlink()
    with pytest.raises(StoreFailed):
        await harness.store.append(published("lost"), scope="ann")
    assert harness.store.health is StoreHealth.FAILED
    assert len(harness.failures) == 1
    assert [found.id for found in harness.sink.events] == ["e1"]


# F34: another process holds the lock


async def test_F34_a_lock_of_another_program_is_busy_and_passes(make: Make) -> None:
    harness = await make(busy_timeout=0.05)
    await harness.store.append(published("e1"), scope="ann")
    other = sqlite3.connect(harness.path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StoreBusy) as refused:
        await harness.store.append(published("e2"), scope="ann")
    assert refused.value.retryable
    assert refused.value.retry_after
    assert len((await harness.store.read_forward(0, ALL, 10)).events) == 1
    other.execute("ROLLBACK")
    other.close()
    assert (await harness.store.append(published("e2"), scope="ann"))[0].seq == 2
    assert harness.store.health is StoreHealth.OK


async def test_F34_a_full_queue_is_busy_at_once(make: Make) -> None:
    harness = await make(queue_limit=10)
    receipts = [harness.store.append(published(f"e{n}"), scope="ann") for n in range(15)]
    results = await asyncio.gather(*receipts, return_exceptions=True)
    assert [isinstance(result, StoreBusy) for result in results] == [False] * 10 + [True] * 5
    assert harness.store.log.last_seq == 10


async def test_F34_a_second_gateway_is_kept_out_and_the_first_undisturbed(make: Make) -> None:
    harness = await make()
    with pytest.raises(StoreBusy, match="another gatewayd"):
        await SQLiteHarness(harness.path).store.open()
    await harness.store.append(published("e1"), scope="ann")


# F35: files that are not ours


@pytest.mark.parametrize("content", [b"", b"short", b"not a database at all".ljust(8192, b"."), b"\0" * 8192])
async def test_F35_a_foreign_or_truncated_file_is_refused_and_kept(content: bytes, tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    path = directory / "gateway.db"
    path.write_bytes(content)
    with pytest.raises(StoreCorrupt, match="restore a backup"):
        await SQLiteHarness(path).store.open()
    assert path.read_bytes() == content


async def test_F35_a_database_of_another_program_is_refused(tmp_path: Path) -> None:
    directory = tmp_path / "state"
    directory.mkdir(mode=0o700)
    path = directory / "gateway.db"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (a)")
    other.close()
    with pytest.raises(StoreCorrupt, match="another program"):
        await SQLiteHarness(path).store.open()


async def test_F35_a_newer_schema_is_refused(make: Make) -> None:
    harness = await make()
    await harness.store.close()
    newer = sqlite3.connect(harness.path)
    newer.execute("PRAGMA user_version = 99")
    newer.close()
    with pytest.raises(StoreCorrupt, match="start the newer gatewayd"):
        await SQLiteHarness(harness.path).store.open()

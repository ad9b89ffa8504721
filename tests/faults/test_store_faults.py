"""What the store does when the disk, the kernel or another program lets it down."""

import asyncio
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from gatewayd.core.errors import StoreBusy, StoreCorrupt, StoreFailed, StoreFull
from gatewayd.storage.records import StoreHealth
from gatewayd.testing.store_cases.samples import ALL, NOW, acceptance, answered, event, finish, published
from gatewayd.testing.store_cases.sqlite import SQLiteHarness

Make = Callable[..., Awaitable[SQLiteHarness]]


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Make]:
    """Opens stores, and closes what is still open at the end."""
    made: list[SQLiteHarness] = []

    async def make_one(path: Path = tmp_path / "state" / "gateway.db", **options: Any) -> SQLiteHarness:
        harness = SQLiteHarness(path, **options)
        await harness.store.open()
        made.append(harness)
        return harness

    yield make_one
    for harness in made:
        await harness.store.close()


# F28: killed at any instant

_CHILD = """
import asyncio, sys
from pathlib import Path
from gatewayd.testing.store_cases.samples import acceptance, finish, published
from gatewayd.testing.store_cases.sqlite import SQLiteHarness

async def publish(store, who):
    for number in range(100_000):
        (event,) = await store.append(published(f"{who}-{number}"), scope="ann")
        print("event", event.seq, event.id, flush=True)

async def answer(store):
    for number in range(1, 100_000):
        await store.accept(acceptance(number))
        print("accepted", number, flush=True)
        await store.finish(finish(number))
        print("finished", number, flush=True)

async def main():
    harness = SQLiteHarness(Path(sys.argv[1]))
    await harness.store.open()
    await asyncio.gather(*(publish(harness.store, who) for who in "abcdefgh"), answer(harness.store))

asyncio.run(main())
"""


def _kill_after(path: Path, lines: int) -> list[list[str]]:
    """Run the child until it has said that much, kill it, and return all that it said."""
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    said = [child.stdout.readline() for _ in range(lines)]
    child.send_signal(signal.SIGKILL)
    said += child.stdout.readlines()
    child.stdout.close()
    child.wait()
    # The kill may cut the last line in two: what it told was not told.
    return [line.split() for line in said if line.endswith("\n")]


@pytest.mark.parametrize("lines", [1, 150, 900])
async def test_F28_nothing_that_was_acknowledged_is_lost_when_killed(lines: int, tmp_path: Path, make: Make) -> None:
    path = tmp_path / "state" / "gateway.db"
    said = _kill_after(path, lines)
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
    _kill_after(path, 50)
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


# F31: the disk refuses to make it durable


class _FailingConnection(sqlite3.Connection):
    """Fails at the statements that a test names."""

    failing: dict[str, tuple[int, str]]

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        code, name = self.failing.get(sql.split("(", maxsplit=1)[0], (0, ""))
        if code:
            error = sqlite3.OperationalError(f"injected {name}")
            error.sqlite_errorcode, error.sqlite_errorname = code, name
            raise error
        return super().execute(sql, *parameters)


def failing_connect() -> tuple[Callable[..., sqlite3.Connection], dict[str, tuple[int, str]]]:
    """A connection factory, and what its connections fail at: statement → SQLite's code and its name."""
    failing: dict[str, tuple[int, str]] = {}

    def connect(path: Path, **options: Any) -> sqlite3.Connection:
        connection = sqlite3.connect(path, factory=_FailingConnection, **options)
        connection.failing = failing
        return connection

    return connect, failing


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


# F35: damage that has a name; arbitrary damage is in tests/unit/storage


async def test_F35_a_missing_log_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "state" / "gateway.db"
    _kill_after(path, 50)
    path.with_name("gateway.db-wal").unlink()
    with pytest.raises(StoreCorrupt, match="write-ahead log is missing"):
        await SQLiteHarness(path).store.open()


async def test_F35_a_log_damaged_in_the_middle_is_noticed_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "state" / "gateway.db"
    _kill_after(path, 200)
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
    _kill_after(path, 10)
    path.unlink()
    with pytest.raises(StoreCorrupt, match="is gone"):
        await SQLiteHarness(path).store.open()
    assert not path.exists()


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


# A sweep, an answer and a crash do not disturb each other


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

"""The write-ahead log stays short: the next start reads all of it, and after a crash nobody has tidied it up."""

import shutil
from pathlib import Path

from gatewayd.storage.sqlite.wal import valid_frames
from gatewayd.testing.store_cases.samples import published
from gatewayd.testing.store_cases.sqlite import SQLiteHarness

MIB = 1 << 20


async def _append(harness: SQLiteHarness, first: int, mebibytes: int) -> None:
    for number in range(4 * mebibytes):
        await harness.store.append(published(f"e{first}-{number}", content="x" * (MIB // 4)), scope="ann")


def _crash(harness: SQLiteHarness, to: Path) -> SQLiteHarness:
    """What a daemon finds that starts after the death of this one: the files as they are, without the shared index."""
    to.mkdir()
    for file in harness.path.parent.iterdir():
        if not file.name.endswith("-shm"):
            shutil.copy(file, to)
    return SQLiteHarness(to / harness.path.name)


def _log_bytes(path: Path) -> int:
    """Bytes of the log that a start would have to read."""
    with Path(f"{path}-shm").open("rb") as index:
        return valid_frames(index.fileno()) * 4096


async def test_a_long_log_is_moved_into_the_file(tmp_path: Path) -> None:
    harness = SQLiteHarness(tmp_path / "state" / "gatewayd.db")
    await harness.store.open()

    await _append(harness, 0, 40)
    found = Path(f"{harness.path}-wal").stat().st_size
    await harness.store.close()

    assert found < 24 * MIB


async def test_the_log_that_a_crash_left_counts(tmp_path: Path) -> None:
    lives = [SQLiteHarness(tmp_path / "0" / "gatewayd.db")]
    for life in range(4):
        await lives[-1].store.open()
        await _append(lives[-1], life, 7)
        lives.append(_crash(lives[-1], tmp_path / str(life + 1)))
    await lives[-1].store.open()
    found = _log_bytes(lives[-1].path)
    kept = lives[-1].store.log.last_seq
    for harness in lives:
        await harness.store.close()

    assert kept == 4 * 4 * 7
    assert found < 24 * MIB

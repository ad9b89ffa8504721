"""Groups, refusals and the way back to the loop, on real files."""

import asyncio
import gc
import logging
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gatewayd.core.errors import ExecutionFinished, IdConflict, Internal, NotFound, StoreBusy, StoreFailed
from gatewayd.core.work import ExecutionState
from gatewayd.storage.records import StoreHealth
from gatewayd.storage.sqlite import notes
from gatewayd.storage.sqlite.tx import Tx
from gatewayd.testing.store_cases.samples import ALL, NOW, acceptance, event, finish, piece, published, turn
from gatewayd.testing.store_cases.sqlite import SQLiteHarness


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[SQLiteHarness]:
    harness = SQLiteHarness(tmp_path / "state" / "gateway.db")
    await harness.store.open()
    yield harness
    await harness.store.close()


async def test_units_of_one_turn_share_a_commit(tmp_path: Path) -> None:
    commits: list[str] = []

    class Counting:
        def hit(self, point: str) -> None:
            commits.append(point)

    harness = SQLiteHarness(tmp_path / "state" / "gateway.db", failpoints=Counting())
    await harness.store.open()
    await asyncio.gather(*(harness.store.append(published(f"e{n}"), scope="ann") for n in range(100)))
    await harness.store.close()
    assert commits == ["store.before_commit", "store.after_commit"]


async def test_a_unit_that_fails_after_writing_is_undone_alone(harness: SQLiteHarness) -> None:
    def write_then_fail(tx: Tx) -> None:
        tx.add_event(event("lost"))
        tx.flush()
        tx.execute("INSERT INTO revoked VALUES ('token', 0.0, 0)")
        raise NotFound("too late")

    store = harness.store
    for number in (1, 2):
        await store.accept(acceptance(number))
    receipts: list[asyncio.Future[Any]] = [
        store.append(published("e1"), scope="ann"),
        store.finish(finish(1, events=(event("e2"),))),
        store.finish(finish(1)),
        store._writer.submit(write_then_fail, streams=["agent"]),
        store.append(published("e1"), scope="ann"),
        store.finish(finish(2, events=(event("e3"),))),
        store.append(published("e1", digest=b"other"), scope="ann"),
    ]
    results = await asyncio.gather(*receipts, return_exceptions=True)
    kinds = [type(result) if isinstance(result, BaseException) else None for result in results]
    assert kinds == [None, None, ExecutionFinished, NotFound, None, None, IdConflict]
    assert [(found.id, found.seq) for found in harness.sink.events] == [("e1", 1), ("e2", 2), ("e3", 3)]
    assert await store.revoked_tokens() == frozenset()
    await harness.reopen()
    assert [found.id for found in (await harness.store.read_forward(0, ALL, 10)).events] == ["e1", "e2", "e3"]
    assert {row.id for row in await harness.store.pending_outbox("tg")} == {"o0001-0", "o0002-0"}


async def test_a_text_that_cannot_be_stored_is_refused_alone(harness: SQLiteHarness) -> None:
    receipts = [harness.store.accept(acceptance(1, text="\udfff")), harness.store.accept(acceptance(2))]
    refused, taken = await asyncio.gather(*receipts, return_exceptions=True)
    assert isinstance(refused, Internal)
    assert not isinstance(taken, BaseException)
    assert [execution.id for execution in await harness.store.unfinished()] == ["x0002"]
    assert await harness.store.story("m0001") is None


async def test_the_sink_hears_failures_and_commits_in_the_order_of_the_calls(harness: SQLiteHarness) -> None:
    store = harness.store
    await store.append(published("e0", stream="s"), scope="ann")
    harness.sink.heard.clear()
    receipts = [
        store.append(published("e1", stream="a"), scope="ann"),
        store.append(published("e2", stream="b"), scope="ann"),
        store.append(published("e0", stream="s", digest=b"other"), scope="ann"),
        store.append(published("e3", stream="c"), scope="ann"),
    ]
    await asyncio.gather(*receipts, return_exceptions=True)
    told = [entry for entry in harness.sink.heard if entry[0] != "expected"]
    assert told == [("committed", ["e1", "e2"]), ("abandoned", ["s"]), ("committed", ["e3"])]


async def test_a_dropped_receipt_fails_in_the_log_only(
    harness: SQLiteHarness, caplog: pytest.LogCaptureFixture
) -> None:
    asyncio.get_running_loop().set_exception_handler(lambda _, context: pytest.fail(str(context)))
    with caplog.at_level(logging.WARNING, logger="gatewayd.storage"):
        harness.store.start("x9999", NOW, ())
        await harness.store.append(published("e1"), scope="ann")
        # A second group: now the writer has let go of the first.
        await harness.store.append(published("e2"), scope="ann")
        gc.collect()
    assert [record.message for record in caplog.records] == ["store_unit_failed_unheard"]


async def test_a_cancelled_caller_does_not_undo_its_unit(harness: SQLiteHarness) -> None:
    async def publish() -> None:
        await harness.store.append(published("e1"), scope="ann")

    task = asyncio.ensure_future(publish())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    assert (await harness.store.append(published("e2"), scope="ann"))[0].seq == 2


async def test_a_queue_that_holds_too_many_bytes_is_busy(tmp_path: Path) -> None:
    harness = SQLiteHarness(tmp_path / "state" / "gateway.db", queue_bytes=10_000)
    await harness.store.open()
    receipts = [harness.store.append(published(f"e{n}"), scope="ann") for n in range(40)]
    results = await asyncio.gather(*receipts, return_exceptions=True)
    assert any(isinstance(result, StoreBusy) for result in results)
    # The queue is empty again.
    await harness.store.append(published("later"), scope="ann")
    await harness.store.close()


async def test_a_closed_store_refuses_and_closes_twice(harness: SQLiteHarness) -> None:
    await harness.store.close()
    await harness.store.close()
    assert harness.store.health is StoreHealth.CLOSED
    with pytest.raises(StoreFailed, match="closed"):
        await harness.store.append(published("e1"), scope="ann")
    with pytest.raises(StoreFailed, match="closed"):
        await harness.store.unfinished()


async def test_a_clean_close_leaves_one_file(harness: SQLiteHarness) -> None:
    await harness.store.append(published("e1"), scope="ann")
    await harness.store.close()
    assert [entry.name for entry in harness.path.parent.iterdir()] == ["gateway.db"]


async def test_an_erased_text_is_in_no_file(harness: SQLiteHarness) -> None:
    secret = "correct horse battery staple"
    said = event("e1", content=secret, session_id="s1")
    await harness.store.accept(acceptance(1, text=secret, events=(said,)))
    await harness.store.finish(replace(finish(1, turn=turn(1)), output=secret, outbox=(piece(1, text=secret),)))
    await harness.store.erase_session("s1")
    for entry in harness.path.parent.iterdir():
        assert secret.encode() not in entry.read_bytes(), entry


async def test_memory_of_live_rows_is_only_a_copy(harness: SQLiteHarness) -> None:
    """What goes on after a restart is what would have gone on without one."""
    await harness.store.accept(acceptance(1))
    await harness.store.start("x0001", NOW, ())
    await harness.reopen()
    await harness.store.requeue("x0001", "crash", ())
    await harness.reopen()
    await harness.store.start("x0001", NOW + 1, ())
    await harness.store.finish(finish(1))
    found = await harness.store.get_execution("x0001")
    assert found is not None
    assert (found.state, found.attempts) == (ExecutionState.SUCCEEDED, 2)


async def test_damage_that_the_background_check_finds_fails_the_store(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatewayd.storage.sqlite.file.CHECK_AT_START", 0)
    harness = SQLiteHarness(tmp_path / "state" / "gateway.db")
    await harness.store.open()
    for number in range(20):
        await harness.store.accept(acceptance(number + 1))
    await harness.store.close()
    _break_an_index(harness.path)
    failed = asyncio.Event()
    harness = SQLiteHarness(harness.path)
    harness.failures = _Told(failed)
    harness._make()
    await harness.store.open()
    await asyncio.wait_for(failed.wait(), 60)
    assert harness.store.health is StoreHealth.FAILED
    await harness.store.close()


class _Told(list[StoreFailed]):
    def __init__(self, event: asyncio.Event) -> None:
        self._event = event

    def append(self, failure: StoreFailed) -> None:
        self._event.set()


def _break_an_index(path: Path) -> None:
    """Make an index disagree with its table, as a lost write would."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA writable_schema = ON")
    page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'inbox_platform'").fetchone()[0]
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(path.read_bytes())
    place = content.index(b"tg-7", (page - 1) * 4096)
    content[place : place + 4] = b"tg-Z"
    path.write_bytes(content)


async def test_notes_that_come_together_are_one_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notes, "MAX_NOTES", 4)
    harness = SQLiteHarness(tmp_path / "state" / "gateway.db")
    await harness.store.open()
    taken: list[int] = []
    give = harness.store._writer._gathering._give
    monkeypatch.setattr(
        harness.store._writer._gathering, "_give", lambda units: (taken.append(len(units)), give(units))
    )
    for number in range(10):
        harness.store.note(event(f"e{number}"))
    await harness.store.append(published("last"), scope="ann")
    assert taken == [4]
    assert [found.id for found in harness.sink.events] == [*(f"e{number}" for number in range(10)), "last"]
    assert (harness.store._writer._waiting, harness.store._writer._waiting_bytes) == (0, 0)
    await harness.store.close()

"""Ids that were seen: known in whatever order they come, whatever failed between, and forgotten from the oldest on."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from gatewayd.core.errors import IdConflict, StoreCorrupt
from gatewayd.storage.records import Published
from gatewayd.storage.retention import Limits, Retention
from gatewayd.storage.sqlite import seen
from gatewayd.storage.sqlite.tx import ROW_BYTES, Tx
from gatewayd.testing.store_cases.samples import NOW, event, published
from gatewayd.testing.store_cases.sqlite import SQLiteHarness


@pytest.fixture
async def harness(tmp_path: Path) -> AsyncIterator[SQLiteHarness]:
    harness = SQLiteHarness(tmp_path / "state" / "gateway.db")
    await harness.store.open()
    yield harness
    await harness.store.close()


async def _places(harness: SQLiteHarness, *names: str, scope: str = "ann") -> list[int]:
    return [kept.seq for kept in await harness.store.append(published(*names), scope=scope)]


async def _alter(harness: SQLiteHarness, sql: str, *values: Any) -> None:
    await harness.store.close()
    with closing(sqlite3.connect(harness.path)) as connection:
        connection.execute(sql, values)
        connection.commit()
    await harness.reopen()


async def test_ids_in_no_order_are_each_known_once_they_were_seen(harness: SQLiteHarness) -> None:
    """Those that sort behind all others are not asked for; those before them are."""
    assert await _places(harness, "m", "z", "a") == [1, 2, 3]
    assert await _places(harness, "b", "y", "zz") == [4, 5, 6]
    for _ in range(2):
        assert await _places(harness, "zz", "a", "m", "y", "b", "z") == [6, 3, 1, 5, 4, 2]
        await harness.reopen()
    assert await _places(harness, "é", "\U0001f600", "\uffee") == [7, 8, 9]
    assert await _places(harness, "\uffee", "\U0001f600", "é", "~") == [9, 8, 7, 10]


async def test_ids_of_what_was_undone_are_new(harness: SQLiteHarness) -> None:
    """Undone alone, before anything was written and after; what comes between in the order is new as well."""

    def write_then_fail(tx: Tx) -> None:
        tx.seen.get(("event ann", "w"))
        tx.seen.add([("event ann", "w")], [b"d"], ["1"], NOW)
        tx.flush()
        raise IdConflict("too late")

    await _places(harness, "a")
    refused = harness.store.append([*published("x"), *published("a", digest=b"other")], scope="ann")
    late = harness.store._writer.submit(write_then_fail)
    for receipt in (refused, late):
        with pytest.raises(IdConflict):
            await receipt
    assert await _places(harness, "k", "x", "w") == [2, 3, 4]
    assert await _places(harness, "w", "x", "k", "a") == [4, 3, 2, 1]


async def test_more_scopes_than_are_kept_in_memory_forget_no_id(
    harness: SQLiteHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(seen, "SCOPES", 2)
    for number in range(5):
        assert await _places(harness, "m", scope=f"s{number}") == [number + 1]
    for number in range(5):
        assert await _places(harness, "a", "m", scope=f"s{number}") == [number + 6, number + 1]


async def test_digests_of_different_length_in_one_batch_are_told_apart(harness: SQLiteHarness) -> None:
    batch = [Published(event("e1"), b"a"), Published(event("e2"), b"long"), Published(event("e3"), b"b")]
    await harness.store.append(batch, scope="ann")
    assert [kept.seq for kept in await harness.store.append(batch, scope="ann")] == [1, 2, 3]
    with pytest.raises(IdConflict):
        await harness.store.append([Published(event("e3"), b"a")], scope="ann")


async def test_what_units_of_one_group_bring_is_one_batch_for_each_scope(
    harness: SQLiteHarness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Up to so many ids; each is known as what it was, over a restart, a sweep, and a unit that was undone."""
    monkeypatch.setattr(seen, "TOGETHER", 3)
    names = ["e5", "e1", "e4", "e2", "e3"]
    receipts: list[Any] = []
    for name in names:
        for scope in ("ann", "bob"):
            receipts.append(harness.store.append([*published(name, digest=name.encode())], scope=scope))
    refused = harness.store.append([*published("x"), *published("e5", digest=b"other")], scope="ann")
    with pytest.raises(IdConflict):
        await refused
    first = {(scope, name): (await receipts.pop(0))[0].seq for name in names for scope in ("ann", "bob")}
    assert sorted(first.values()) == list(range(1, 11))
    await harness.store.close()
    with closing(sqlite3.connect(harness.path)) as connection:
        found = connection.execute("SELECT scope, ids FROM seen_batches ORDER BY number").fetchall()
    await harness.reopen()
    assert found == [
        ("event ann", '["e5", "e1", "e4"]'),
        ("event bob", '["e5", "e1", "e4"]'),
        ("event ann", '["e2", "e3"]'),
        ("event bob", '["e2", "e3"]'),
    ]
    for name in names:
        for scope in ("ann", "bob"):
            (again,) = await harness.store.append([*published(name, digest=name.encode())], scope=scope)
            assert again.seq == first[scope, name]
    assert await _places(harness, "x") == [11]
    assert await harness.store.sweep(Retention({"seen": Limits(max_count=9)}), NOW) == {"seen": 2}
    (again,) = await harness.store.append([*published("e4", digest=b"e4")], scope="ann")
    assert again.seq == first["ann", "e4"]
    assert await _places(harness, "e1") == [12]


@pytest.mark.parametrize(
    "limits", [Limits(max_count=3), Limits(max_bytes=3 * (ROW_BYTES + 3))], ids=["by count", "by bytes"]
)
async def test_of_the_batch_in_which_the_bound_lies_the_rest_stays_known(
    harness: SQLiteHarness, limits: Limits
) -> None:
    await _places(harness, "e9", "e8")
    await _places(harness, "e3", "e2", "e1", "e4")
    assert await harness.store.sweep(Retention({"seen": limits}), NOW) == {"seen": 3}
    assert await harness.store.sweep(Retention({"seen": limits}), NOW) == {"seen": 0}
    await harness.reopen()
    assert await _places(harness, "e4", "e1", "e2") == [6, 5, 4]
    assert await _places(harness, "e3", "e8", "e9") == [7, 8, 9]


async def test_a_batch_that_is_damaged_is_an_error_and_no_answer(harness: SQLiteHarness) -> None:
    """Its content, or that it is not there."""
    await _places(harness, "e1", "e2")
    await _alter(harness, """UPDATE seen_batches SET refs = '["1", "3"]'""")
    with pytest.raises(StoreCorrupt, match="batch 1 of seen ids"):
        await _places(harness, "e2")


async def test_a_batch_that_is_damaged_does_not_keep_the_others(harness: SQLiteHarness) -> None:
    for name in ("e1", "e2", "e3"):
        await _places(harness, name)
    await _alter(harness, "UPDATE seen_batches SET time = time + 1 WHERE number = 1")
    assert await harness.store.sweep(Retention({"seen": Limits(max_count=2)}), NOW) == {"seen": 1}
    assert await _places(harness, "e3", "e2") == [3, 4]


async def test_an_id_without_its_batch_is_damage(harness: SQLiteHarness) -> None:
    await _places(harness, "e1", "e2")
    await _alter(harness, "UPDATE seen SET batch = 7 WHERE id = 'e2'")
    with pytest.raises(StoreCorrupt, match="the seen id 'e2'"):
        await _places(harness, "e2")

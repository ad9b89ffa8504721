"""The shared state over a real store and bus: writers that race, caps, and keys whose time has come."""

import asyncio
import contextlib
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from state_rig import DEADLINE, Rig, changes, until_synced

from gatewayd.core.errors import LimitExceeded, StateConflict
from gatewayd.core.state import EVERYWHERE, StateScope
from gatewayd.runtime.state import SWEEP_BITE, SWEEP_EVERY, Change

GLOBAL, STREAM = StateScope.GLOBAL, StateScope.STREAM


async def test_a_hundred_writers_that_compare_and_set_lose_no_update(rig: Rig) -> None:
    """Each reads, adds one and writes at the version it read, until nobody came in between."""
    conflicts = 0

    async def add() -> None:
        nonlocal conflicts
        while True:
            found = await rig.state.find([EVERYWHERE], "n")
            count, version = (found.value, found.version) if found else (0, 0)
            try:
                await rig.put("n", str(count + 1), expected=version)
            except StateConflict:
                conflicts += 1
            else:
                return

    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*(add() for _ in range(100)))
    found = await rig.state.find([EVERYWHERE], "n")
    assert found is not None
    assert found.value == 100
    assert conflicts > 0


async def test_a_transaction_moves_between_keys_and_none_is_ever_seen_in_between(rig: Rig) -> None:
    await rig.state.write([Change(EVERYWHERE, "a", "50"), Change(EVERYWHERE, "b", "50")], writer="ann")
    moved = 0

    async def move() -> None:
        nonlocal moved
        for _ in range(10):
            rows = {row.key: row for row in await rig.state.page(EVERYWHERE, "", 9)}
            assert rows["a"].value + rows["b"].value == 100
            new = [
                Change(EVERYWHERE, key, str(rows[key].value + step), rows[key].version)
                for key, step in (("a", -1), ("b", 1))
            ]
            with contextlib.suppress(StateConflict):
                await rig.state.write(new, writer="ann")
                moved += 1

    async with asyncio.timeout(DEADLINE):
        await asyncio.gather(*(move() for _ in range(10)))
    rows = {row.key: row.value for row in await rig.state.page(EVERYWHERE, "", 9)}
    assert rows == {"a": 50 - moved, "b": 50 + moved}


async def test_a_conflict_names_what_was_there(rig: Rig) -> None:
    entry = await rig.put("a", "1")
    with pytest.raises(StateConflict) as refused:
        await rig.put("a", "2", expected=0)
    assert refused.value.metadata == {
        "key": "a",
        "scope": "global",
        "expected_version": "0",
        "actual_version": str(entry.version),
    }
    assert [violation.field for violation in refused.value.violations] == ["a"]


async def test_a_key_goes_when_its_time_has_come_and_that_is_told(rig: Rig) -> None:
    news = rig.watch()
    await until_synced(news)
    await rig.put("short", "1", ttl=SWEEP_EVERY + 1)
    await rig.put("long", "1", ttl=1000.0)
    await (await rig.view(1)).set("own", 1, ttl=SWEEP_EVERY + 1)
    assert await changes(news, 2) == [("short", "1"), ("long", "1")]
    rig.clock.jump(SWEEP_EVERY + 1)
    assert await rig.state.find([EVERYWHERE], "short") is None
    assert await (await rig.view(1)).get("own") is None
    assert await rig.state.expire() == 2
    assert await changes(news, 1) == [("short", "")]
    assert [row.key for row in await rig.state.page(EVERYWHERE, "", 9)] == ["long"]


async def test_the_sweep_goes_on_by_itself_until_nothing_is_left(rig: Rig) -> None:
    for start in range(0, SWEEP_BITE * 2, 50):
        batch = [Change(EVERYWHERE, f"k{start + n}", "1", None, 1.0) for n in range(50)]
        await rig.state.write(batch, writer="ann")
    news = rig.watch()
    assert len(await until_synced(news)) == SWEEP_BITE * 2
    await rig.state.start()
    await rig.clock.settle()
    rig.clock.jump(1.0)
    await rig.clock.advance(SWEEP_EVERY)
    assert len(await changes(news, SWEEP_BITE * 2)) == SWEEP_BITE * 2
    assert await rig.state.page(EVERYWHERE, "", 9) == []


async def test_the_caps_are_told_by_name(rig: Rig) -> None:
    rig.state.limits = replace(rig.limits, keys=1)
    await rig.put("a", "1")
    with pytest.raises(LimitExceeded) as refused:
        await rig.put("b", "1")
    assert refused.value.metadata == {"limit": "state_keys"}
    rig.state.limits = replace(rig.limits, total_bytes=200)
    with pytest.raises(LimitExceeded) as refused:
        await rig.put("b", "1")
    assert refused.value.metadata == {"limit": "state_bytes"}


async def test_damaged_keys_stay_and_the_others_expire_all_the_same(
    rig: Rig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """More of them than are looked at in one bite: nobody is held up, and the log tells of it."""
    for number in range(SWEEP_BITE + 5):
        await rig.put(f"bad.{number}", "1", ttl=1.0)
    await rig.put("good", "1", ttl=2.0)
    await rig.store.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "db", isolation_level=None)) as file:
        file.execute("UPDATE state SET value = '2' WHERE key LIKE 'bad.%'")
    again = Rig(tmp_path / "db")
    await again.store.open()
    again.bus.attach(again.store)
    try:
        await again.clock.advance(10.0)
        assert await again.state.expire() == 1
        assert await again.state.find([EVERYWHERE], "good") is None
        assert len(await again.store.expired_state(again.clock.now(), 10)) == 0
        assert "state_damaged" in caplog.text
    finally:
        await again.tasks.close()
        await again.store.close()

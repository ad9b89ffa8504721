"""The shared state over a real store and bus: writers that race, agents by their isolation, watches, and time."""

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from gatewayd.agents.base import AgentContext, Output, TextOutput, Turn
from gatewayd.agents.state import StateSet
from gatewayd.bus.memory import MemoryBus
from gatewayd.core.clock import SeededRandomness, SystemClock
from gatewayd.core.errors import Draining, InvalidArgument, LimitExceeded, SlowConsumer, StateConflict, Unauthenticated
from gatewayd.core.event import EventType
from gatewayd.core.ids import IdSource
from gatewayd.core.state import EVERYWHERE, Isolation, Place, StateEntry, StateLimits, StateScope
from gatewayd.core.topic import TopicPattern
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.state import NOBODY, SWEEP_BITE, SWEEP_EVERY, Change, SharedState
from gatewayd.runtime.state_view import StateView
from gatewayd.runtime.state_watch import StateNews, StateWatches
from gatewayd.service import TaskSet
from gatewayd.storage.sqlite import SQLiteStore
from gatewayd.testing.fakes import FakeClock
from gatewayd.testing.store_cases import samples
from gatewayd.wire.events import decode_event, encode_event
from tests.rigs.middle import HandAgent, Middle

DEADLINE = 60.0
BUFFER_BYTES = 1 << 20
GLOBAL, STREAM = StateScope.GLOBAL, StateScope.STREAM


class Rig:
    """A store with two executions of one stream, a bus, and the state over them."""

    def __init__(self, path: Path) -> None:
        self.clock = FakeClock()
        ids = IdSource(self.clock, SeededRandomness(3))
        self.tasks = TaskSet("test")
        self.bus = MemoryBus(self.tasks, self.clock)
        self.store = SQLiteStore(
            path,
            clock=self.clock,
            ids=ids,
            sink=self.bus,
            encode=encode_event,
            decode=decode_event,
            on_failed=lambda _error: None,
        )
        self.limits = StateLimits(value_bytes=100_000, keys=1000)
        events = ExecutionEvents(self.clock, ids)
        self.state = SharedState(store=self.store, clock=self.clock, ids=ids, events=events, limits=self.limits)
        self.watches = StateWatches(self.state, self.bus, lambda: BUFFER_BYTES)

    async def view(self, number: int, isolation: Isolation = Isolation.SHARED) -> StateView:
        execution = await self.store.get_execution(f"x{number:04}")
        assert execution is not None
        return StateView(self.state, execution, isolation)

    async def put(self, key: str, text: str, *, expected: int | None = None, ttl: float | None = None) -> StateEntry:
        return (await self.state.write([Change(EVERYWHERE, key, text, expected, ttl)], writer="ann"))[0]

    def watch(self, pattern: str = "", place: Place = EVERYWHERE) -> AsyncIterator[StateNews]:
        parsed = TopicPattern.parse(pattern) if pattern else None
        return self.watches.open(place, parsed, lambda key: key != "secret", "digest").news()


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    rig = Rig(tmp_path / "db")
    await rig.store.open()
    rig.bus.attach(rig.store)
    for number in (1, 2):
        await rig.store.accept(samples.acceptance(number, record=samples.session()))
    yield rig
    await rig.state.stop()
    await rig.tasks.close()
    await rig.store.close()


async def until_synced(news: AsyncIterator[StateNews]) -> dict[str, str]:
    found: dict[str, str] = {}
    async for part in news:
        found |= {entry.key: entry.text for entry in part.entries}
        if part.synced:
            break
    return found


async def changes(news: AsyncIterator[StateNews], count: int) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    async with asyncio.timeout(DEADLINE):
        while len(found) < count:
            found += [(change.key, change.text) for change in (await anext(news)).changes]
    return found


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


async def test_shared_reads_its_own_then_the_streams_then_the_gateways(rig: Rig) -> None:
    one, two = await rig.view(1), await rig.view(2)
    await one.set("k", "everybody's", scope=GLOBAL)
    assert (await one.get("k"), await two.get("k")) == ("everybody's", "everybody's")
    await one.set("k", "the stream's", scope=STREAM)
    await one.set("k", "mine")
    assert (await one.get("k"), await two.get("k")) == ("mine", "the stream's")
    entry = await two.entry("k", GLOBAL)
    assert entry is not None
    assert entry.value == "everybody's"
    await one.delete("k")
    assert (await one.get("k"), await one.get("none", 5)) == ("the stream's", 5)


async def test_isolated_sees_and_writes_its_own_alone(rig: Rig) -> None:
    await (await rig.view(1)).set("k", 1, scope=GLOBAL)
    alone = await rig.view(2, Isolation.ISOLATED)
    assert await alone.get("k") is None
    await alone.set("k", 2)
    assert await alone.get("k") == 2
    for scope in (GLOBAL, STREAM):
        with pytest.raises(InvalidArgument):
            await alone.set("k", 3, scope=scope)
        with pytest.raises(InvalidArgument):
            await alone.entry("k", scope)
    assert await (await rig.view(1)).get("k") == 1


async def test_synchronized_overwrites_nothing_that_it_has_not_seen(rig: Rig) -> None:
    one, two = await rig.view(1, Isolation.SYNCHRONIZED), await rig.view(2, Isolation.SYNCHRONIZED)
    await one.set("n", 1, scope=GLOBAL)
    with pytest.raises(StateConflict):
        await two.set("n", 5, scope=GLOBAL)
    assert await two.get("n") == 1
    await two.set("n", 2, scope=GLOBAL)
    with pytest.raises(StateConflict):
        await one.transact([StateSet("m", 1, GLOBAL), StateSet("n", 3, GLOBAL)])
    assert await one.get("m") is None
    assert await one.get("n") == 2
    await one.transact([StateSet("m", 1, GLOBAL), StateSet("n", 3, GLOBAL)])
    await one.delete("n", scope=GLOBAL)
    await one.set("n", 4, scope=GLOBAL)
    # What is its own it writes as it likes.
    await one.set("own", 1)
    await one.set("own", 2)


async def test_an_agent_compares_and_sets_and_none_is_no_value(rig: Rig) -> None:
    view = await rig.view(1)
    version = await view.compare_and_set("n", {"a": 1}, 0, scope=STREAM)
    with pytest.raises(StateConflict):
        await view.compare_and_set("n", 2, 0, scope=STREAM)
    assert await view.compare_and_set("n", 2, version, scope=STREAM) > version
    with pytest.raises(InvalidArgument):
        await view.set("n", None)


async def test_what_is_told_belongs_to_the_executions_owner_and_what_is_shared_to_nobody(rig: Rig) -> None:
    view = await rig.view(1)
    await view.set("own", 1)
    await view.set("all", 1, scope=GLOBAL)
    page = await rig.store.read_forward(0, samples.ALL, 99)
    own, shared = [event for event in page.events if event.type is EventType.STATE_CHANGED]
    assert (own.owner, own.execution_id, own.session_id, own.topic) == ("ann", "x0001", "s1", "own")
    assert (shared.owner, shared.execution_id, shared.stream_id, shared.topic) == (NOBODY, "x0001", "state", "all")


async def test_a_watch_tells_what_is_there_and_then_every_change_once_and_in_order(rig: Rig) -> None:
    for number in range(120):
        await rig.put(f"k.{number:03}", "0")
    await rig.put("other", "0")
    await rig.put("secret", "0")
    news = rig.watch("k.*")
    first = await anext(news)
    # Written while what is there is still being read: in the part that follows, or as a change, never both or neither.
    await rig.put("k.119", "1")
    await rig.put("k.000", "1")
    found = {entry.key: entry.text for entry in first.entries} | await until_synced(news)
    assert len(found) == 120
    expected = [("k.000", "1")] if found["k.119"] == "1" else [("k.119", "1"), ("k.000", "1")]
    await asyncio.gather(*(rig.put(f"k.{n % 7:03}", str(n)) for n in range(200)), rig.put("secret", "2"))
    await rig.put("k.001", "")
    expected += [(f"k.{n % 7:03}", str(n)) for n in range(200)] + [("k.001", "")]
    assert await changes(news, len(expected)) == expected


async def test_a_watch_of_an_execution_hears_of_it_alone(rig: Rig) -> None:
    one, two = await rig.view(1), await rig.view(2)
    news = rig.watch(place=Place(StateScope.EXECUTION, "x0001"))
    streams = rig.watch(place=Place(STREAM, "helper"))
    assert await until_synced(news) == await until_synced(streams) == {}
    await two.set("k", 2)
    await one.set("k", 3, scope=STREAM)
    await one.set("k", 1)
    assert await changes(news, 1) == [("k", "1")]
    assert await changes(streams, 1) == [("k", "3")]


async def test_a_watch_that_does_not_keep_up_is_cut_and_holds_no_more_than_its_bound(rig: Rig) -> None:
    news = rig.watch()
    await until_synced(news)
    text = '"' + "x" * 60_000 + '"'
    for number in range(BUFFER_BYTES // 60_000 + 5):
        await rig.put(f"k{number}", text)
    rig.bus.flush()
    with pytest.raises(SlowConsumer):
        await changes(news, 1000)


async def test_watches_end_with_the_token_and_with_the_gateway(rig: Rig) -> None:
    for end, error in (
        (lambda: rig.watches.end_revoked(frozenset({"digest"})), Unauthenticated),
        (rig.watches.drain, Draining),
    ):
        watch = rig.watches.open(EVERYWHERE, None, lambda _key: True, "digest")
        news = watch.news()
        await until_synced(news)
        waiting = asyncio.ensure_future(anext(news))
        await asyncio.sleep(0)
        end()
        with pytest.raises(error):
            async with asyncio.timeout(DEADLINE):
                await waiting
        watch.close()
    assert rig.watches.count == 0
    with pytest.raises(Draining):
        rig.watch()


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


class Counting(HandAgent):
    """Counts its turns in what all executions of its stream share."""

    async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        turns = await ctx.state.get("turns", 0) + 1
        await ctx.state.set("turns", turns, scope=STREAM)
        await ctx.state.set("asked", turn.text)
        yield TextOutput(f"{turns}: {await ctx.state.get('asked')}")


async def test_an_agent_finds_what_an_earlier_execution_left(tmp_path: Path) -> None:
    async with Middle(tmp_path, {}, SystemClock()) as middle:
        middle.agents["a"] = Counting()
        outputs, executions = [], []
        for text in ("one", "two"):
            submitted = await middle.send(text)
            async with asyncio.timeout(DEADLINE):
                outputs.append((await submitted.live.done).output)
            executions.append(submitted.accepted.execution_id)
        assert outputs == ["1: one", "2: two"]
        own = [await middle.store.list_state(Place(StateScope.EXECUTION, one), "", 9) for one in executions]
        assert [[row.value for row in rows] for rows in own] == [["one"], ["two"]]


async def test_a_conflict_that_an_agent_does_not_handle_ends_its_turn_with_what_it_was(tmp_path: Path) -> None:
    class Careless(HandAgent):
        async def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
            await ctx.state.compare_and_set("k", turn.text, 7)
            yield TextOutput("never said")

    async with Middle(tmp_path, {}, SystemClock()) as middle:
        middle.agents["a"] = Careless()
        async with asyncio.timeout(DEADLINE):
            outcome = await (await middle.send("one")).live.done
        assert (outcome.state.value, outcome.output) == ("failed", "")
        assert "is at version 0, not at 7" in outcome.error


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

"""Heartbeats by a clock that stands still: at the interval, spread over turns of the loop, and never for who left."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

import pytest

from gatewayd.conversation.heartbeats import AT_ONCE, LONGEST_SLEEP, Heartbeats
from gatewayd.service import TaskSet
from gatewayd.testing.fakes import FakeClock


class Rig:
    """Connections, and when each had its heartbeats. Any object can be a connection."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.interval = 30.0
        self.beats: dict[Any, list[float]] = {}
        self.turn = 0
        self.per_turn: Counter[int] = Counter()
        self.upkeeps = 0
        self.heartbeats = Heartbeats(self.clock, interval=lambda: self.interval, beat=self._beat, upkeep=self._upkeep)
        self.tasks = TaskSet("test")

    def start(self) -> None:
        self.tasks.start(self.heartbeats.run(), name="beats")
        self.tasks.start(self._turns(), name="turns")

    async def _turns(self) -> None:
        while True:
            self.turn += 1
            await asyncio.sleep(0)

    def _beat(self, conversation: Any, interval: float) -> None:
        assert interval == self.interval
        self.beats.setdefault(conversation, []).append(self.clock.monotonic())
        self.per_turn[self.turn] += 1

    def _upkeep(self) -> None:
        self.upkeeps += 1

    def open(self, count: int = 1) -> list[Any]:
        connections: list[Any] = [object() for _ in range(count)]
        for each in connections:
            self.heartbeats.add(each)
        return connections


@pytest.fixture
async def rig() -> AsyncIterator[Rig]:
    rig = Rig()
    yield rig
    await rig.tasks.close()


async def test_each_connection_has_its_own_moment(rig: Rig) -> None:
    rig.start()
    (early,) = rig.open()
    await rig.clock.advance(7.0)
    (late,) = rig.open()
    await rig.clock.advance(100.0)

    assert rig.beats[early] == pytest.approx([30.0, 60.0, 90.0])
    assert rig.beats[late] == pytest.approx([37.0, 67.0, 97.0])


async def test_a_shorter_interval_holds_within_a_second(rig: Rig) -> None:
    rig.start()
    (one,) = rig.open()
    await rig.clock.advance(10.0)
    rig.interval = 2.0
    await rig.clock.advance(LONGEST_SLEEP)
    assert len(rig.beats[one]) == 1
    await rig.clock.advance(10.0)
    assert len(rig.beats[one]) == 6


async def test_who_has_left_gets_none(rig: Rig) -> None:
    rig.start()
    stays, leaves = rig.open(2)
    rig.heartbeats.remove(leaves)
    rig.heartbeats.remove(leaves)
    await rig.clock.advance(31.0)

    assert set(rig.beats) == {stays}
    assert rig.upkeeps >= 30


async def test_ten_thousand_are_spread_over_many_turns(rig: Rig) -> None:
    """All of them connected in one moment, as after a restart: each gets its one, and no turn is for all."""
    connections = rig.open(10_000)
    rig.start()
    await rig.clock.advance(29.0)
    assert not rig.beats
    await rig.clock.advance(1.0)
    async with asyncio.timeout(60):
        while len(rig.beats) < len(connections):
            await rig.clock.settle()

    assert all(len(beats) == 1 for beats in rig.beats.values())
    assert max(rig.per_turn.values()) <= AT_ONCE

"""The shared state over a real store and bus, and what a watch of it tells."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

from gatewayd.bus.memory import MemoryBus
from gatewayd.core.clock import SeededRandomness
from gatewayd.core.ids import IdSource
from gatewayd.core.state import EVERYWHERE, Isolation, Place, StateEntry, StateLimits
from gatewayd.core.topic import TopicPattern
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.state import Change, SharedState
from gatewayd.runtime.state_view import StateView
from gatewayd.runtime.state_watch import StateNews, StateWatches
from gatewayd.service import TaskSet
from gatewayd.storage.sqlite import SQLiteStore
from gatewayd.testing.fakes import FakeClock
from gatewayd.wire.events import decode_event, encode_event

DEADLINE = 60.0
BUFFER_BYTES = 1 << 20


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

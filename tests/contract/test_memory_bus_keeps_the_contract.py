"""The in-process bus against the bus's conformance suite, over SQLite."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatewayd.bus.memory import MemoryBus
from gatewayd.core.clock import SystemClock, SystemRandomness
from gatewayd.core.errors import StoreFailed
from gatewayd.core.ids import IdSource
from gatewayd.service import TaskSet
from gatewayd.storage.sqlite import SQLiteStore
from gatewayd.testing.bus_contract import BusContract, Wired
from gatewayd.wire import decode_event, encode_event


class TestMemoryBus(BusContract):
    @pytest.fixture
    async def bus(self, tmp_path: Path) -> AsyncIterator[Wired]:
        tasks = TaskSet("test")
        failures: list[StoreFailed] = []
        clock = SystemClock()
        bus = MemoryBus(tasks, clock)
        store = SQLiteStore(
            tmp_path / "state" / "gatewayd.db",
            clock=clock,
            ids=IdSource(clock, SystemRandomness()),
            sink=bus,
            encode=encode_event,
            decode=decode_event,
            on_failed=failures.append,
        )
        await store.open()
        bus.attach(store)
        yield Wired(bus, store)
        await tasks.close()
        await store.close()
        assert failures == []

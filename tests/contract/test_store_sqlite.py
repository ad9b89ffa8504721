"""SQLite against the store's conformance suite."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatewayd.core.clock import SeededRandomness
from gatewayd.core.errors import StoreFailed
from gatewayd.core.ids import IdSource
from gatewayd.storage.sqlite import SQLiteStore
from gatewayd.testing.fakes import FakeClock
from gatewayd.testing.store_cases.samples import ListeningSink
from gatewayd.testing.store_contract import StoreContract
from gatewayd.wire.events import decode_event, encode_event


class SQLiteHarness:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.failures: list[StoreFailed] = []
        self._make()

    def _make(self) -> None:
        clock = FakeClock()
        self.sink = ListeningSink()
        self.store = SQLiteStore(
            self.path,
            clock=clock,
            ids=IdSource(clock, SeededRandomness(1)),
            sink=self.sink,
            encode=encode_event,
            decode=decode_event,
            on_failed=self.failures.append,
        )

    async def reopen(self) -> None:
        await self.store.close()
        self._make()
        await self.store.open()


class TestSQLiteStore(StoreContract):
    @pytest.fixture
    async def harness(self, tmp_path: Path) -> AsyncIterator[SQLiteHarness]:
        harness = SQLiteHarness(tmp_path / "state" / "gateway.db")
        await harness.store.open()
        yield harness
        await harness.store.close()
        assert harness.failures == []

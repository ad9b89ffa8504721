"""SQLite against the store's conformance suite."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatewayd.testing.store_cases.sqlite import SQLiteHarness
from gatewayd.testing.store_contract import StoreContract


class TestSQLiteStore(StoreContract):
    @pytest.fixture
    async def harness(self, tmp_path: Path) -> AsyncIterator[SQLiteHarness]:
        harness = SQLiteHarness(tmp_path / "state" / "gateway.db")
        await harness.store.open()
        yield harness
        await harness.store.close()
        assert harness.failures == []

"""A `SQLiteStore` for tests: with a fake clock, a sink that listens, and whatever else a test wants to be different."""

from pathlib import Path
from typing import Any

from gatewayd.core.clock import SeededRandomness
from gatewayd.core.errors import StoreFailed
from gatewayd.core.ids import IdSource
from gatewayd.storage.sqlite import SQLiteStore
from gatewayd.testing.fakes import FakeClock
from gatewayd.testing.store_cases.samples import ListeningSink
from gatewayd.wire.events import decode_event, encode_event


class SQLiteHarness:
    """A store at `path`, made with `options`; not open yet."""

    def __init__(self, path: Path, **options: Any) -> None:
        self.path = path
        self.failures: list[StoreFailed] = []
        self._options = options
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
            **self._options,
        )

    async def reopen(self) -> None:
        await self.store.close()
        self._make()
        await self.store.open()

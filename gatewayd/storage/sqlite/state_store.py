"""The part of `SQLiteStore` that implements `storage.state.StateTables`."""

from collections.abc import Sequence
from functools import partial

from gatewayd.core.state import Place, StateEntry, StateLimits
from gatewayd.storage.sqlite import state
from gatewayd.storage.sqlite.reader import Reader
from gatewayd.storage.sqlite.unit import Receipt
from gatewayd.storage.sqlite.writer import Writer
from gatewayd.storage.state import StateOutcome, StateTotals, StateWrite


class SQLiteState:
    """See `storage.state.StateTables`."""

    _reader: Reader
    _writer: Writer

    def write_state(
        self, writes: Sequence[StateWrite], *, writer: str, now: float, limits: StateLimits
    ) -> Receipt[StateOutcome]:
        writes = tuple(writes)
        return self._writer.submit(
            partial(state.write, writes=writes, writer=writer, now=now, limits=limits),
            streams=[one.event.stream_id for one in writes],
            size=sum(len(one.key) + len(one.text) for one in writes),
        )

    def drop_expired_state(self, writes: Sequence[StateWrite], now: float) -> Receipt[int]:
        writes = tuple(writes)
        return self._writer.submit(
            partial(state.drop_expired, writes=writes, now=now), streams=[one.event.stream_id for one in writes]
        )

    async def read_state(self, wanted: Sequence[tuple[Place, str]]) -> list[StateEntry]:
        return await self._reader.run(state.read, tuple(wanted))

    async def list_state(self, place: Place, after: str, limit: int) -> list[StateEntry]:
        return await self._reader.run(state.list_place, place, after, limit)

    async def state_totals(self) -> StateTotals:
        return await self._reader.run(state.totals)

    async def expired_state(self, now: float, limit: int) -> list[StateEntry]:
        return await self._reader.run(state.list_expired, now, limit)

"""What is done now and then: sessions and answers that waited too long end, the store forgets what retention allows."""

import asyncio
import logging
from collections.abc import Awaitable, Callable

from gatewayd.config.model import GatewayConfig
from gatewayd.config.section import settings_of
from gatewayd.core.clock import Clock
from gatewayd.core.errors import GatewayError
from gatewayd.daemon.expiry import Expiry
from gatewayd.runtime.suspending import Suspending
from gatewayd.service import TaskSet
from gatewayd.sessions import SessionManager
from gatewayd.storage.base import Store
from gatewayd.storage.retention import Limits, Retention

log = logging.getLogger("gatewayd.upkeep")

EXPIRE_EVERY = 30.0
"""Seconds between two looks at idle sessions."""
SWEEP_EVERY = 60.0
"""Seconds between two sweeps of the store, unless the log of events overflows."""
LOOK_EVERY = 5.0
"""Seconds between two looks at the log."""
_DAY = 86_400.0
OVERFLOW = 1000
"""Events, or a tenth of what may be kept if that is more, that the log may hold beyond its bound until it is swept."""


class Upkeep:
    """A background part; a failure is told and tried again at the next turn."""

    def __init__(
        self,
        *,
        store: Store,
        sessions: SessionManager,
        expiry: Expiry,
        suspending: Suspending,
        finish_erasures: Callable[[], Awaitable[None]],
        config: Callable[[], GatewayConfig],
        clock: Clock,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._expiry = expiry
        self._suspending = suspending
        self._finish_erasures = finish_erasures
        self._config = config
        self._clock = clock
        self._tasks = TaskSet("upkeep")
        self._soon = asyncio.Event()

    async def start(self) -> None:
        self._tasks.start(self._expire(), name="expire sessions")
        self._tasks.start(self._sweep(), name="sweep store")

    def look(self) -> None:
        """Sweep by new bounds, and count anew what waits for channels that are not there; after a reload."""
        self._soon.set()
        self._tasks.start(self._look(), name="look at what waits")

    async def stop(self) -> None:
        await self._tasks.close()

    async def _look(self) -> None:
        try:
            await self._expiry.look()
        except GatewayError as error:
            log.warning("look_failed", extra={"reason": error.reason})

    async def _expire(self) -> None:
        while True:
            await self._clock.sleep(EXPIRE_EVERY)
            try:
                await self._sessions.expire()
            except GatewayError as error:
                log.warning("expire_failed", extra={"reason": error.reason})

    async def _sweep(self) -> None:
        """First at the start: a daemon that is restarted often must forget, too."""
        while True:
            try:
                await self._finish_erasures()
                kept = retention(self._config())
                await self._expiry.expire(kept.tables["outbox"].max_age)
                deleted = await self._store.sweep(kept, self._clock.now())
                runs = self._config().runtime
                aged = self._clock.now() - (runs.execution_result_ttl_seconds or float("inf"))
                rested = self._clock.now() - runs.checkpoints.max_age_days * _DAY
                deleted["suspended"] = await self._suspending.expire(rested)
                deleted["results"] = await self._store.drop_results(keep=runs.execution_result_max, before=aged)
                if any(deleted.values()):
                    log.info("swept", extra={"deleted": {table: rows for table, rows in deleted.items() if rows}})
            except GatewayError as error:
                log.warning("sweep_failed", extra={"reason": error.reason})
            await self._look()
            await self._rest()

    async def _rest(self) -> None:
        """Until it is time to sweep again."""
        for _ in range(int(SWEEP_EVERY / LOOK_EVERY)):
            try:
                async with self._clock.timeout(LOOK_EVERY):
                    await self._soon.wait()
            except TimeoutError:
                if not self._overflows():
                    continue
            break
        self._soon.clear()

    def _overflows(self) -> bool:
        log, most = self._store.log, self._config().bus.history.max_events
        return log.last_seq - log.first_seq >= most + max(OVERFLOW, most // 10)


def retention(config: GatewayConfig) -> Retention:
    """What the configuration lets the store keep; `bus.history` is the events' part."""
    history = config.bus.history
    tables = {"events": Limits(history.max_age or 0.0, history.max_events, history.max_bytes or 0)}
    for table in settings_of(config.storage.retention):
        section = getattr(config.storage.retention, table)
        tables[table] = Limits(section.max_age or 0.0, section.max_count or 0, section.max_bytes or 0)
    return Retention(tables)

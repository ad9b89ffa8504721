"""Executions that rest because no worker of their agent was there: when one is, they go on by themselves.

Oldest first within an entry point, each with its room in the lanes as everything that comes back. Which ones they are
is in the store, so that a start of the daemon in between changes nothing.
"""

import logging
from collections.abc import Callable

from gatewayd.agents.workers import Workers
from gatewayd.core.clock import Clock, Randomness, jittered
from gatewayd.core.errors import (
    ExecutionFinished,
    GatewayError,
    LimitExceeded,
    NotFound,
    NotPaused,
    StoreBusy,
    StoreCorrupt,
    StoreFull,
)
from gatewayd.core.work import Execution, ExecutionState
from gatewayd.runtime.lanes import Lanes
from gatewayd.runtime.suspending import Suspending
from gatewayd.service import TaskSet
from gatewayd.storage.base import Store

log = logging.getLogger("gatewayd.runtime")

_BITE = 100
_RETRY = 1.0
"""Seconds between two tries while there is no room for one, or the store is busy or full."""


class Returning:
    """`draining` says whether nothing is begun any more."""

    def __init__(
        self,
        *,
        store: Store,
        suspending: Suspending,
        lanes: Lanes,
        workers: Workers,
        draining: Callable[[], bool],
        tasks: TaskSet,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self._store = store
        self._suspending = suspending
        self._lanes = lanes
        self._workers = workers
        self._draining = draining
        self._tasks = tasks
        self._clock = clock
        self._randomness = randomness
        self._again: dict[str, bool] = {}
        """Agents whose executions are being brought back, and whether more have come to rest meanwhile."""
        workers.absence.on_arrival = self.look
        suspending.on_absence = self.look

    def look(self, agent: str) -> None:
        """A worker of it has come, or an execution that found none rests now."""
        if not self._may(agent) or not self._suspending.counts()[ExecutionState.PAUSED.value]:
            return
        if agent in self._again:
            self._again[agent] = True
        else:
            self._again[agent] = False
            self._tasks.start(self._bring_back(agent), name=f"bring back to {agent}")

    def _may(self, agent: str) -> bool:
        return self._workers.serving(agent) > 0 and not self._draining()

    async def _bring_back(self, agent: str) -> None:
        full: set[str] = set()  # entry points without room: what is younger there waits, too, and nobody else does
        try:
            last = ""
            while self._may(agent):
                found = await self._awaiting(agent, last)
                for one in found:
                    last = one.id
                    if one.entry_point not in full and not await self._resume(one, agent):
                        full.add(one.entry_point)
                if not found:
                    if full:
                        await self._pause()
                    elif not self._again[agent]:
                        return
                    self._again[agent], last = False, ""
                    full.clear()
        except GatewayError as error:  # the store has failed, which stops the daemon: the next start finds them
            log.warning("not_brought_back", extra={"agent": agent, "reason": error.reason})
        finally:
            del self._again[agent]

    async def _awaiting(self, agent: str, after: str) -> list[Execution]:
        while self._may(agent):
            try:
                return await self._store.awaiting(agent, after, _BITE)
            except StoreBusy:
                await self._pause()
        return []

    async def _resume(self, one: Execution, agent: str) -> bool:
        """False where there is no room for it."""
        while self._may(agent):
            try:
                release = self._lanes.reserve(one.entry_point)
                try:
                    await self._suspending.resume(one.id, f"a worker of {agent} is there", awaiting=agent)
                    return True
                finally:
                    release()
            except LimitExceeded:
                return False
            except (NotFound, NotPaused, ExecutionFinished):  # somebody was faster
                return True
            except StoreCorrupt as error:  # told whoever asks for it; it must not keep all others
                log.warning("not_brought_back", extra={"execution": one.id, "reason": error.reason})
                return True
            except (StoreBusy, StoreFull):
                await self._pause()
        return True

    async def _pause(self) -> None:
        await self._clock.sleep(jittered(_RETRY, self._randomness))

"""An entry point that waits for the time: by a cron schedule, or every so many minutes.

Each instant starts one execution: the instant is the idempotency key, so that a clock that is set back starts nothing
twice. A clock that jumps over several instants starts one. What fell into the time in which the daemon was not running
is not made up for.
"""

import json
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from gatewayd.config.entry_points import TriggerConfigSection
from gatewayd.core.clock import Clock
from gatewayd.core.errors import Draining, EntryPointNotFound, GatewayError, StoreBusy
from gatewayd.core.work import Origin, Trigger
from gatewayd.cron import next_fire, zone_of
from gatewayd.runtime.feed import Feed

log = logging.getLogger("gatewayd.entry_points")

LOOK_EVERY = 30.0
"""Seconds after which the clock is looked at again: it may have been set."""
_MINUTE = 60.0
_TRIES = 5
"""Tries to start one instant's execution while the store is busy; then it is left out, and that is told."""
_RETRY = 1.0


class Timer(Feed):
    """One entry point's. `run` goes on until it is cancelled."""

    def __init__(
        self,
        name: str,
        settings: TriggerConfigSection,
        clock: Clock,
        dispatch: Callable[[Trigger], Awaitable[object]],
    ) -> None:
        super().__init__()
        self.name = name
        self._cron = settings.cron or ""
        self._zone = zone_of(settings.timezone or "")
        self._interval = (settings.interval_minutes or 0.0) * _MINUTE
        self._immediately = bool(settings.run_immediately)
        self._clock = clock
        self._dispatch = dispatch
        self._due = 0.0
        """By the monotonic clock; of an interval, which no setting of the clock shall stretch."""
        self.next_time = 0.0
        """When it fires next, in Unix seconds; 0 before it runs."""

    async def run(self) -> None:
        self._due = self._clock.monotonic() + self._interval
        self._plan()
        try:
            if self._immediately:
                await self._fire(self._clock.now(), "immediately")
            while True:
                while (left := self._left()) > 0:
                    await self._clock.sleep(min(left, LOOK_EVERY))
                instant = self.next_time if self._cron else self._clock.now()
                await self._fire(instant, "scheduled")
                behind = max(0.0, self._clock.monotonic() - self._due)
                self._due += self._interval * (1 + behind // self._interval) if self._interval else 0.0
                self._plan()
        except (Draining, EntryPointNotFound):
            log.info("timer_ended", extra={"entry_point": self.name})

    def _plan(self) -> None:
        now = self._clock.now()
        self.next_time = next_fire(self._cron, now, self._zone) if self._cron else now + self._left()

    def _left(self) -> float:
        """Seconds until it fires."""
        if not self._cron:
            return self._due - self._clock.monotonic()
        now = self._clock.now()
        if self.next_time - now > LOOK_EVERY:  # the clock may have been set back, or a long way on
            self.next_time = min(self.next_time, next_fire(self._cron, now, self._zone))
        return self.next_time - now

    async def _fire(self, instant: float, reason: str) -> None:
        told = datetime.fromtimestamp(instant, UTC).isoformat()
        trigger = Trigger(
            entry_point=self.name,
            text=json.dumps({"event": {"source": "timer", "reason": reason, "instant": told}}),
            origin=Origin.TIMER,
            principal=f"entry_point:{self.name}",
            idempotency_key=f"{reason} {told}",
        )
        for _ in range(_TRIES):
            try:
                await self._dispatch(trigger)
                return
            except (Draining, EntryPointNotFound):
                raise
            except StoreBusy:
                await self._clock.sleep(_RETRY)
            except GatewayError as error:
                log.warning("timer_skipped", extra={"entry_point": self.name, "instant": told, "why": error.message})
                return
        log.warning("timer_skipped", extra={"entry_point": self.name, "instant": told, "why": "the store is busy"})

"""The health of the event loop: how late it is, and a warning with the guilty line when something blocks it.

The loop itself gives the signs of life (to systemd too), so a blocked one falls silent by itself. A thread looks on
and, once per incident, logs where the loop's thread stands. Liveness (the loop turns) is this; readiness (the daemon
takes work) is another question, answered elsewhere.
"""

import logging
import threading

from gatewayd.core.clock import Clock
from gatewayd.daemon.dump import stack_of
from gatewayd.daemon.notify import Notifier
from gatewayd.service import TaskSet

log = logging.getLogger(__name__)

BEAT = 0.25
"""Seconds between two measurements."""
BLOCKED_AFTER = 1.0
"""Seconds without a turn of the loop from which on it counts as blocked."""


class LoopHealth:
    """A `Service` that measures the loop it is started on."""

    name = "loop"

    def __init__(self, clock: Clock, notify: Notifier, *, blocked_after: float = BLOCKED_AFTER) -> None:
        self._clock = clock
        self._notify = notify
        self._blocked_after = blocked_after
        self._last_turn = clock.monotonic()
        self._thread_id = 0
        self._ended = threading.Event()
        self._watcher: threading.Thread | None = None
        self._tasks = TaskSet(self.name)
        self.lag = 0.0
        """How late the loop was at the last measurement, in seconds."""
        self.worst_lag = 0.0
        """The worst since the start, in seconds."""
        self.blocked = 0
        """Incidents so far."""

    async def start(self) -> None:
        self._thread_id = threading.get_ident()
        self._last_turn = self._clock.monotonic()
        self._tasks.start(self._beat(), name="beat")
        self._watcher = threading.Thread(target=self._watch, name="loop-watch", daemon=True)
        self._watcher.start()

    async def drain(self) -> None:
        """The loop is watched to its end."""

    async def stop(self) -> None:
        self._ended.set()
        await self._tasks.close()

    def alive(self) -> bool:
        """Whether the loop has turned lately; may be asked from any thread."""
        return self._clock.monotonic() - self._last_turn < BEAT + self._blocked_after

    async def _beat(self) -> None:
        next_sign = self._clock.monotonic()
        while True:
            before = self._clock.monotonic()
            await self._clock.sleep(BEAT)
            self._last_turn = self._clock.monotonic()
            self.lag = max(0.0, self._last_turn - before - BEAT)
            self.worst_lag = max(self.worst_lag, self.lag)
            if self._notify.watchdog_interval and self._last_turn >= next_sign:
                self._notify.watchdog()
                # One beat early, so that a sign is never later than the interval.
                next_sign = self._last_turn + self._notify.watchdog_interval - BEAT

    def _watch(self) -> None:
        """In a thread of its own: Python code that blocks the loop still lets other threads have their turn."""
        while not self._ended.wait(BEAT):
            turn = self._last_turn
            seconds = self._clock.monotonic() - turn - BEAT
            if seconds < self._blocked_after:
                continue
            self.blocked += 1
            stack = stack_of(self._thread_id)
            log.warning("loop_blocked", extra={"seconds": round(seconds, 1), "stack": " < ".join(reversed(stack))})
            while not self._ended.wait(BEAT) and self._last_turn == turn:
                pass
            log.warning("loop_freed", extra={"seconds": round(self._clock.monotonic() - turn - BEAT, 1)})

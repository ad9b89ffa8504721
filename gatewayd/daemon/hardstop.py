"""The end of patience: a thread that ends the process when a stop takes too long, and names what held it up."""

import asyncio
import logging
import os
import threading
from collections.abc import Callable

from gatewayd.core.clock import Clock
from gatewayd.daemon.dump import stack_of, task_names

log = logging.getLogger(__name__)


class HardStop:
    """Armed once per process, when its stop begins; a thread, because the loop itself may be what hangs."""

    def __init__(self, clock: Clock, flush: Callable[[], None], leave: Callable[[int], None] = os._exit) -> None:
        self._clock = clock
        self._flush = flush
        self._leave = leave
        self._changed = threading.Condition()
        self._end = 0.0
        self._code = 0
        self._disarmed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def arm(self, seconds: float, code: int, loop: asyncio.AbstractEventLoop) -> None:
        """End the process with that code unless it has ended by itself by then."""
        self._end = self._clock.monotonic() + seconds
        self._code = code
        self._loop = loop
        threading.Thread(target=self._wait, name="hard-stop", daemon=True).start()

    def shorten(self, seconds: float) -> None:
        """Leave at most that much time from now on."""
        with self._changed:
            self._end = min(self._end, self._clock.monotonic() + seconds)
            self._changed.notify_all()

    def disarm(self) -> None:
        """The process has nothing left to wait for."""
        with self._changed:
            self._disarmed = True
            self._changed.notify_all()

    def _wait(self) -> None:
        with self._changed:
            while not self._disarmed and (left := self._end - self._clock.monotonic()) > 0:
                self._changed.wait(left)
            if self._disarmed:
                return
        tasks = task_names(asyncio.all_tasks(self._loop)) if self._loop is not None else []
        stacks = [
            f"{thread.name}: {' < '.join(reversed(stack_of(thread.ident or 0)))}"
            for thread in threading.enumerate()
            if thread is not threading.current_thread() and thread.name not in ("loop-watch", "log-backlog")
        ]
        log.error("stop_forced", extra={"tasks": "; ".join(tasks) or "none", "threads": "; ".join(stacks)})
        self._flush()
        self._leave(self._code)

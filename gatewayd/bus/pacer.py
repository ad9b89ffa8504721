"""When to hand out what has gathered: at once while all is quiet, later the more a handing-out costs.

In Python gRPC the cost is in the frame, not in the event, so what is held for a moment costs less. The hold is a
multiple of what the last handing-out took, measured until every reader that it woke had its turn: too short a hold
leaves no air to gather in, and a fixed one is too short for many readers and too long for few.
"""

import asyncio
from collections.abc import Callable

FACTOR = 1.0
"""Holds so many times what was measured."""
LONGEST = 0.25
"""Seconds that nothing is ever held beyond; a handing-out to 10,000 readers takes about as long."""


class Pacer:
    """Calls `flush` for what `due` has asked for. Times are the loop's: what is paced is its own work."""

    def __init__(self, flush: Callable[[], None]) -> None:
        self._flush = flush
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = False
        self._measuring = False
        self._not_before = 0.0

    def due(self) -> None:
        """There is something to hand out."""
        if not self._due:
            self._due = True
            if not self._measuring:
                self._schedule()

    def _schedule(self) -> None:
        loop = self._loop = self._loop or asyncio.get_running_loop()
        wait = self._not_before - loop.time()
        if wait <= 0:
            loop.call_soon(self._run)
        else:
            loop.call_later(wait, self._run)

    def _run(self) -> None:
        assert self._loop is not None
        began = self._loop.time()
        self._due, self._measuring = False, True
        try:
            self._flush()
        finally:
            # Readers that were woken stand in the loop's queue before this call: it comes when each has had its turn.
            self._loop.call_soon(self._measured, began)

    def _measured(self, began: float) -> None:
        assert self._loop is not None
        now = self._loop.time()
        self._measuring = False
        self._not_before = now + min(FACTOR * (now - began), LONGEST)
        if self._due:
            self._schedule()

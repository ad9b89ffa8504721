"""When to hand out what has gathered: at once while all is quiet, later the more a handing-out costs.

In Python gRPC the cost is in the frame, not in the event, so what is held for a moment costs less. Readers have it in
turns, and behind each turn there is a pause, a multiple of what the turn took, measured until every reader that it woke
has had its own: too short a pause leaves no air to gather in, and no time to read what is published.
"""

import asyncio
from collections.abc import Callable

from gatewayd.core.clock import Clock

SHARE = 25
"""Readers that have a turn together."""
FACTOR = 0.5
"""A pause is so many times what was measured."""
LONGEST = 0.25
"""Seconds that no pause is longer than."""
RESOLUTION = 0.001
"""Seconds that the loop's timers may be wrong by. A pause as short as that, and the end of a longer one, is spent
awake: to put a processor to sleep and to wake it takes as long (docs/adr/0035-short-pauses-are-spent-awake.md)."""


class Pacer:
    """Calls `turn` for what `due` asked for, again while it says so."""

    def __init__(self, turn: Callable[[], bool], clock: Clock) -> None:
        """`turn` hands out to some readers, and says whether others wait."""
        self._turn = turn
        self._now = clock.monotonic  # the loop's own time stands still in a turn, and counts whole milliseconds
        self._loop: asyncio.AbstractEventLoop | None = None
        self._due = False
        self._measuring = False
        self._free = 0.0
        """When the pause is over."""

    def due(self) -> None:
        """There is something to hand out."""
        if not self._due:
            self._due = True
            if not self._measuring:
                self._loop = self._loop or asyncio.get_running_loop()
                self._loop.call_soon(self._look)

    def _look(self) -> None:
        assert self._loop is not None
        wait = self._free - self._now()
        if wait > 2 * RESOLUTION:
            self._loop.call_later(wait - RESOLUTION, self._look)
        elif wait > 0:
            self._loop.call_soon(self._look)  # awake, and others have their turns meanwhile
        else:
            self._run()

    def _run(self) -> None:
        assert self._loop is not None
        began = self._now()
        self._due, self._measuring = False, True
        try:
            if self._turn():
                self._due = True
        finally:
            # Readers that were woken stand in the loop's queue before this call: it comes when each has had its turn.
            self._loop.call_soon(self._measured, began)

    def _measured(self, began: float) -> None:
        now = self._now()
        self._measuring = False
        self._free = now + min(FACTOR * (now - began), LONGEST)
        if self._due:
            self._look()

"""What is submitted, gathered on the loop until the writer's thread is given it as one list.

The thread is woken once per turn of the loop: with the first unit alone it would run off to a commit of one.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from gatewayd.storage.sqlite.unit import Unit

PATIENCE = 0.002
"""Seconds that a unit which holds nobody up waits for company; a few commits take as long."""


class Gathering:
    """Units on their way to the thread, in order. `give` passes them on."""

    def __init__(self, give: Callable[[list[Unit]], Any]) -> None:
        self._give = give
        self._units: list[Unit] = []
        self._soon = False
        self._later: asyncio.TimerHandle | None = None

    def add(self, unit: Unit, loop: asyncio.AbstractEventLoop, *, patient: bool) -> None:
        """Pass it on after this turn of the loop; a patient one with the next that is not, or after `PATIENCE`."""
        self._units.append(unit)
        if self._soon or (patient and self._later is not None):
            return
        if patient:
            self._later = loop.call_later(PATIENCE, self.hand_over)
        else:
            self._soon = True
            loop.call_soon(self.hand_over)

    @property
    def last(self) -> Unit | None:
        """The unit that came last, while the thread has not been given it."""
        return self._units[-1] if self._units else None

    def hand_over(self) -> None:
        """Pass on what there is, now."""
        self._soon = False
        if self._later is not None:
            self._later.cancel()
            self._later = None
        if self._units:
            units, self._units = self._units, []
            self._give(units)

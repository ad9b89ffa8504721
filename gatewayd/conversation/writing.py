"""How long the frame that is being sent has waited for its reader.

A timer for each frame would cost a fifth of the frame: one look at all connections in a second does the same.
"""

import asyncio

WRITE_LIMIT = 9.0
"""Seconds that one write may wait for a reader that does not read; the stream is cut at the next look."""
LOOK = 1.0
"""Seconds between two looks."""


class Writing:
    """Of one connection. Made by the task that writes, or before it; `watched` once it runs."""

    __slots__ = ("_cut", "_task", "began")

    def __init__(self) -> None:
        self.began = 0.0
        """When the frame that is being sent was handed to the transport, by the monotonic clock; 0 while none is."""
        self._task: asyncio.Task[object] | None = None
        self._cut = False

    def watched(self) -> None:
        """The calling task is the one to cut."""
        self._task = asyncio.current_task()

    def look(self, now: float) -> None:
        """Cut the connection if its reader has not read for too long."""
        if self.began and now - self.began >= WRITE_LIMIT and self._task is not None and not self._cut:
            self._cut = True
            self._task.cancel()

    def forgive(self) -> bool:
        """Whether the task was cancelled by `look`; then it may go on."""
        if not self._cut or self._task is None:
            return False
        self._task.uncancel()
        return True

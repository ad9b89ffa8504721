"""Signals from the first moment on: caught while the daemon still imports its parts, acted upon once the loop turns."""

import asyncio
import signal
from collections.abc import Callable, Mapping
from types import FrameType

CAUGHT = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT, signal.SIGHUP, signal.SIGUSR1)
_MOST = 2
"""How often one signal is remembered: a second SIGTERM means more than a first, a third does not."""


class Signals:
    """Catches, remembers, and hands on."""

    def __init__(self) -> None:
        self._early: list[int] = []

    def catch(self) -> None:
        """From now on no signal kills the process unawares."""
        for number in CAUGHT:
            signal.signal(number, self._remember)
        # A reader that goes away is an error of that write, not the end of the daemon.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def _remember(self, number: int, frame: FrameType | None) -> None:
        del frame
        if self._early.count(number) < _MOST:
            self._early.append(number)

    def attach(self, loop: asyncio.AbstractEventLoop, handlers: Mapping[signal.Signals, Callable[[], None]]) -> None:
        """Call the handlers on the loop from now on, and at once for what came before, in order."""
        for number, handler in handlers.items():
            loop.add_signal_handler(number, handler)
        for early in self._early:
            if (meant := handlers.get(signal.Signals(early))) is not None:
                loop.call_soon(meant)
        self._early.clear()

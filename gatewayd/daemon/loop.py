"""The event loop of the daemon: uvloop's, which reads at once all that gRPC has written to wake it.

Imports uvloop, so it may itself be imported only where that may be (`process.py`).
"""

import array
import fcntl
import socket
import termios
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVarTuple, Unpack

import uvloop

Arguments = TypeVarTuple("Arguments")
_QUEUE = "PollerCompletionQueue"
"""The class in grpc.aio (`grpc/_cython/_cygrpc/aio/completion_queue.pyx.pxi`) whose thread wakes the loop."""
_AT_ONCE = 65536
"""Bytes read in one call."""


class Loop(uvloop.Loop):
    """uvloop's loop, with one wake-up for whatever gRPC has done meanwhile."""

    def add_reader(self, fd: Any, callback: Callable[[Unpack[Arguments]], Any], *args: *Arguments) -> None:
        """See `asyncio.loop.add_reader`."""
        if wakes_for_completions(fd, callback):
            super().add_reader(fd, _gathered(fd, partial(callback, *args)))
        else:
            super().add_reader(fd, callback, *args)


def wakes_for_completions(fd: object, callback: Callable[..., Any]) -> bool:
    """Whether that is gRPC's reader of wake-ups. A gRPC made otherwise has none, and all is as uvloop does it."""
    owner = getattr(getattr(callback, "func", callback), "__self__", None)
    return type(owner).__name__ == _QUEUE and isinstance(fd, socket.socket)


def _gathered(wakes: socket.socket, take_all: Callable[[], Any]) -> Callable[[], None]:
    """A reader that leaves no wake-up behind for what `take_all` takes.

    gRPC's thread puts what is done into a queue and then writes a byte, for each; `take_all` reads one byte and takes
    all that is in the queue. The other bytes are of what it takes, and would wake the loop once each, for nothing.
    """
    number, recv = wakes.fileno(), wakes.recv
    waiting = array.array("i", [0])

    def woken() -> None:
        fcntl.ioctl(number, termios.FIONREAD, waiting)
        # All but the one that `take_all` reads; before it, for a byte written later may be of something put in later.
        if waiting[0] > 1:
            recv(min(waiting[0] - 1, _AT_ONCE))
        take_all()

    return woken

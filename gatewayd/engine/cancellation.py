"""Cancellation tokens: one side asks, the other notices, and both can see how far it has come.

A token belongs to the thread of the loop; another thread cancels by `loop.call_soon_threadsafe(token.cancel)`. There is
no lock, so a callback may do with the token what it likes.
"""

import asyncio
import logging
from collections.abc import Callable
from enum import IntEnum
from typing import Any, TypeVar

log = logging.getLogger(__name__)

_F = TypeVar("_F", bound=asyncio.Future[Any])


class CancelState(IntEnum):
    """How far a cancellation has come."""

    NONE = 0
    """Nobody asked."""
    REQUESTED = 1
    ACKNOWLEDGED = 2
    """All work that hangs on the token has noticed, but some still tidies up."""
    STOPPED = 3
    """No work hangs on the token any more."""


class Link:
    """One piece of work that hangs on a token, until it leaves."""

    __slots__ = ("_acknowledged", "_callback", "_token")

    def __init__(self, token: "CancellationToken", callback: Callable[[], object]) -> None:
        self._token: CancellationToken | None = token
        self._callback = callback
        self._acknowledged = False

    def acknowledge(self) -> None:
        """The work has noticed."""
        if self._token is not None and not self._acknowledged:
            self._acknowledged = True
            self._token._acknowledged += 1

    def leave(self) -> None:
        """The work has ended, one way or the other. Safe to call twice."""
        token, self._token = self._token, None
        if token is not None:
            token._left(self, self._acknowledged)


class CancellationToken:
    """Passed along with work, so that whoever holds it can end the work."""

    def __init__(self) -> None:
        self._cancelled = False
        self._callbacks: dict[object, Callable[[], object]] = {}
        self._links: dict[Link, None] = {}
        self._acknowledged = 0
        self._waiters: list[asyncio.Future[None]] = []

    def cancel(self) -> None:
        """Ask for the end of all that hangs on the token. Only the first call does anything."""
        if self._cancelled:
            return
        self._cancelled = True
        callbacks, self._callbacks = self._callbacks, {}
        for callback in [*(link._callback for link in self._links), *callbacks.values()]:
            _call(callback)
        self._settle()

    def is_cancelled(self) -> bool:
        """Whether somebody asked. A handler that polls this has noticed."""
        return self._cancelled

    @property
    def state(self) -> CancelState:
        """How far it has come."""
        if not self._cancelled:
            return CancelState.NONE
        if not self._links:
            return CancelState.STOPPED
        return CancelState.ACKNOWLEDGED if self._acknowledged == len(self._links) else CancelState.REQUESTED

    def add_callback(self, callback: Callable[[], object]) -> Callable[[], None]:
        """Have it called at `cancel`, or at once if that was already; what is returned takes it back.

        A callback that raises is logged and keeps no other from its turn.
        """
        if self._cancelled:
            _call(callback)
            return _nothing
        key = object()
        self._callbacks[key] = callback
        return lambda: self._callbacks.pop(key, None) and None

    def link_future(self, future: _F) -> _F:
        """Cancel the future with the token; a future that is done is let go of. Returns the future."""
        if not future.done():
            remove = self.add_callback(future.cancel)
            future.add_done_callback(lambda _: remove())
        return future

    def link_work(self, callback: Callable[[], object]) -> Link:
        """Hang a piece of work on the token, whose state then counts it; the callback is called at `cancel`."""
        link = Link(self, callback)
        self._links[link] = None
        if self._cancelled:
            _call(callback)
        return link

    async def stopped(self) -> None:
        """Wait until a cancellation was asked for and nothing hangs on the token any more."""
        while self.state is not CancelState.STOPPED:
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            try:
                await waiter
            finally:
                if waiter in self._waiters:
                    self._waiters.remove(waiter)

    def _left(self, link: Link, acknowledged: bool) -> None:
        self._links.pop(link, None)
        self._acknowledged -= acknowledged
        self._settle()

    def _settle(self) -> None:
        if self._waiters and self.state is CancelState.STOPPED:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)


class CallToken(CancellationToken):
    """The token that a handler sees: asking it tells that the handler has noticed."""

    def __init__(self, noticed: Callable[[], None]) -> None:
        super().__init__()
        self._noticed = noticed

    def is_cancelled(self) -> bool:
        if self._cancelled:
            self._noticed()
        return self._cancelled


def _call(callback: Callable[[], object]) -> None:
    try:
        callback()
    except (Exception, SystemExit):  # the boundary of foreign code
        log.exception("cancellation_callback_failed")


def _nothing() -> None:
    """Takes back nothing."""

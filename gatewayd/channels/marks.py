"""Writes of the outbox that must come to be, but that nobody waits for.

They are submitted at once and confirmed in order by one task. While the store is full or busy a write is repeated:
an answer that was sent must not look unsent because the disk had no room for a moment.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable

from gatewayd.channels.pace import Backoff
from gatewayd.core.clock import Clock, Randomness
from gatewayd.core.errors import GatewayError, StoreBusy, StoreFull

log = logging.getLogger(__name__)

Write = Callable[[], Awaitable[None]]


class Marks:
    """The writes of one outbox that are not confirmed yet."""

    def __init__(self, channel: str, clock: Clock, randomness: Randomness) -> None:
        self._channel = channel
        self._clock = clock
        self._backoff = Backoff(randomness, first=0.2, cap=10.0)
        self._waiting: deque[tuple[Write, Awaitable[None] | GatewayError, Callable[[], None]]] = deque()
        self._news = asyncio.Event()
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return len(self._waiting)

    def submit(self, write: Write, then: Callable[[], None] = lambda: None) -> None:
        """Submit the write now; `then` is called when it is on disk."""
        self._waiting.append((write, _begin(write), then))
        self._empty.clear()
        self._news.set()

    async def run(self) -> None:
        """Confirm until cancelled."""
        while True:
            while self._waiting:
                try:
                    await self._confirm(*self._waiting[0])
                finally:
                    self._waiting.popleft()
            self._empty.set()
            self._news.clear()
            await self._news.wait()

    async def settled(self) -> None:
        """Wait until all that was submitted is on disk."""
        await self._empty.wait()

    async def _confirm(self, write: Write, begun: Awaitable[None] | GatewayError, then: Callable[[], None]) -> None:
        while True:
            try:
                if isinstance(begun, GatewayError):
                    raise begun
                await begun
            except (StoreBusy, StoreFull) as error:
                log.warning("outbox_mark_waits", extra={"channel": self._channel, "reason": error.reason})
                await self._clock.sleep(self._backoff.delay())
                begun = _begin(write)
                continue
            except GatewayError:
                # The store cannot be relied on any more and the daemon is about to stop; the row stays `sending`,
                # which is what the next start asks about.
                log.exception("outbox_mark_failed", extra={"channel": self._channel})
            self._backoff.reset()
            then()
            return


def _begin(write: Write) -> Awaitable[None] | GatewayError:
    try:
        return write()
    except GatewayError as error:
        return error

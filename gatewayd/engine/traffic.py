"""The counters of one engine, and who waits for them: the only truth about whether anything is queued or runs."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from gatewayd.core.agents import AgentId
from gatewayd.core.value import value


@value(frozen=True, slots=True)
class EngineStats:
    """What an engine has done since it was made, and what it has to do now."""

    queued: int
    """Messages that wait for their agent."""
    running: int
    """Handlers that have begun and not ended, those included that nobody waits for any more."""
    sent: int
    published: int
    delivered: int
    """Handlers begun."""
    failed: int
    """Handlers that raised."""
    dropped: int
    """Published messages that did not reach an agent which subscribed."""
    refused: int
    """Messages that were not taken because a bound was reached."""
    expired: int
    cancelled: int
    not_made: int
    """Instances whose construction failed."""
    evicted: int
    instances: int
    agent_types: int
    subscriptions: int


@value(frozen=True, slots=True)
class InstanceLoad:
    """What one instance has to do now."""

    id: AgentId
    running: int
    queued: int


class Traffic:
    """Counts. Whoever changes `queued` or `running` downward calls `ended`."""

    __slots__ = (
        "_beside",
        "_waiting",
        "cancelled",
        "delivered",
        "dropped",
        "evicted",
        "expired",
        "failed",
        "not_made",
        "published",
        "queued",
        "refused",
        "running",
        "sent",
        "tick",
    )

    def __init__(self) -> None:
        self.queued = self.running = self.sent = self.published = self.delivered = 0
        self.failed = self.dropped = self.refused = self.expired = self.cancelled = 0
        self.not_made = self.evicted = 0
        self.tick = 0
        """How often the engine looked for idle instances."""
        self._beside = 0
        """What is done for somebody beside messages and must not be cut off: savings and loadings."""
        self._waiting: dict[asyncio.Future[None], Callable[[], bool]] = {}

    @property
    def in_flight(self) -> int:
        """Messages that wait or run."""
        return self.queued + self.running

    @property
    def idle(self) -> bool:
        """Whether no message waits or runs, and nothing beside them goes on."""
        return not (self.in_flight or self._beside)

    @contextmanager
    def beside(self) -> Iterator[None]:
        """Within it the engine is not idle."""
        self._beside += 1
        try:
            yield
        finally:
            self._beside -= 1
            self.ended()

    def ended(self) -> None:
        """A message has left; see whether somebody waited for that."""
        if self._waiting:
            self.look()

    def look(self) -> None:
        """Ask every condition that is waited for."""
        for waiter, condition in list(self._waiting.items()):
            if waiter.done():
                continue
            try:
                met = condition()
            except Exception as error:  # the boundary of the caller's own code: it is told
                waiter.set_exception(error)
                continue
            if met:
                waiter.set_result(None)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds; it is asked now and each time a message has left. What it raises is raised."""
        if condition():
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[waiter] = condition
        try:
            await waiter
        finally:
            del self._waiting[waiter]

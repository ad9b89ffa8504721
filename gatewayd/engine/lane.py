"""One instance of an agent and the messages that wait for it."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from gatewayd.core.agents import AgentId
from gatewayd.core.errors import InvalidArgument
from gatewayd.core.value import value
from gatewayd.engine.base import Factory, MessageAgent

if TYPE_CHECKING:
    from gatewayd.engine.call import Call


@value(frozen=True, slots=True)
class Order:
    """How messages to one instance follow each other."""

    at_once: int = 1
    latest_only: bool = False
    """Only the newest message waits; one that it displaces is dropped, or fails as superseded."""


SERIAL = Order()
LATEST = Order(latest_only=True)


def concurrent(at_once: int) -> Order:
    """Up to that many messages of one instance at once; they begin in order and end as they like."""
    if at_once < 1:
        raise InvalidArgument("an agent handles at least one message at once")
    return Order(at_once)


class Registration:
    """An agent type: how its instances are made and which there are."""

    __slots__ = ("expected_class", "factory", "lanes", "order", "type")

    def __init__(self, agent_type: str, factory: Factory, expected_class: type | None, order: Order) -> None:
        self.type = agent_type
        self.factory = factory
        self.expected_class = expected_class
        self.order = order
        self.lanes: dict[str, Lane] = {}


class Lane:
    """The queue of one instance, in the order of sending. It exists before its agent is made."""

    __slots__ = (
        "_freed",
        "agent",
        "before",
        "held",
        "id",
        "latest_only",
        "leaving",
        "limit",
        "listed",
        "making",
        "queue",
        "registration",
        "running",
        "takes_bytes",
        "used",
    )

    def __init__(self, registration: Registration, agent_id: AgentId) -> None:
        self.id = agent_id
        self.registration = registration
        self.agent: MessageAgent | None = None
        self.takes_bytes = False
        self.queue: deque[Call] = deque()
        self.running = 0
        self.limit = registration.order.at_once
        self.latest_only = registration.order.latest_only
        self.listed = False
        """Whether it stands among the lanes that have something to do."""
        self.held = False
        """Whether somebody has the agent for himself, or it is being made: no message is begun."""
        self.making: asyncio.Future[None] | None = None
        """Done when the construction that is under way has ended, well or not."""
        self.leaving = False
        """Whether its type was taken back or replaced: what runs in it ends, and then it does."""
        self.before: Lane | None = None
        """The leaving one of the same id that has to be gone before the agent of this one is made."""
        self.used = 0
        """`Traffic.tick` when it was last used."""
        self._freed: list[asyncio.Future[None]] = []

    @property
    def idle(self) -> bool:
        """Whether nothing runs, waits or holds it."""
        return not (self.queue or self.running or self.held or self._freed)

    def free(self) -> None:
        """Nothing runs or holds it any more; who waited for that looks again."""
        if self._freed:
            waiters, self._freed = self._freed, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)

    @asynccontextmanager
    async def alone(self) -> AsyncIterator[None]:
        """Have the agent for oneself: after the handlers that run, before the messages that wait.

        The caller lists the lane again afterwards (`Handling.relist`).
        """
        while self.held:
            await self.turn()
        self.held = True
        try:
            while self.running:
                await self.turn()
            yield
        finally:
            self.held = False
            self.free()

    async def emptied(self) -> None:
        """Until nothing waits, runs or holds it."""
        while self.queue or self.running or self.held:
            await self.turn()

    async def turn(self) -> None:
        """Until somebody frees it, after which to look again."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._freed.append(waiter)
        try:
            await waiter
        finally:
            if waiter in self._freed:
                self._freed.remove(waiter)

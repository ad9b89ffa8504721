"""gatewayd's event bus with its in-process handlers, ephemeral events; each handler takes one at a time, in order."""

import time
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

from bench.inprocess.arm import AGENTS, BusArm, main
from gatewayd.bus.handlers import Handlers
from gatewayd.bus.memory import MemoryBus
from gatewayd.core.clock import SystemClock
from gatewayd.core.event import Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.service import TaskSet
from gatewayd.storage.records import LogState


class Gatewayd(BusArm):
    """See `BusArm`."""

    async def start(self) -> None:
        self._bus = MemoryBus(TaskSet("bench"), SystemClock())
        self._bus.attach(SimpleNamespace(log=LogState("bench", 0, 0)))  # no durable event comes
        self._handlers = Handlers(self._bus, lambda: 1)
        wanted = EventFilter(frozenset({EventType.CUSTOM}))
        for number in range(AGENTS):
            self._handlers.subscribe(wanted, self._listener(number), name=str(number))

    def _listener(self, listener: int) -> Callable[[Event], Coroutine[Any, Any, None]]:
        async def handle(event: Event) -> None:
            self.hear(listener, event.data["number"])

        return handle

    async def publish(self, first: int, count: int) -> None:
        now = time.time()
        for number in range(first, first + count):
            self._bus.publish(
                Event(
                    id=str(number),
                    type=EventType.CUSTOM,
                    custom_type="bench",
                    stream_id="bench",
                    source="bench",
                    time=now,
                    data={"number": number},
                    durable=False,
                )
            )

    async def stop(self) -> None:
        await self._handlers.stop()


if __name__ == "__main__":
    main(Gatewayd())

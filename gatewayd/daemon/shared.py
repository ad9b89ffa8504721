"""The parts of the shared state: who writes it, and who watches."""

from collections.abc import Callable

from gatewayd.bus.base import EventBus
from gatewayd.core.clock import Clock
from gatewayd.core.ids import IdSource
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.state import SharedState
from gatewayd.runtime.state_watch import StateWatches
from gatewayd.storage.base import Store


class Shared:
    """Both, made; `start` after the store, `drain` when the gateway begins to stop, `stop` before the store."""

    def __init__(
        self,
        *,
        store: Store,
        bus: EventBus,
        clock: Clock,
        ids: IdSource,
        events: ExecutionEvents,
        queue_bytes: Callable[[], int],
    ) -> None:
        self.state = SharedState(store=store, clock=clock, ids=ids, events=events)
        self.watches = StateWatches(self.state, bus, queue_bytes)

    async def start(self) -> None:
        await self.state.start()

    def drain(self) -> None:
        """Nobody watches any more."""
        self.watches.drain()

    async def stop(self) -> None:
        await self.state.stop()

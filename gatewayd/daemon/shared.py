"""What executions share: the state, who watches it, and the goals."""

from collections.abc import Callable

from gatewayd.bus.base import EventBus
from gatewayd.config.model import GatewayConfig
from gatewayd.core.clock import Clock
from gatewayd.core.ids import IdSource
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.goal_feed import GoalFeed
from gatewayd.runtime.goals import Goals
from gatewayd.runtime.state import SharedState
from gatewayd.runtime.state_watch import StateWatches
from gatewayd.runtime.views import Views
from gatewayd.storage.base import Store


class Shared:
    """All of it, made; `start` after the store, `drain` when the gateway begins to stop, `stop` before the store."""

    def __init__(
        self,
        *,
        store: Store,
        bus: EventBus,
        clock: Clock,
        ids: IdSource,
        events: ExecutionEvents,
        config: Callable[[], GatewayConfig],
        running: Callable[[str], int],
    ) -> None:
        self.state = SharedState(store=store, clock=clock, ids=ids, events=events)
        self.watches = StateWatches(self.state, bus, lambda: config().gateway.limits.queue_bytes)
        self.goals = Goals(store=store, clock=clock, events=events, running=running)
        self.goal_feed = GoalFeed(self.goals, store=store, bus=bus, clock=clock)
        self.views = Views(self.state, self.goals, config)

    async def start(self) -> None:
        await self.state.start()
        await self.goal_feed.start()

    def drain(self) -> None:
        """Nobody watches any more."""
        self.watches.drain()

    async def stop(self) -> None:
        await self.goal_feed.stop()
        await self.state.stop()

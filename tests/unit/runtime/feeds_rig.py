"""Entry points that wait for events over a real store and bus, and what they brought."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from gatewayd.core.clock import SystemClock
from gatewayd.core.errors import GatewayError
from gatewayd.core.event import Event, EventType
from gatewayd.core.work import Trigger
from gatewayd.runtime.entry_points import EntryPointFeeds
from gatewayd.storage.records import Published
from tests.rigs.house import eventually
from tests.rigs.middle import Middle

WATCH = {"agent": "a", "trigger": "event", "trigger_config": {"event_types": ["custom", "execution_completed"]}}
HOOK = {"agent": "a", "trigger": "webhook", "trigger_config": {"source_id": "github"}}


def config(**entry_points: Any) -> dict[str, Any]:
    return {"entry_points": entry_points}


class Feeds:
    """A middle of the house, its feeds, and what they brought."""

    def __init__(self, place: Path, settings: dict[str, Any]) -> None:
        self.middle = Middle(place, settings, SystemClock())
        self.brought: list[Trigger] = []
        self.refusals: list[GatewayError] = []
        self.full: GatewayError | None = None
        self.tried = asyncio.Event()
        self.told: list[tuple[EventType, str]] = []
        self.feeds = EntryPointFeeds(
            store=self.middle.store,
            bus=self.middle.bus,
            clock=self.middle.clock,
            dispatch=self.dispatch,
            tell=self.tell,
        )
        self.made = 0
        for agent in self.middle.agents.values():
            agent.may_end.set()

    def tell(self, kind: EventType, _data: Mapping[str, object], stream_id: str, _correlation_id: str) -> None:
        self.told.append((kind, stream_id))

    async def dispatch(self, trigger: Trigger) -> None:
        self.tried.set()
        if self.refusals:
            raise self.refusals.pop(0)
        if self.full is not None:
            raise self.full
        accepted = (await self.middle.router.accept_trigger(trigger)).accepted
        if not accepted.duplicate:
            self.brought.append(trigger)

    async def reload(self, settings: dict[str, Any]) -> None:
        self.middle.use(settings)
        change = self.feeds.plan(self.middle.config)
        await change.prepare()
        change.commit()
        await change.retire()

    async def emit(self, kind: EventType = EventType.CUSTOM, stream: str = "s", **more: Any) -> Event:
        self.made += 1
        event = Event(
            id=f"e{self.middle.ids.new()}",
            type=kind,
            source="test",
            stream_id=stream,
            time=1.0,
            custom_type="note" if kind is EventType.CUSTOM else "",
            **({"data": {"n": self.made} if kind is EventType.CUSTOM else {}} | more),
        )
        (stamped,) = await self.middle.store.append([Published(event)], scope="")
        return stamped

    async def brings(self, count: int) -> list[dict[str, Any]]:
        """The events that were brought, once there are so many."""

        async def there() -> bool:
            return len(self.brought) >= count

        await eventually(there, timeout=60)
        await asyncio.sleep(0.05)  # one too many would be there by now
        assert len(self.brought) == count
        return [json.loads(one.text)["event"] for one in self.brought]


@asynccontextmanager
async def feeds(place: Path, settings: dict[str, Any]) -> AsyncIterator[Feeds]:
    made = Feeds(place, settings)
    async with made.middle:
        await made.reload(settings)
        await made.feeds.start()
        try:
            yield made
        finally:
            await made.feeds.stop()

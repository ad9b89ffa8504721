"""The entry points that start by themselves: those that wait for events, and those that wait for the time.

I own their feeds and follow the configuration while the daemon runs. What a feed brings goes through `dispatch`, the
router's one door; I never start an agent myself.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from gatewayd.bus.base import EventBus
from gatewayd.config.model import EntryPointSection, GatewayConfig
from gatewayd.core.clock import Clock
from gatewayd.core.errors import GatewayError
from gatewayd.core.event import EventType
from gatewayd.core.lifecycle import Change
from gatewayd.core.work import Trigger
from gatewayd.runtime.event_feed import EventFeed
from gatewayd.runtime.lanes import Share
from gatewayd.runtime.timer import Timer
from gatewayd.service import TaskSet
from gatewayd.storage.base import Store

log = logging.getLogger("gatewayd.entry_points")

Feed = EventFeed | Timer
Dispatch = Callable[[Trigger], Awaitable[object]]
Tell = Callable[[EventType, Mapping[str, object], str, str], None]


def shares(config: GatewayConfig) -> dict[str, Share]:
    """What each entry point may take of the runtime."""
    return {name: Share(one.priority, one.max_concurrent) for name, one in config.entry_points.items()}


class EntryPointFeeds:
    """All of one gateway. `tell` records an event of the daemon's own on a stream, with a correlation id."""

    def __init__(self, *, store: Store, bus: EventBus, clock: Clock, dispatch: Dispatch, tell: Tell) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._dispatch = dispatch
        self._tell = tell
        self._sections: Mapping[str, EntryPointSection] = {}
        self._feeds: dict[str, Feed] = {}
        self._tasks = TaskSet("entry points")
        self._open = False

    async def start(self) -> None:
        """Begin with what the configuration has; needs the router open."""
        self._open = True
        for mark in await self._store.marks(EventFeed.MARKS):
            name = mark.removeprefix(EventFeed.MARKS)
            if name not in self._sections or not EventFeed.fits(self._sections[name]):
                await self._store.forget_mark(mark)
        for name in self._sections:
            self._begin(name)

    def plan(self, new: GatewayConfig) -> Change:
        """What a reload changes here: entry points that stay as they are do not notice it."""
        return _Replacing(self, new.entry_points)

    def next_time(self, name: str) -> float:
        """When its timer starts it next, in Unix seconds; 0 for what has none."""
        feed = self._feeds.get(name)
        return feed.next_time if isinstance(feed, Timer) else 0.0

    async def stop(self) -> None:
        """Start nothing more."""
        if self._open:
            self._open = False
            for name in self._sections:
                self._tell(
                    EventType.STREAM_STOPPED, {"entry_point": name, "reason": "the gateway is stopping"}, name, ""
                )
        await self._tasks.close()
        for feed in self._feeds.values():
            if isinstance(feed, EventFeed):
                await self._mark(feed)
        self._feeds.clear()

    async def _mark(self, feed: EventFeed) -> None:
        """A place that cannot be kept costs a few events that are looked at again."""
        try:
            await feed.mark()
        except GatewayError as error:
            log.warning("mark_failed", extra={"entry_point": feed.name, "reason": error.reason})

    def use(self, sections: Mapping[str, EntryPointSection]) -> list[Feed]:
        """Make these the current ones; the feeds that left, which are to be ended."""
        old, self._sections = self._sections, dict(sections)
        changed = [name for name in {*old, *sections} if _waits(old.get(name)) != _waits(sections.get(name))]
        left = {name: self._feeds.pop(name) for name in changed if name in self._feeds}
        for feed in left.values():
            feed.close()
        if self._open:
            for name in sorted(changed):
                if name not in sections:
                    self._tell(EventType.STREAM_STOPPED, {"entry_point": name, "reason": "it was removed"}, name, "")
                else:
                    self._begin(name, is_new=name not in old, before=left.get(name))
        return list(left.values())

    async def without_place(self, sections: Mapping[str, EntryPointSection]) -> list[str]:
        """The new ones that wait for events."""
        known = await self._store.marks(EventFeed.MARKS)
        return [name for name, one in sections.items() if EventFeed.fits(one) and EventFeed.MARKS + name not in known]

    async def place(self, names: Sequence[str]) -> None:
        """Mark where these begin: what happens from now on starts them, after a crash too."""
        await asyncio.gather(*(self._store.set_mark(EventFeed.MARKS + name, str(self._bus.end)) for name in names))

    def still_waits(self, name: str) -> bool:
        """Whether an entry point of that name waits for events now."""
        return name in self._sections and EventFeed.fits(self._sections[name])

    async def reread(self) -> None:
        """Let go of the events that wait in memory for room, and read them from the log again."""
        left = [(name, feed) for name, feed in self._feeds.items() if self._open and isinstance(feed, EventFeed)]
        for name, feed in left:
            feed.close()
            self._begin(name, is_new=False, before=feed)
        for _, feed in left:
            await feed.ended()

    async def forget(self, name: str) -> None:
        """An entry point that comes again begins with what happens then."""
        if not self.still_waits(name):
            await self._store.forget_mark(EventFeed.MARKS + name)

    def _begin(self, name: str, *, is_new: bool = True, before: Feed | None = None) -> None:
        """`before` is the feed whose place the new one takes: it goes on from there."""
        section = self._sections[name]
        if is_new:
            self._tell(EventType.STREAM_STARTED, {"entry_point": name}, name, "")
        feed: Feed
        if EventFeed.fits(section):
            feed = EventFeed(
                name,
                section,
                store=self._store,
                bus=self._bus,
                clock=self._clock,
                dispatch=self._dispatch,
                tell=self._tell,
                place=before.place if isinstance(before, EventFeed) else None,
            )
        elif section.trigger == "timer":
            feed = Timer(name, section.trigger_config, self._clock, self._dispatch)
        else:
            return
        self._feeds[name] = feed
        feed.task = self._tasks.start(feed.run(), name=name)


def _waits(section: EntryPointSection | None) -> object:
    """What it waits for; while this is the same, its feed goes on as it is."""
    return (section.trigger, section.trigger_config) if section is not None else None


class _Replacing:
    """The change of one reload."""

    def __init__(self, owner: EntryPointFeeds, sections: Mapping[str, EntryPointSection]) -> None:
        self._owner = owner
        self._sections = sections
        self._new: Sequence[str] = ()
        self._left: list[Feed] = []

    async def prepare(self) -> None:
        self._new = await self._owner.without_place(self._sections)
        await self._owner.place(self._new)

    def commit(self) -> None:
        self._left = self._owner.use(self._sections)

    async def retire(self) -> None:
        for feed in self._left:
            await feed.ended()
            await self._owner.forget(feed.name)

    async def abandon(self) -> None:
        for name in self._new:
            await self._owner.forget(name)

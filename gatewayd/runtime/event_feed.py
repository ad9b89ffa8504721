"""An entry point that waits for events: reads them from its place in the log, and starts one execution for each.

A durable event starts one execution once. Its place in the log is the idempotency key, and how far I have come is
marked in the store now and then; after a restart I go on from the mark, and what was started already is known by its
key. An ephemeral event starts one if I am there when it comes.
"""

import asyncio
import base64
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar

from gatewayd.bus.base import EventBus
from gatewayd.config.model import EntryPointSection
from gatewayd.core.chains import MAX_HOPS, link_of, next_link
from gatewayd.core.clock import Clock
from gatewayd.core.errors import (
    Draining,
    EntryPointNotFound,
    GatewayError,
    IdConflict,
    LimitExceeded,
    StoreBusy,
    StoreFull,
)
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.topic import TopicPattern
from gatewayd.core.work import Origin, Trigger
from gatewayd.runtime.emit import SOURCE
from gatewayd.runtime.log_reader import LogReader
from gatewayd.storage.base import Store
from gatewayd.wire import data_of, decode_event, event_bytes, with_wire

log = logging.getLogger("gatewayd.entry_points")

_SHARED = frozenset({EventType.STATE_CHANGED, EventType.STATE_CONFLICT})
_SOON, _RETRY = 0.05, 2.0
"""Seconds until the next try while there is no room: twice as long each time, up to the second."""
_NO_ROOM = (LimitExceeded, StoreBusy, StoreFull)


def selection_of(section: EntryPointSection) -> EventFilter:
    """The events that start it."""
    wanted = section.trigger_config
    match section.trigger:
        case "webhook":
            return EventFilter(frozenset({EventType.WEBHOOK_RECEIVED}), stream_id=wanted.source_id or "")
        case "message":
            topic = TopicPattern.parse(wanted.topic) if wanted.topic else None
            return EventFilter(frozenset({EventType.MESSAGE}), stream_id=wanted.channel or "", topic=topic)
    return EventFilter(
        frozenset(EventType.from_label(label) for label in wanted.event_types or ()),
        stream_id=wanted.filter_stream or "",
        node_id=wanted.filter_node or "",
        topic=TopicPattern.parse(wanted.filter_topic) if wanted.filter_topic else None,
    )


def input_of(event: Event) -> str:
    """What the agent is given: `{"event": …}`.

    By the event's encoding, as it is read after a restart: the same event is the same input, under the same key, and
    half a character that somebody sent in JSON is none any more.
    """
    event = decode_event(event_bytes(with_wire(event)))
    told: dict[str, Any] = {
        "id": event.id,
        "type": event.custom_type or event.type.label,
        "source": event.source,
        "stream_id": event.stream_id,
        "time": datetime.fromtimestamp(event.time, UTC).isoformat(),
        "data": data_of(event),
    }
    for name in ("target", "node_id", "execution_id", "session_id", "correlation_id", "topic"):
        if said := getattr(event, name):
            told[name] = said
    return json.dumps({"event": told}, ensure_ascii=False, sort_keys=True, default=_as_text)


class EventFeed(LogReader):
    """One entry point's. `run` goes on until it is cancelled."""

    MARKS: ClassVar = "entry_point "
    """What the names of the marks in the store begin with; the entry point's id follows."""

    @staticmethod
    def fits(section: EntryPointSection) -> bool:
        """Whether an entry point waits for events."""
        return section.trigger in ("event", "webhook", "message")

    def __init__(
        self,
        name: str,
        section: EntryPointSection,
        *,
        store: Store,
        bus: EventBus,
        clock: Clock,
        dispatch: Callable[[Trigger], Awaitable[object]],
        tell: Callable[[EventType, Mapping[str, object], str, str], None],
        place: Cursor | None = None,
    ) -> None:
        """`tell` records an event of the daemon's own: type, data, stream, correlation id.

        `place` is where to begin, instead of at the mark.
        """
        super().__init__(self.MARKS + name, selection_of(section), store=store, bus=bus, clock=clock, place=place)
        self.name = name
        self._include_own = bool(section.trigger_config.include_own)
        self._dispatch = dispatch
        self._tell = tell
        self._held = False
        """Whether there was no room at the last try; told once."""

    async def run(self) -> None:
        try:
            await super().run()
        except (Draining, EntryPointNotFound) as error:
            log.info("feed_ended", extra={"entry_point": self.name, "reason": error.reason})

    def missed(self, since: str) -> None:
        log.error("entry_point_missed_events", extra={"entry_point": self.name, "since": since})
        said = f"events since {since} did not start {self.name}: the log does not reach back to them any more"
        self._tell(EventType.ERROR, {"reason": "HISTORY_LOST", "message": said}, self.name, "")

    async def take_in(self, events: Sequence[Event]) -> None:
        """Start an execution for each, in order; together, so that they share a commit.

        What finds no room is tried until there is some, however long that is. Raises `Draining` when the daemon stops.
        """
        waiting = [(event, trigger) for event in events if (trigger := await self._trigger(event)) is not None]
        pause = _SOON
        while waiting:
            outcomes = await self._start_in_order([trigger for _, trigger in waiting])
            held = []
            for (event, trigger), outcome in zip(waiting, outcomes, strict=True):
                if isinstance(outcome, _NO_ROOM):
                    held.append((event, trigger))
                elif isinstance(outcome, BaseException):
                    self._refused(event, trigger, outcome)
            if held:
                if len(held) < len(waiting):
                    pause = _SOON
                await self._clock.sleep(pause)
                pause = min(pause * 2, _RETRY)
            waiting = held

    async def _start_in_order(self, triggers: Sequence[Trigger]) -> list[object]:
        """What became of each. Once there is no room for one, none behind it is tried: it would get ahead."""
        full: GatewayError | None = None

        async def start(trigger: Trigger) -> None:
            nonlocal full
            if full is not None:
                raise full
            try:
                await self._dispatch(trigger)
            except _NO_ROOM as error:
                full = error
                raise

        outcomes: list[object] = await asyncio.gather(*(start(one) for one in triggers), return_exceptions=True)
        if full is not None and not self._held:
            log.warning("entry_point_waits", extra={"entry_point": self.name, "reason": full.reason})
        self._held = full is not None
        return outcomes

    async def _trigger(self, event: Event) -> Trigger | None:
        """What it starts: nothing for its own, unless it shall, and at the end of a chain."""
        if event.type is EventType.MESSAGE and event.source == SOURCE and not event.durable:
            return None  # that a message between agents has arrived: it was told when it was sent
        link: str | None = next_link(event.correlation_id)
        if await self._is_own(event):
            if not self._include_own:
                return None
            link = event.correlation_id  # it is meant to go on for ever
        if link is None:
            self._end_chain(event)
            return None
        return Trigger(
            entry_point=self.name,
            text=input_of(event),
            origin=Origin.EVENT,
            principal=f"entry_point:{self.name}",
            correlation_id=link,
            idempotency_key=str(event.cursor or f"event {event.id}"),
        )

    def _end_chain(self, event: Event) -> None:
        """Tell of it, unless that may be what the chain lives on."""
        chain = link_of(event.correlation_id)[0]
        kind = event.custom_type or event.type.label
        about = {"entry_point": self.name, "chain": chain, "event": kind, "from": event.stream_id}
        log.error("chain_too_long", extra=about)
        if event.type is not EventType.ERROR:
            said = (
                f"{MAX_HOPS} executions of the chain {chain} have followed from each other by events: {kind} of "
                f"{event.stream_id} starts {self.name} no more"
            )
            self._tell(EventType.ERROR, {"reason": "CHAIN_TOO_LONG", "message": said}, self.name, event.correlation_id)

    def _refused(self, event: Event, trigger: Trigger, error: BaseException) -> None:
        """Tell of an event that starts nothing; what is no fault of its own is raised."""
        if isinstance(error, IdConflict) and event.cursor is not None:
            return  # it was taken in before, with words that were erased since
        if isinstance(error, Draining | EntryPointNotFound) or not isinstance(error, GatewayError):
            raise error
        about = {"entry_point": self.name, "event": trigger.idempotency_key, "why": error.message}
        log.error("event_not_taken", extra=about)
        if event.type is not EventType.ERROR:  # that would be the next one to be refused
            said = f"an event did not start {self.name}: {error.message} (the event at {trigger.idempotency_key})"
            self._tell(EventType.ERROR, {"reason": error.reason, "message": said}, self.name, trigger.correlation_id)

    async def _is_own(self, event: Event) -> bool:
        """Whether an execution of this entry point told it. An agent may be called like the entry point.

        All that an execution tells is on its stream, but for what it writes for others to see. Of one that is no longer
        kept that stream tells; what is shared starts it then, which the length of its chain bounds.
        """
        on_stream = event.stream_id == self.name
        if not event.execution_id or not (on_stream or event.type in _SHARED):
            return False
        execution = await self._store.get_execution(event.execution_id)
        return on_stream if execution is None else execution.entry_point == self.name


def _as_text(value: object) -> str:
    """Bytes of an event that is no JSON."""
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    raise TypeError(f"{type(value).__name__} is no JSON")

"""`EventService` without its stream: publish, list, wait, count.

Publish and ListEvents see bytes: events are read by `parse_event` and passed on as they were encoded.
"""

from collections.abc import Callable

from gateway.v1 import event_pb2, event_service_pb2

from gatewayd.access.principals import Principal
from gatewayd.bus.base import EventBus
from gatewayd.bus.catchup import reaches_back
from gatewayd.bus.waiting import Waited, history_lost, wait_for
from gatewayd.conversation.publishing import Publishing
from gatewayd.core.clock import Clock
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.topic import TopicPattern
from gatewayd.rpc.guard import Context, Guard
from gatewayd.rpc.paging import MAX_READS, Page, page_of
from gatewayd.rpc.patience import Rates, time_left
from gatewayd.storage.base import Store
from gatewayd.storage.records import LogState
from gatewayd.wire import event_bytes, filter_from_proto, list_events_bytes, publish_events
from gatewayd.wire.filters import cursor_from
from gatewayd.wire.values import refuse, span_from

MAX_WAIT = 600.0
"""Longest wait for an event, in seconds."""
MAX_PAGE_BYTES = 1024 * 1024
"""A page of events ends here, unless its first event alone is larger."""
_READ = 100
"""Events read at once: 25 MiB of the largest."""

_NAME = "/gateway.v1.EventService/"


class EventService:
    """Serves all but `Connect`."""

    def __init__(
        self, *, guard: Guard, bus: EventBus, store: Store, publishing: Publishing, rates: Rates, clock: Clock
    ) -> None:
        self._guard = guard
        self._bus = bus
        self._store = store
        self._publishing = publishing
        self._rates = rates
        self._clock = clock

    async def Publish(self, request: bytes, context: Context) -> event_service_pb2.PublishResponse:  # noqa: N802
        async def run(principal: Principal) -> event_service_pb2.PublishResponse:
            events = publish_events(request)
            self._rates.publish(principal.id, len(events))
            batch = self._publishing.publish(events, principal, "")
            if batch.stored is not None:
                await batch.stored
            return event_service_pb2.PublishResponse(
                cursor=_text(batch.cursor()), event_ids=batch.event_ids, count=batch.count
            )

        return await self._guard.unary(f"{_NAME}Publish", context, run)

    async def ListEvents(self, request: event_service_pb2.ListEventsRequest, context: Context) -> bytes:  # noqa: N802
        async def run(principal: Principal) -> bytes:
            selection, visible = _wanted(request, principal)
            since = cursor_from(request.since, "since")
            page = page_of(request.page_size, request.page_token, "ListEvents", self._store.log.epoch, selection, since)
            if since is not None:
                return list_events_bytes(*await self._forward(page, since, selection, visible))
            return list_events_bytes(*await self._page(page, selection, visible))

        return await self._guard.unary(f"{_NAME}ListEvents", context, run)

    async def WaitForEvent(  # noqa: N802
        self, request: event_service_pb2.WaitForEventRequest, context: Context
    ) -> event_service_pb2.WaitForEventResponse:
        async def run(principal: Principal) -> event_service_pb2.WaitForEventResponse:
            selection, visible = _wanted(request, principal, required=True)
            with self._guard.waits.of(principal, for_work=False):
                waited = await wait_for(
                    self._bus,
                    self._store,
                    self._clock,
                    selection=selection,
                    visible=visible,
                    timeout=_patience(request, context),
                    since=cursor_from(request.since, "since"),
                )
            return _waited_message(waited)

        return await self._guard.unary(f"{_NAME}WaitForEvent", context, run)

    async def GetEventStats(  # noqa: N802
        self, _request: event_service_pb2.GetEventStatsRequest, context: Context
    ) -> event_service_pb2.GetEventStatsResponse:
        async def run(_principal: Principal) -> event_service_pb2.GetEventStatsResponse:
            return _stats_message(self._bus, self._store.log)

        return await self._guard.unary(f"{_NAME}GetEventStats", context, run)

    async def _forward(
        self, page: Page, since: Cursor, selection: EventFilter, visible: Callable[[Event], bool]
    ) -> tuple[list[bytes], str]:
        """Events behind a place, oldest first, until the page is full, the log ends or enough was looked through."""
        found: list[bytes] = []
        end = self._bus.end
        size, after = 0, page.number or since.seq
        if since.epoch != end.epoch or since.seq > max(end.seq, self._store.log.last_seq):
            raise history_lost(self._bus, since)
        for _ in range(MAX_READS + page.size // _READ):
            if after < self._bus.oldest.seq:
                raise history_lost(self._bus, Cursor(end.epoch, after))
            if after >= end.seq:
                return found, ""
            read = await self._store.read_forward(after, selection, _READ)
            if not await reaches_back(self._store, after):
                raise history_lost(self._bus, Cursor(end.epoch, after))
            for event in filter(visible, read.events):
                data = event_bytes(event)
                if found and (len(found) == page.size or size + len(data) > MAX_PAGE_BYTES):
                    return found, page.next(str(after))
                found.append(data)
                size, after = size + len(data), event.seq
            after = read.scanned_to
        return found, page.next(str(after))

    async def _page(
        self, page: Page, selection: EventFilter, visible: Callable[[Event], bool]
    ) -> tuple[list[bytes], str]:
        """Events before a place, newest first, until the page is full, the log ends or enough was looked through."""
        found: list[bytes] = []
        size, before, first = 0, page.number, self._store.log.first_seq
        for _ in range(MAX_READS + page.size // _READ):
            read = await self._store.read_backward(before, selection, _READ)
            for event in filter(visible, read.events):
                data = event_bytes(event)
                if found and (len(found) == page.size or size + len(data) > MAX_PAGE_BYTES):
                    return found, page.next(str(before))
                found.append(data)
                size, before = size + len(data), event.seq
            before = read.scanned_to
            if before <= max(1, first):
                return found, ""
        return found, page.next(str(before))


def _wanted(
    request: event_service_pb2.ListEventsRequest | event_service_pb2.WaitForEventRequest,
    principal: Principal,
    *,
    required: bool = False,
) -> tuple[EventFilter, Callable[[Event], bool]]:
    """What a request selects, and which of that the principal may see. Without a filter, all that its scopes cover."""

    def concerns(event: Event) -> bool:
        if event.target:
            return event.target == principal.id and event.owner in ("", principal.id)
        return principal.may_see(event.owner)

    def covered(event: Event) -> bool:
        topic = TopicPattern(tuple(event.topic.split("."))) if event.topic else None
        return concerns(event) and principal.scopes.may_subscribe(EventFilter(frozenset({event.type}), topic=topic))

    if not request.HasField("filter"):
        if required:
            raise refuse("filter", "is required")
        return EventFilter(), covered
    selection = filter_from_proto(request.filter)
    principal.require_subscribe(selection)
    return selection, concerns


def _patience(request: event_service_pb2.WaitForEventRequest, context: Context) -> float:
    """Seconds to wait: what is asked for, the call's deadline and `MAX_WAIT`, whichever ends first."""
    left = time_left(context)
    wanted = span_from(request.timeout, "timeout") if request.HasField("timeout") else MAX_WAIT
    return min(wanted, MAX_WAIT, MAX_WAIT if left is None else left)


def _waited_message(waited: Waited) -> event_service_pb2.WaitForEventResponse:
    event = event_pb2.Event.FromString(event_bytes(waited.event)) if waited.event is not None else None
    return event_service_pb2.WaitForEventResponse(event=event, timed_out=event is None, cursor=str(waited.cursor))


def _stats_message(bus: EventBus, log: LogState) -> event_service_pb2.GetEventStatsResponse:
    stats = bus.stats()
    by_type = sorted((int(EventType.from_label(label)), count) for label, count in stats.by_type.items() if count)
    return event_service_pb2.GetEventStatsResponse(
        published=stats.published,
        kept=max(0, log.last_seq - log.first_seq + 1) if log.first_seq else 0,
        subscriptions=stats.subscriptions,
        delivered=stats.delivered,
        dropped=stats.dropped,
        slow_consumers=stats.slow_consumers,
        by_type=[event_service_pb2.EventTypeCount(type=kind, count=count) for kind, count in by_type],  # type: ignore[arg-type]
        oldest_cursor=str(bus.oldest),
        cursor=str(bus.end),
    )


def _text(cursor: object) -> str:
    return str(cursor) if cursor else ""

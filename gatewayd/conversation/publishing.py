"""Publishing: a client's batch is checked as a whole, then goes into the log or straight to the bus.

Used by the `Connect` stream and by the unary call alike, so that the same things are refused on both.
"""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial

from gatewayd.access.principals import Principal
from gatewayd.bus.base import EventBus
from gatewayd.core.catalogue import CATALOGUE, Emitter
from gatewayd.core.clock import Clock
from gatewayd.core.errors import InvalidArgument, PermissionDenied
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.ids import IdSource
from gatewayd.core.value import value
from gatewayd.storage.base import Store
from gatewayd.storage.records import Published
from gatewayd.wire import content_digest, parse_event

MAX_BATCH = 1000
"""Events of one batch."""


@value(frozen=True, slots=True)
class PublishedBatch:
    """What became of a batch."""

    event_ids: tuple[str, ...]
    cursor: Cursor | None
    """The place of its last durable event."""


class Publishing:
    """One per gateway."""

    def __init__(
        self,
        *,
        store: Store,
        bus: EventBus,
        clock: Clock,
        ids: IdSource,
        denied: Callable[[Principal, str, str], None],
    ) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._denied = denied
        """Told of each refusal for lack of right: principal, action, subject; for the audit."""

    def publish(self, raw: Sequence[bytes], principal: Principal, client_id: str) -> Awaitable[PublishedBatch]:
        """Submit a batch, all or nothing, and return what resolves once the durable ones are on disk.

        Everything that can be refused is refused before this returns, with nothing written.
        """
        if not 1 <= len(raw) <= MAX_BATCH:
            raise InvalidArgument(f"a batch has 1 to {MAX_BATCH} events; this one has {len(raw)}")
        now = self._clock.now()
        events = [
            parse_event(
                one,
                source=principal.id,
                time=now,
                stream_id=client_id or principal.id,
                new_id=self._ids.new,
                path=f"events[{number}]",
                may_send=partial(self._check_emitter, principal, f"events[{number}]"),
            )
            for number, one in enumerate(raw)
        ]
        for event in events:
            self._check(event, principal)
        return self._submit(events, principal)

    def _check_emitter(self, principal: Principal, path: str, kind: EventType) -> None:
        """Before anything else is found fault with: what such an event lacks would only mislead."""
        if CATALOGUE[kind].emitter is not Emitter.CLIENT:
            self._denied(principal, "events.publish", kind.label)
            raise PermissionDenied(f"{path}: {kind.label} events are the gateway's own to emit")

    def _check(self, event: Event, principal: Principal) -> None:
        try:
            principal.require_publish(event.type, event.topic)
        except PermissionDenied:
            self._denied(principal, "events.publish", event.type.label)
            raise

    def _submit(self, events: Sequence[Event], principal: Principal) -> Awaitable[PublishedBatch]:
        durable = [Published(event, bytes.fromhex(content_digest(event))) for event in events if event.durable]
        ids = tuple(event.id for event in events)
        first = next((place for place, event in enumerate(events) if event.durable), len(events))
        for event in events[:first]:
            self._bus.publish(event)
        appended = self._store.append(durable, scope=f"publish:{principal.id}") if durable else None
        for event in events[first:]:
            if not event.durable:
                self._bus.publish(event)
        return _settle(ids, appended)


async def _settle(ids: tuple[str, ...], appended: Awaitable[list[Event]] | None) -> PublishedBatch:
    stamped = await appended if appended is not None else []
    return PublishedBatch(ids, max((event.cursor for event in stamped if event.cursor is not None), default=None))

"""Publishing: a client's batch is checked as a whole, then goes into the log or straight to the bus.

Used by the `Connect` stream and by the unary call alike, so that the same things are refused on both.
"""

from asyncio import Future
from collections.abc import Callable, Sequence
from functools import partial
from operator import attrgetter
from typing import Protocol

from gatewayd.access.principals import Principal
from gatewayd.bus.base import EventBus
from gatewayd.core.catalogue import CATALOGUE, Emitter
from gatewayd.core.clock import Clock
from gatewayd.core.errors import GatewayError, InvalidArgument, NotFound, PermissionDenied, Violation
from gatewayd.core.event import Cursor, Event, EventType
from gatewayd.core.ids import IdSource
from gatewayd.core.work import Execution
from gatewayd.runtime.emit import with_call
from gatewayd.storage.base import Store
from gatewayd.storage.records import Published
from gatewayd.wire import Stamp, content_digest, parse_event, settle

MAX_BATCH = 1000
"""Events of one batch."""


class Addressing(Protocol):
    """Who can be addressed; the directory of clients."""

    def resolve(self, principal: Principal, client_id: str, event: Event) -> tuple[str, int]:
        """Whose the target of an event is that a client publishes, and how many clients that is.

        `NotFound` if it is nobody, `InvalidArgument` if it may be several.
        """
        ...

    def audience(self, event: Event) -> int:
        """How many clients a broadcast reaches now."""
        ...


class Assignments(Protocol):
    """Who answers which executions; the workers."""

    def works_on(self, key: tuple[str, str], execution_id: str) -> bool:
        """Whether that execution ('': any) is with that principal and client id."""
        ...


class Batch:
    """A batch that was taken."""

    __slots__ = ("count", "event_ids", "stored")

    def __init__(self, event_ids: Sequence[str], stored: "Future[list[Event]] | None", count: int) -> None:
        self.event_ids = event_ids
        self.count = count
        """Clients that its events are addressed to, added up over the events."""
        self.stored = stored
        """The durable ones, once they are on disk; None when there are none. It fails with a `GatewayError`."""

    def cursor(self) -> Cursor | None:
        """The place of the last durable event; to be asked once `stored` is done, and raises what it failed with."""
        stamped = self.stored.result() if self.stored is not None else ()
        return max(stamped, key=attrgetter("seq")).cursor if stamped else None


class Publishing:
    """One per gateway."""

    def __init__(
        self,
        *,
        store: Store,
        bus: EventBus,
        clock: Clock,
        ids: IdSource,
        addressing: Addressing,
        assignments: Assignments,
        execution: Callable[[str], Execution | None],
        owner_of: Callable[[str], str | None],
    ) -> None:
        self._store = store
        self._bus = bus
        self._clock = clock
        self._ids = ids
        self._addressing = addressing
        self._assignments = assignments
        self._execution = execution
        """An execution that is queued or runs."""
        self._owner_of = owner_of
        """The principal of a session that is going on; None for one that is not known."""

    def publish(self, raw: Sequence[bytes], principal: Principal, client_id: str) -> Batch:
        """Submit a batch, all or nothing.

        Everything that can be refused is refused before this returns, with nothing written.
        """
        if not 1 <= len(raw) <= MAX_BATCH:
            raise InvalidArgument(f"a batch has 1 to {MAX_BATCH} events; this one has {len(raw)}")
        stamp = Stamp.make(principal.id, self._clock.now())
        stream_id = client_id or principal.id
        reports: list[EventType] = []
        may_send = partial(self._check_emitter, principal, client_id, "", reports)
        try:
            new_id = self._ids.new
            events = [parse_event(one, stamp, stream_id=stream_id, new_id=new_id, may_send=may_send) for one in raw]
        except GatewayError:
            self._find_fault(raw, stamp, principal, client_id)
            raise
        for kind, topic in {(event.type, event.topic) for event in events}:
            principal.require_publish(kind, topic)
        count = 0
        before: dict[tuple[str, str], tuple[str, int]] = {}
        for place, event in enumerate(events):
            if event.target or event.session_id or event.type is EventType.BROADCAST:
                key = (event.target, event.session_id)
                known = before.get(key) if event.target else None
                if known is None:
                    known = self._address(event, place, principal, client_id)
                    if known[0] == principal.id:  # who else may be meant is another question for each event
                        before[key] = known
                owner, clients = known
                event.owner = owner  # type: ignore[misc]  # it is not shared yet
                count += clients
        if reports:
            self._settle(events, stamp, principal, client_id)
        return self._submit(events, stamp, principal, count, teller=client_id if reports else None)

    def _settle(self, events: Sequence[Event], stamp: Stamp, principal: Principal, client_id: str) -> None:
        """What a worker tells of its execution is an event of that execution, for whoever may see that."""
        for place, event in enumerate(events):
            if CATALOGUE[event.type].emitter is not Emitter.WORKER:
                continue
            mine = self._assignments.works_on((principal.id, client_id), event.execution_id)
            execution = self._execution(event.execution_id) if mine else None
            if execution is None or event.target:
                why = "has a target" if execution is not None else "belongs to no call that is with this client"
                raise PermissionDenied(f"events[{place}]: {event.type.label} {why}", metadata=_type(event.type))
            settle(event, execution, stamp)

    def _address(self, event: Event, place: int, principal: Principal, client_id: str) -> tuple[str, int]:
        """Whose an event is that is not for everybody, and how many clients it is addressed to."""
        owner, count = "", 0
        if event.session_id:
            owner = (self._owner_of(event.session_id) if principal.scopes.all_sessions else None) or principal.id
        if event.target:
            try:
                owner, count = self._addressing.resolve(principal, client_id, event)
            except (NotFound, InvalidArgument) as error:
                path = f"events[{place}].target"
                raise type(error)(f"{path}: {error.message}", violations=(Violation(path, error.message),)) from None
        elif event.type is EventType.BROADCAST:
            event.owner = owner  # type: ignore[misc]  # it is not shared yet
            count = self._addressing.audience(event)
        return owner, count

    def _find_fault(self, raw: Sequence[bytes], stamp: Stamp, principal: Principal, client_id: str) -> None:
        """Raise for the first wrong event, named by its place; to name each beforehand would cost the right ones."""
        for number, one in enumerate(raw):
            path = f"events[{number}]"
            may_send = partial(self._check_emitter, principal, client_id, path, [])
            parse_event(one, stamp, stream_id="", new_id=str, path=path, may_send=may_send)

    def _check_emitter(
        self, principal: Principal, client_id: str, path: str, reports: list[EventType], kind: EventType
    ) -> None:
        """Before anything else is found fault with: what such an event lacks would only mislead.

        A worker tells of executions that it answers: noted in `reports`, and looked at when the batch is known.
        """
        if CATALOGUE[kind].emitter is Emitter.WORKER and self._assignments.works_on((principal.id, client_id), ""):
            reports.append(kind)
            return
        whose = "the gateway's own to emit"
        if CATALOGUE[kind].emitter is Emitter.WORKER:
            whose = "those of workers, about executions that they have a call of"
        raise PermissionDenied(f"{path}: {kind.label} events are {whose}", metadata=_type(kind))

    def _submit(
        self, events: Sequence[Event], stamp: Stamp, principal: Principal, count: int, *, teller: str | None
    ) -> Batch:
        """`teller`: the worker that tells of its executions with them; None if none does."""
        ids = tuple([event.id for event in events])
        durable = [Published(event, content_digest(event, stamp)) for event in events if event.durable]
        if teller is not None:
            durable = [with_call(one, teller) for one in durable]
        if not durable:
            publish = self._bus.publish
            for event in events:
                publish(event)
            return Batch(ids, None, count)
        stored = self._store.append(durable, scope=f"publish:{principal.id}")
        if stored.done() and stored.exception() is not None:
            return Batch(ids, stored, count)  # refused as a whole
        if len(durable) == len(events):
            return Batch(ids, stored, count)
        self._bus.publish_with(events, stored)
        return Batch(ids, stored, count)


def _type(kind: EventType) -> dict[str, str]:
    """What an error says of an event that no scope allows."""
    return {"type": kind.label}

"""Shared state for everybody who writes it: clients, agents, and time.

I own nothing in memory: a write is compared and set where the store's units follow each other, and a read sees what is
committed. What an outsider may read or write is asked by whoever lets it in.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from gatewayd.core.clock import Clock
from gatewayd.core.errors import GatewayError, NotFound, StateConflict, Violation
from gatewayd.core.event import Event, EventType
from gatewayd.core.ids import IdSource
from gatewayd.core.state import (
    Place,
    StateEntry,
    StateLimits,
    StateScope,
    check_distinct,
    check_key,
    check_ttl,
)
from gatewayd.core.value import value
from gatewayd.core.work import Execution
from gatewayd.runtime.emit import SOURCE, ExecutionEvents
from gatewayd.service import TaskSet
from gatewayd.storage.base import Store
from gatewayd.storage.state import StateMismatch, StateTotals, StateWrite

log = logging.getLogger("gatewayd.state")

GLOBAL_STREAM = "state"
"""The stream of the events that tell of what the whole gateway shares."""
NOBODY = ":state"
"""Owner of the events that tell of what is shared: no client has this name, so only `sessions:all` sees their values.

Who may read a key is said by scopes of keys, which subscriptions know nothing of; they watch instead."""
SWEEP_EVERY = 5.0
"""Seconds between two looks for keys that have expired. Until then they count as gone, but nobody is told."""
SWEEP_BITE = 100
"""Keys that expire in one unit."""


@value(frozen=True, slots=True)
class Change:
    """One key of a transaction: what becomes of it."""

    place: Place
    key: str
    text: str
    """The value as JSON (`core.state.text_of`); '' deletes the key."""
    expected: int | None = None
    """The version that it must be at, 0 for a key that must not be there; None for any."""
    ttl: float | None = None
    """Seconds after which it goes by itself."""


class SharedState:
    """One per gateway."""

    def __init__(
        self,
        *,
        store: Store,
        clock: Clock,
        ids: IdSource,
        events: ExecutionEvents,
        limits: StateLimits | None = None,
    ) -> None:
        self.limits = limits or StateLimits()
        self._store = store
        self._clock = clock
        self._ids = ids
        self._events = events
        self._tasks = TaskSet("state")

    async def start(self) -> None:
        self._tasks.start(self._sweep(), name="expire state")

    async def stop(self) -> None:
        await self._tasks.close()

    # Reading

    async def find(self, places: Sequence[Place], key: str) -> StateEntry | None:
        """The key in the first of these places that has it; all are looked at as of one moment."""
        check_key(key)
        now = self._clock.now()
        found = {one.place: one for one in await self._store.read_state([(place, key) for place in places])}
        return next((found[place] for place in places if place in found and found[place].is_there(now)), None)

    async def page(self, place: Place, after: str, limit: int) -> list[StateEntry]:
        """The keys of a place by name, those behind `after`, expired ones included: ask `is_there`."""
        return await self._store.list_state(place, after, limit)

    def now(self) -> float:
        """The time by which keys expire."""
        return self._clock.now()

    async def totals(self) -> StateTotals:
        """How much there is."""
        return await self._store.state_totals()

    # Writing

    async def write(
        self,
        changes: Sequence[Change],
        *,
        writer: str,
        executions: Mapping[str, Execution] | None = None,
        by: Execution | None = None,
    ) -> list[StateEntry]:
        """Write all or nothing; the keys as they are now, in order, once they are on disk.

        `executions` are those that the caller has at hand already, by id; `by` is the one that writes, if one does.
        Raises `StateConflict`, `LimitExceeded`, `InvalidArgument`, and `NotFound` or `ExecutionFinished` for the place
        of an execution.
        """
        check_distinct((one.place, one.key) for one in changes)
        known = dict(executions or {})
        for one in changes:
            check_key(one.key)
            if one.place.scope is StateScope.EXECUTION and one.place.id not in known:
                known[one.place.id] = await self._execution(one.place.id)
        now = self._clock.now()
        writes = [
            StateWrite(
                one.place,
                one.key,
                one.text,
                self._envelope(one.place, one.key, known, by),
                one.expected,
                now + check_ttl(one.ttl) if one.ttl is not None else 0.0,
            )
            for one in changes
        ]
        outcome = await self._store.write_state(writes, writer=writer, now=now, limits=self.limits)
        if outcome.mismatches:
            raise _conflict(outcome.mismatches)
        return list(outcome.entries)

    async def _execution(self, execution_id: str) -> Execution:
        execution = await self._store.get_execution(execution_id)
        if execution is None:
            raise NotFound(f"no execution {execution_id!r}")
        return execution

    def _envelope(
        self, place: Place, key: str, executions: Mapping[str, Execution], by: Execution | None = None
    ) -> Event:
        """The event that will tell of a change, without its data; of what is shared it names who has written it."""
        if place.scope is StateScope.EXECUTION:
            return replace(self._events.make(executions[place.id], EventType.STATE_CHANGED, {}), topic=key)
        return Event(
            id=self._ids.new(),
            type=EventType.STATE_CHANGED,
            source=SOURCE,
            stream_id=place.id or GLOBAL_STREAM,
            time=self._clock.now(),
            topic=key,
            execution_id=by.id if by is not None else "",
            correlation_id=by.correlation_id if by is not None else "",
            owner=NOBODY,
        )

    # Time

    async def _sweep(self) -> None:
        while True:
            await self._clock.sleep(SWEEP_EVERY)
            try:
                while await self.expire() == SWEEP_BITE:
                    pass
            except GatewayError as error:
                log.warning("state_sweep_failed", extra={"reason": error.reason})

    async def expire(self) -> int:
        """Delete what has expired, a bite of it, and tell; how many keys."""
        now = self._clock.now()
        expired = await self._store.expired_state(now, SWEEP_BITE)
        executions = await self._executions(expired)
        writes = [
            StateWrite(one.place, one.key, "", self._envelope(one.place, one.key, executions), one.version)
            for one in expired
            if one.place.scope is not StateScope.EXECUTION or one.place.id in executions
        ]
        return await self._store.drop_expired_state(writes, now) if writes else 0

    async def _executions(self, entries: Iterable[StateEntry]) -> dict[str, Execution]:
        found = {}
        for execution_id in {one.place.id for one in entries if one.place.scope is StateScope.EXECUTION}:
            execution = await self._store.get_execution(execution_id)
            if execution is not None:
                found[execution_id] = execution
        return found


def _conflict(mismatches: Sequence[StateMismatch]) -> StateConflict:
    first = mismatches[0]
    return StateConflict(
        f"{first.key!r} in {first.place} is at version {first.actual}, not at {first.expected}; nothing was written",
        metadata={
            "key": first.key,
            "scope": str(first.place.scope),
            "expected_version": str(first.expected),
            "actual_version": str(first.actual),
        },
        violations=[Violation(one.key, f"at version {one.actual}, not {one.expected}") for one in mismatches],
    )

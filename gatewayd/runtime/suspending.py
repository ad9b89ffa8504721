"""Executions that have left in the middle: nothing of them is in memory but their number, and who waits for their end.

What brings one back, and what ends it, is one unit of the store; of several at once for one execution each sees what
the one before has done.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Sequence
from contextlib import suppress
from weakref import WeakValueDictionary

from gatewayd.core.checkpoint import MAX_INPUT
from gatewayd.core.clock import Clock
from gatewayd.core.errors import Draining, ExecutionFinished, InvalidArgument, LimitExceeded, NotFound, NotPaused
from gatewayd.core.event import EventType
from gatewayd.core.work import Execution, ExecutionState
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.live import LiveExecution, Outcome
from gatewayd.storage.base import Store
from gatewayd.storage.records import Accepted, OutboxRow

RESTING = (ExecutionState.PAUSED, ExecutionState.INPUT_REQUIRED)
MAX_RESTING = 10_000
"""Executions that may rest in one gateway; the next one is not paused, and fails where it waits for input."""
_BITE = 100
_TOO_OLD = "It was paused, or waited for input, longer than runtime.checkpoints.max_age_days allows."


class Suspending:
    """`running` finds one that is in memory; `submit` queues one that comes back; `end` writes an end."""

    def __init__(
        self,
        *,
        store: Store,
        events: ExecutionEvents,
        clock: Clock,
        running: Callable[[str], LiveExecution | None],
        submit: Callable[[LiveExecution], None],
        end: Callable[[LiveExecution, Outcome], Awaitable[None]],
    ) -> None:
        self._store = store
        self._events = events
        self._clock = clock
        self._running = running
        self._submit = submit
        self._end = end
        self._awaited: WeakValueDictionary[str, LiveExecution] = WeakValueDictionary()
        """Those that somebody waits for, and so holds."""
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self._counts: Counter[tuple[ExecutionState, str]] = Counter()
        """By state and entry point."""
        self._sessions: Counter[str] = Counter()
        self.offer: Callable[[Sequence[OutboxRow]], None] = lambda _rows: None
        """Hands what was asked in a chat to its outbox; the router's."""
        self.on_absence: Callable[[str], None] = lambda _agent: None
        """Told of an agent of which one that rests now found no worker."""

    def lock(self, execution_id: str) -> asyncio.Lock:
        """Held by whoever moves that execution between rest and work."""
        lock = self._locks.get(execution_id)
        if lock is None:
            lock = self._locks[execution_id] = asyncio.Lock()
        return lock

    def count(self, executions: Iterable[Execution]) -> None:
        """At the start: these rest."""
        for one in executions:
            self._more(one, one.state)

    def rests_in(self, session_id: str) -> bool:
        """Whether something of that session rests; till it ends, the session goes on."""
        return session_id in self._sessions

    def counts(self) -> Counter[str]:
        """How many rest, by state."""
        found: Counter[str] = Counter()
        for (state, _), number in self._counts.items():
            found[state.value] += number
        return found

    def per_entry_point(self) -> dict[str, Counter[str]]:
        """The same by entry point."""
        found: dict[str, Counter[str]] = {}
        for (state, name), number in self._counts.items():
            if name:
                found.setdefault(name, Counter())[state.value] += number
        return found

    def check_room(self) -> None:
        """Raise `LimitExceeded` when one more may not rest."""
        if self._counts.total() >= MAX_RESTING:
            raise LimitExceeded(
                f"{MAX_RESTING} executions are paused or wait for input already",
                metadata={"limit": "resting_executions"},
            )

    def left(self, live: LiveExecution) -> None:
        """It has left, and it is on disk that it has."""
        assert live.leaving is not None
        live.state = live.leaving
        self._awaited[live.execution.id] = live
        self._more(live.execution, live.state)
        self.offer(live.take_asked())
        live.tell_question()
        live.rests.set()
        if live.awaits:
            self.on_absence(live.awaits)

    def awaited(self, execution_id: str) -> LiveExecution | None:
        """One that rests, if somebody waits for it."""
        return self._awaited.get(execution_id)

    async def watch(self, execution_id: str) -> LiveExecution | None:
        """One that rests, for somebody who waits for its end from now on; None if it does not rest."""
        async with self.lock(execution_id):
            stored = await self._store.get_execution(execution_id)
            if stored is None or stored.state not in RESTING:
                return None
            restart = await self._store.restart_of(execution_id)
            live = self._awaited.get(execution_id)
            if live is None:
                live = self._awaited[execution_id] = LiveExecution(stored)
                live.restore(restart.checkpoint.output if restart.checkpoint is not None else "")
            return live

    async def resting(self, execution_id: str) -> Execution:
        """The stored one; `NotFound`, `ExecutionFinished`, `Draining` for one that waits for the next start."""
        stored = await self._store.get_execution(execution_id)
        if stored is None:
            raise NotFound(f"no execution {execution_id!r}")
        if stored.state.terminal:
            raise ExecutionFinished(f"execution {execution_id} has ended already: {stored.state.value}")
        if stored.state not in RESTING:
            raise Draining(f"execution {execution_id} goes on after the next start of the gateway", retry_after=2.0)
        return stored

    async def stay_paused(self, execution_id: str, reason: str) -> None:
        """Have one that rests not go on by itself. Raises as `resting`; the caller has its `lock`."""
        await self._stored(execution_id)
        stored = await self.resting(execution_id)
        told = self._events.make(stored, EventType.EXECUTION_PAUSED, {"reason": reason})
        with suppress(NotPaused):  # it would not anyway
            await self._store.stay_paused(execution_id, reason, [told])

    async def resume(self, execution_id: str, reason: str, *, awaiting: str = "") -> None:
        """PAUSED → QUEUED. `NotPaused` in any other state, and for one that does not wait for that agent's workers."""
        async with self.lock(execution_id):
            stored = await self._stored(execution_id)
            told = self._events.make(stored, EventType.EXECUTION_RESUMED, {"reason": reason})
            await self._store.resume(execution_id, reason, [told], awaiting=awaiting)
            self._come_back(stored)

    async def give_input(self, execution_id: str, node_id: str, content: str, who: str) -> None:
        """INPUT_REQUIRED → QUEUED. `NotWaiting` when that node does not wait."""
        if len(content.encode(errors="replace")) > MAX_INPUT:
            raise InvalidArgument(f"the input is longer than {MAX_INPUT} bytes")
        async with self.lock(execution_id):
            stored = await self._stored(execution_id)
            data = {"reason": f"input from {who}"}
            told = self._events.make(stored, EventType.EXECUTION_RESUMED, data, node_id=node_id)
            await self._store.give_input(execution_id, node_id, content, self._clock.now(), [told])
            self._come_back(stored)

    async def answer(self, execution_id: str, accept: Callable[[Execution], Awaitable[Accepted]]) -> None:
        """INPUT_REQUIRED → QUEUED by a message that is the input, which `accept` takes in; errors are its own."""
        async with self.lock(execution_id):
            stored = await self._stored(execution_id)
            if not (await accept(stored)).duplicate:
                self._come_back(stored)

    async def finish(self, execution_id: str, end: Callable[[LiveExecution], Outcome]) -> bool:
        """End one that rests; whether it still did. Errors as of `resting`."""
        async with self.lock(execution_id):
            stored = await self._stored(execution_id)
            if stored.state not in RESTING:
                return False
            live = self._awaited.get(execution_id) or LiveExecution(stored)
            live.resuming = True
            restart = await self._store.restart_of(execution_id)
            if restart.checkpoint is not None:
                live.restore(restart.checkpoint.output)
            await self._end(live, end(live))
            if live.state.terminal:
                self._less(stored)
            else:
                self._awaited.pop(execution_id, None)  # it rests on; who waited was told that it is not over
            return True

    async def expire(self, before: float) -> int:
        """Fail those that have rested since before that time; how many."""
        failed = 0
        while overdue := await self._store.overdue_suspended(before, _BITE):
            for one in overdue:
                failed += await self.finish(one.id, lambda live: live.failed(_TOO_OLD))
            if len(overdue) < _BITE:
                break
        return failed

    def stop(self, reason: str) -> None:
        """Tell those who wait that they go on waiting elsewhere; what rests stays as it is."""
        for live in list(self._awaited.values()):
            live.resolve(Outcome(live.state, reason=reason))

    async def _stored(self, execution_id: str) -> Execution:
        """As it is on disk, once a run that leaves is gone from memory: its agent may still be putting things away."""
        live = self._running(execution_id)
        if live is not None and live.leaving is not None:
            await live.rests.wait()
        stored = await self._store.get_execution(execution_id)
        if stored is None:
            raise NotFound(f"no execution {execution_id!r}")
        return stored

    def _come_back(self, stored: Execution) -> None:
        self._less(stored)
        live = self._awaited.pop(stored.id, None) or LiveExecution(stored)
        live.execution = stored  # with the trace of its first run
        live.come_back()
        self._submit(live)

    def _more(self, one: Execution, state: ExecutionState) -> None:
        self._counts[state, one.entry_point] += 1
        if one.session_id:
            self._sessions[one.session_id] += 1

    def _less(self, stored: Execution) -> None:
        key = (stored.state, stored.entry_point)
        self._sessions[stored.session_id] -= 1
        if self._sessions[stored.session_id] <= 0:
            del self._sessions[stored.session_id]
        self._counts[key] -= 1
        if self._counts[key] <= 0:
            del self._counts[key]

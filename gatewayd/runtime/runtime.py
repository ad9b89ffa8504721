"""The agent runtime: runs executions in their lanes and tells how each one ended.

I own what lives in memory of executions. I never decide who is asked or where an answer goes: `finish`, given by the
router, writes the end of an execution as one unit, for live and recovered ones alike.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping

from gatewayd.agents.registry import AgentRegistry
from gatewayd.core.clock import Clock, Randomness, jittered
from gatewayd.core.errors import Draining, ExecutionFinished, GatewayError, NotPaused, StoreBusy, StoreFull
from gatewayd.core.event import Event, EventType
from gatewayd.core.failpoints import Failpoints
from gatewayd.core.work import Execution, ExecutionState
from gatewayd.runtime.emit import ExecutionEvents, interruption
from gatewayd.runtime.lanes import Lanes
from gatewayd.runtime.live import LiveExecution, Outcome
from gatewayd.runtime.messaging import Messaging
from gatewayd.runtime.overdue import Overdue
from gatewayd.runtime.performing import Performer
from gatewayd.runtime.suspending import Suspending
from gatewayd.runtime.tally import AgentLoad, Tally, per_agent
from gatewayd.runtime.views import Views
from gatewayd.service import TaskSet
from gatewayd.sessions import SessionManager
from gatewayd.storage.base import Store

log = logging.getLogger("gatewayd.runtime")

Finisher = Callable[[LiveExecution, Outcome], Awaitable[None]]
_RETRY_FINISH = 1.0
"""Seconds between two tries to write an end while the store is busy or full."""


class AgentRuntime:
    """Runs agents."""

    def __init__(
        self,
        *,
        store: Store,
        agents: AgentRegistry,
        sessions: SessionManager,
        publish: Callable[[Event], None],
        events: ExecutionEvents,
        finish: Finisher,
        views: Views,
        messaging: Messaging,
        tasks: TaskSet,
        clock: Clock,
        randomness: Randomness,
        failpoints: Failpoints,
    ) -> None:
        self._store = store
        self._events = events
        self._finish = finish
        self._tasks = tasks
        self._clock = clock
        self._randomness = randomness
        self._failpoints = failpoints
        self._live: dict[str, LiveExecution] = {}
        self._tally = Tally()
        self._idle = asyncio.Event()
        self._idle.set()
        self.lanes = Lanes(self._launch)
        self.suspending = Suspending(
            store=store, events=events, clock=clock, running=self._live.get, submit=self._queue, end=self._end
        )
        self.overdue = Overdue(tasks=tasks, clock=clock, leave_behind=self._leave_behind)
        agents.workers.absence.on_change = lambda one, needs: self.lanes.need_place(self._live.get(one), needs)
        self.performer = Performer(
            store=store,
            agents=agents,
            sessions=sessions,
            publish=publish,
            events=events,
            views=views,
            messaging=messaging,
            lanes=self.lanes,
            clock=clock,
            randomness=randomness,
            check_rest=self.suspending.check_room,
            overdue=self.overdue,
        )

    # Asking

    def submit(self, execution: Execution, *, steerable: bool = False, resuming: bool = False) -> LiveExecution:
        """Queue an accepted execution; `resuming` where it may have a checkpoint."""
        live = LiveExecution(execution, steerable=steerable)
        live.resuming = resuming
        self._queue(live)
        return live

    def _queue(self, live: LiveExecution) -> None:
        self._live[live.execution.id] = live
        self._idle.clear()
        self.lanes.submit(live, live.execution.entry_point)

    def live(self, execution_id: str) -> LiveExecution | None:
        """The execution, while it is queued or runs, or rests and somebody waits for its end."""
        return self._live.get(execution_id) or self.suspending.awaited(execution_id)

    async def watched(self, execution_id: str) -> LiveExecution | None:
        """The same for somebody who waits for its end from now on, also of one that rests; None if it has ended."""
        live = self.live(execution_id) or await self.suspending.watch(execution_id)
        return self._live.get(execution_id) or live

    async def pause(self, execution_id: str, reason: str) -> LiveExecution | None:
        """Have it leave: at once while it is queued, else at its next checkpoint; None if it rests already.

        The one that is returned has left, or will: `rests` says when. Raises as `Suspending.resting`, and `NotPaused`
        for a message that another execution has taken in.
        """
        async with self.suspending.lock(execution_id):
            live = self._live.get(execution_id)
            if live is None or live.leaving is not None:
                await self.suspending.stay_paused(execution_id, reason)
                return None
            self.suspending.check_room()
            if live.ending or live.cancel_reason:
                raise ExecutionFinished(f"execution {execution_id} is ending")
            if self.lanes.withdraw(live):
                await self._pause_queued(live, reason)
            elif live.task is None:
                raise NotPaused(f"execution {execution_id} is being answered within another")
            else:
                live.pause_reason = live.pause_reason or reason
            return live

    async def _pause_queued(self, live: LiveExecution, reason: str) -> None:
        told = self._events.make(live.execution, EventType.EXECUTION_PAUSED, {"reason": reason})
        live.leaving = ExecutionState.PAUSED
        try:
            await self._store.pause_queued(live.execution.id, reason, [told])
        except GatewayError:
            live.leaving = None
            self.lanes.submit(live, live.execution.entry_point)
            raise
        if live.cancel_reason:
            await self._end(live, live.cancelled())
        else:
            self._left(live)

    async def cancel(self, execution_id: str, reason: str) -> None:
        """End it as CANCELLED; `ExecutionFinished` or `NotFound` when there is nothing to cancel."""
        live = self._live.get(execution_id)
        if live is None:
            await self.suspending.resting(execution_id)
            if await self.suspending.finish(execution_id, lambda one: one.cancel_as(reason)):
                return
            live = self._live.get(execution_id)
            if live is None:  # it came back, and ended
                await self.suspending.resting(execution_id)
                return
        self.interrupt(live, reason)
        outcome = await asyncio.shield(live.done)
        if not outcome.state.terminal:
            raise Draining(f"the gateway stopped before execution {execution_id} was cancelled")
        if outcome.state is not ExecutionState.CANCELLED:
            raise ExecutionFinished(f"execution {execution_id} has ended already: {outcome.state.value}")

    def interrupt(self, live: LiveExecution, reason: str) -> None:
        """Begin to cancel, without waiting for the end."""
        if live.done.done() or live.cancel_reason or live.ending:
            return
        live.cancel_reason = reason
        if self.lanes.withdraw(live):
            self._tasks.start(self._end(live, live.cancelled()), name=f"cancel {live.execution.id}")
        elif live.task is not None and live.begun:
            live.task.cancel()
            self.overdue.cancelled(live)

    def counts(self) -> dict[str, int]:
        """Executions by state: those that live now, and those that ended since the start."""
        return self._tally.counts(self._live.values(), self.suspending.counts())

    def per_agent(self) -> Mapping[str, AgentLoad]:
        """What runs and waits now, by agent; agents with nothing to do count nothing."""
        return per_agent(self._live.values())

    def per_entry_point(self) -> Mapping[str, Mapping[str, int]]:
        """As `counts`, by entry point; one without executions is not there."""
        return self._tally.per_entry_point(self._live.values(), self.suspending.per_entry_point())

    async def answered(self, channel: str) -> None:
        """Wait until nothing is queued or running whose answer goes to that channel."""
        while waits := self._answering(channel):
            await asyncio.gather(*(one.rests.wait() for one in waits))

    def unanswered(self, channel: str) -> int:
        """How many are queued or running whose answer goes to that channel."""
        return len(self._answering(channel))

    def _answering(self, channel: str) -> list[LiveExecution]:
        return [one for one in self._live.values() if one.execution.reply_to.sends_to(channel)]

    async def idle(self) -> None:
        """Wait until nothing is queued or running."""
        await self._idle.wait()

    # Running

    def _launch(self, live: LiveExecution) -> None:
        live.run += 1
        live.task = self._tasks.start(self._run(live), name=f"execution {live.execution.id}")

    async def _run(self, live: LiveExecution) -> None:
        live.begun, run = True, live.run
        try:
            outcome = await self.performer.perform(live)
            if live.run != run:
                return
            if outcome is None:
                self._left(live)
                return
            live.ending = True
            self._failpoints.hit("runtime.before_finish")
            await self._end(live, outcome)
        finally:
            if live.run == run:
                self.lanes.finished(live)
            else:
                self.overdue.gone(live.execution.agent)

    def _leave_behind(self, live: LiveExecution) -> None:
        self.performer.leave_behind(live)
        self._tasks.start(self._end_without(live), name=f"leave behind {live.execution.id}")

    async def _end_without(self, live: LiveExecution) -> None:
        try:
            if (outcome := await self.performer.verdict_without(live)) is None:
                self._left(live)
            else:
                await self._end(live, outcome)
        finally:
            self.lanes.finished(live)

    def _left(self, live: LiveExecution) -> None:
        """It is out of memory, but for who waits; the messages that it had taken in are answered by themselves."""
        self._live.pop(live.execution.id, None)
        absorbed, live.absorbed = live.absorbed, []
        if absorbed:
            self.lanes.put_back(absorbed)
        self.suspending.left(live)
        self._look_idle()

    # Ending

    async def _end(self, live: LiveExecution, outcome: Outcome) -> None:
        """Write the end, however long the store is busy; wake the waiters only when it is on disk."""
        while True:
            try:
                await self._finish(live, outcome)
                break
            except (StoreBusy, StoreFull) as error:
                log.warning("finish_waits", extra={"execution": live.execution.id, "reason": error.reason})
                await self._clock.sleep(jittered(_RETRY_FINISH, self._randomness))
            except Exception:  # the boundary of an end: whatever happened to it, nobody may wait for it for ever
                log.exception("finish_failed", extra={"execution": live.execution.id})
                outcome = Outcome(ExecutionState.QUEUED, reason="its end could not be written")
                break
        for one in (live, *live.absorbed):
            self._live.pop(one.execution.id, None)
            self._tally.ended(one.execution, outcome.state)
        live.resolve(outcome)
        self._look_idle()

    def _look_idle(self) -> None:
        if not self._live:
            self._idle.set()

    async def stop(self) -> None:
        """Cut off what still runs; it goes back to QUEUED and is taken up at the next start."""
        self.lanes.close()
        tasks = {one: one.task for one in self._live.values() if one.task is not None and not one.task.done()}
        for live, task in tasks.items():
            if not live.ending:
                task.cancel()
        if tasks:
            await asyncio.wait(tasks.values(), timeout=1.0)
        for live in tasks:
            if not live.done.done() and live.leaving is None:
                try:
                    await self.requeue(live.execution, "the gateway stopped")
                except GatewayError as error:
                    log.warning("requeue_failed", extra={"execution": live.execution.id, "reason": error.reason})
        reason = "the gateway stopped; it goes on after the next start"
        for live in list(self._live.values()):
            live.resolve(Outcome(ExecutionState.QUEUED, reason=reason))
        self.suspending.stop(reason)

    async def requeue(self, execution: Execution, why: str) -> None:
        """RUNNING → QUEUED, and tell that it was cut off and from where it goes on."""
        restart = await self._store.restart_of(execution.id)
        event = self._events.make(execution, EventType.EXECUTION_INTERRUPTED, interruption(why, restart))
        await self._store.requeue(execution.id, why, [event])

"""The agent runtime: runs executions in their lanes and tells how each one ended.

I own what lives in memory of executions. I never decide who is asked or where an answer goes: `finish`, given by the
router, writes the end of an execution as one unit, for live and recovered ones alike.
"""

import asyncio
import logging
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

from gatewayd.agents.base import MAX_ANSWER, AgentFailed, Output, TextOutput, Turn
from gatewayd.agents.registry import AgentRegistry, RegisteredAgent
from gatewayd.core.clock import Clock, Randomness, jittered
from gatewayd.core.errors import Draining, ExecutionFinished, GatewayError, NotFound, StoreBusy, StoreFull, Unavailable
from gatewayd.core.event import Event, EventType
from gatewayd.core.failpoints import Failpoints
from gatewayd.core.message import ReplyKind
from gatewayd.core.value import value
from gatewayd.core.work import Execution, ExecutionState
from gatewayd.providers.bounds import closing
from gatewayd.runtime.context import RunContext
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.lanes import Lanes
from gatewayd.runtime.live import LiveExecution, Outcome
from gatewayd.runtime.messaging import Messaging
from gatewayd.runtime.outputs import told
from gatewayd.runtime.views import Views
from gatewayd.service import TaskSet
from gatewayd.sessions import SessionManager
from gatewayd.storage.base import Store
from gatewayd.storage.records import Published

log = logging.getLogger("gatewayd.runtime")

Finisher = Callable[[LiveExecution, Outcome], Awaitable[None]]
_RETRY_FINISH = 1.0
"""Seconds between two tries to write an end while the store is busy or full."""


@value(frozen=True, slots=True)
class AgentLoad:
    """Executions of one agent."""

    running: int = 0
    queued: int = 0


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
        self._agents = agents
        self._sessions = sessions
        self._publish = publish
        self._events = events
        self._finish = finish
        self._views = views
        self._messaging = messaging
        self._tasks = tasks
        self._clock = clock
        self._randomness = randomness
        self._failpoints = failpoints
        self._live: dict[str, LiveExecution] = {}
        self._ended: Counter[str] = Counter()
        self._ended_of: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """The same by entry point."""
        self._idle = asyncio.Event()
        self._idle.set()
        self.lanes = Lanes(self._launch)

    # Asking

    def submit(self, execution: Execution, *, steerable: bool = False) -> LiveExecution:
        """Queue an accepted execution."""
        live = LiveExecution(execution, steerable=steerable)
        self._live[execution.id] = live
        self._idle.clear()
        self.lanes.submit(live, execution.entry_point)
        return live

    def live(self, execution_id: str) -> LiveExecution | None:
        """The execution, while it is queued or runs."""
        return self._live.get(execution_id)

    async def cancel(self, execution_id: str, reason: str) -> None:
        """End it as CANCELLED; `ExecutionFinished` or `NotFound` when there is nothing to cancel."""
        live = self._live.get(execution_id)
        if live is None:
            stored = await self._store.get_execution(execution_id)
            if stored is None:
                raise NotFound(f"no execution {execution_id!r}")
            raise ExecutionFinished(f"execution {execution_id} has ended already: {stored.state.value}")
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

    def counts(self) -> dict[str, int]:
        """Executions by state: those that live now, and those that ended since the start."""
        living = Counter(one.state.value for one in self._live.values())
        return dict(living + self._ended)

    def per_agent(self) -> Mapping[str, AgentLoad]:
        """What runs and waits now, by agent; agents with nothing to do count nothing."""
        loads: defaultdict[str, AgentLoad] = defaultdict(AgentLoad)
        for live in self._live.values():
            before = loads[live.execution.agent]
            running = live.state is ExecutionState.RUNNING
            loads[live.execution.agent] = AgentLoad(before.running + running, before.queued + (not running))
        return loads

    def per_entry_point(self) -> Mapping[str, Mapping[str, int]]:
        """As `counts`, by entry point; one without executions is not there."""
        found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for name, ended in self._ended_of.items():
            found[name] += ended
        for live in self._live.values():
            if live.execution.entry_point:
                found[live.execution.entry_point][live.state.value] += 1
        return found

    async def answered(self, channel: str) -> None:
        """Wait until nothing is queued or running whose answer goes to that channel."""
        while waits := self._answering(channel):
            await asyncio.wait([one.done for one in waits])

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
        live.task = self._tasks.start(self._run(live), name=f"execution {live.execution.id}")

    async def _run(self, live: LiveExecution) -> None:
        live.begun = True
        try:
            outcome = await self._perform(live)
            live.ending = True
            self._failpoints.hit("runtime.before_finish")
            await self._end(live, outcome)
        finally:
            self.lanes.finished(live)

    async def _perform(self, live: LiveExecution) -> Outcome:
        """One try of the agent, and the verdict on it; only the daemon's own stop passes through as cancellation."""
        execution = live.execution
        if live.cancel_reason:
            return live.cancelled()
        live.state = ExecutionState.RUNNING
        started = self._events.make(execution, EventType.EXECUTION_STARTED, {"input": {"text": execution.text}})
        self._store.start(execution.id, self._clock.now(), [started])
        try:
            agent = self._agents.get(execution.agent)
            turn = Turn(
                text=execution.text,
                session_id=execution.session_id,
                principal=execution.principal,
                channel=execution.reply_to.channel,
                history=await self._sessions.history(execution.session_id) if execution.session_id else (),
            )
            async with self._clock.timeout(agent.timeout), closing(self._outputs(live, agent, turn)) as outputs:
                async for output in outputs:
                    self._put_out(live, output)
        except TimeoutError:
            return live.failed(f"{execution.agent} did not finish in time")
        except AgentFailed as failure:
            log.warning("agent_failed", extra={"execution": execution.id, "cause": failure.cause})
            return live.failed(str(failure))
        except asyncio.CancelledError:
            if live.cancel_reason and live.task is not None:
                live.task.uncancel()
                return live.cancelled()
            if live.task is None or live.task.cancelling():
                raise
            return live.crashed()  # nobody cancelled it: it waited for something of its own that was cancelled
        except GatewayError as error:
            return live.failed(error.message, Unavailable.reason if isinstance(error, Unavailable) else "")
        except (Exception, SystemExit):  # the boundary of the agent's own code; its exit is not the daemon's
            return live.crashed()
        return Outcome(ExecutionState.SUCCEEDED, output=live.text)

    def _outputs(self, live: LiveExecution, agent: RegisteredAgent, turn: Turn) -> AsyncIterator[Output]:
        execution = live.execution
        if execution.reply_to.kind is ReplyKind.TOPIC:
            return self._messaging.delivered(execution, agent.timeout)
        (state, goal), voice = self._views.of(execution), self._messaging.voice(execution)
        context = RunContext(
            live, self._clock, self.lanes, self._events, self._tell, state=state, goal=goal, voice=voice
        )
        return agent.run(turn, context)

    def _put_out(self, live: LiveExecution, output: Output) -> None:
        text = output.content if isinstance(output, TextOutput) else ""
        if live.size + len(text.encode(errors="replace")) > MAX_ANSWER:
            raise AgentFailed("The answer grew too long.", cause=f"more than {MAX_ANSWER} bytes")
        self._tell(self._events.make(live.execution, *told(output, live.length)))
        if isinstance(output, TextOutput):
            live.put(text)

    def _tell(self, event: Event) -> None:
        """What an agent says beside its outputs."""
        if event.durable:
            self._record(event)
        else:
            self._publish(event)

    def _record(self, event: Event) -> None:
        """Submit a durable event; the agent goes on, and a failure of the store stops the daemon by itself."""
        self._store.append([Published(event)], scope="")

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
            self._ended[outcome.state.value] += 1
            if one.execution.entry_point:
                self._ended_of[one.execution.entry_point][outcome.state.value] += 1
        live.resolve(outcome)
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
            if live.done.done():
                continue
            execution = live.execution
            reason = "the gateway stopped"
            event = self._events.make(execution, EventType.EXECUTION_INTERRUPTED, {"reason": reason})
            try:
                await self._store.requeue(execution.id, reason, [event])
            except GatewayError as error:
                log.warning("requeue_failed", extra={"execution": execution.id, "reason": error.reason})
        for live in list(self._live.values()):
            live.resolve(Outcome(ExecutionState.QUEUED, reason="the gateway stopped; it goes on after the next start"))

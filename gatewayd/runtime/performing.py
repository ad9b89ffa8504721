"""One run of an agent: what it is given, what becomes of what it puts out, and the verdict on it."""

import asyncio
import logging
from collections.abc import Callable
from contextlib import suppress

from gatewayd.agents.base import (
    MAX_ANSWER,
    AgentFailed,
    GraphOutput,
    Output,
    ReasoningOutput,
    Suspended,
    TextOutput,
    ToolCompleted,
    ToolStarted,
    Turn,
)
from gatewayd.agents.calls import NobodyThere
from gatewayd.agents.registry import AgentRegistry
from gatewayd.config.entry_points import RuntimeSection
from gatewayd.core.checkpoint import BegunCall, Restart
from gatewayd.core.clock import Clock, Randomness, TimeIsOver
from gatewayd.core.errors import GatewayError, Unavailable
from gatewayd.core.event import Event, EventType
from gatewayd.core.execution_log import LogKind
from gatewayd.core.message import ReplyKind
from gatewayd.core.work import ExecutionState
from gatewayd.providers.bounds import closing
from gatewayd.runtime.context import RunContext
from gatewayd.runtime.emit import ExecutionEvents, with_call
from gatewayd.runtime.execution_log import ExecutionLog
from gatewayd.runtime.lanes import Lanes
from gatewayd.runtime.leaving import Leaving, Prompt, patiently
from gatewayd.runtime.live import LiveExecution, Outcome
from gatewayd.runtime.messaging import Messaging
from gatewayd.runtime.overdue import Overdue
from gatewayd.runtime.views import Views
from gatewayd.sessions import SessionManager
from gatewayd.storage.base import Store
from gatewayd.storage.records import Published

log = logging.getLogger("gatewayd.runtime")

_LATE = "{} did not finish in time"


class Performer:
    """Runs agents, each time once. `settings` is swapped when a reload commits;
    `check_rest` raises when one more may not wait for input."""

    def __init__(
        self,
        *,
        store: Store,
        agents: AgentRegistry,
        sessions: SessionManager,
        publish: Callable[[Event], None],
        events: ExecutionEvents,
        views: Views,
        messaging: Messaging,
        lanes: Lanes,
        clock: Clock,
        randomness: Randomness,
        check_rest: Callable[[], None],
        overdue: Overdue,
    ) -> None:
        self._store = store
        self._agents = agents
        self._sessions = sessions
        self._publish = publish
        self._events = events
        self._views = views
        self._messaging = messaging
        self._lanes = lanes
        self._clock = clock
        self._randomness = randomness
        self._check_rest = check_rest
        self._overdue = overdue
        self.settings = RuntimeSection()
        self.prompt: Prompt = lambda _execution, _prompt, _now: ()
        """The router's: how a chat is asked."""

    async def perform(self, live: LiveExecution) -> Outcome | None:
        """The verdict on one run, None for one that has left; only the daemon's own stop passes as cancellation."""
        run = live.run
        try:
            try:
                outcome = await self._verdict(live)
                await self._heard(live)
            finally:
                if live.run == run:
                    self._overdue.ended(live)
            if live.leaving is None or live.cancel_reason or live.run != run:
                return outcome
            return await self._left(live)
        finally:
            if live.run == run:
                self.write_held(live)

    def leave_behind(self, live: LiveExecution) -> None:
        """Its agent does not end. It goes on for itself, and what it says is heard no more."""
        agent = live.execution.agent
        log.error("agent_left_behind", extra={"agent": agent, "execution": live.execution.id})
        said = f"{agent} does not end although its time is over or it was cancelled; nothing waits for it any more"
        told = self._events.make(live.execution, EventType.ERROR, {"reason": "AGENT_LEFT_BEHIND", "message": said})
        with suppress(GatewayError):  # the log has it
            self._store.append([Published(told)], scope="")
        self.write_held(live)
        live.run += 1
        live.ending = live.leaving is None or bool(live.cancel_reason)

    async def verdict_without(self, live: LiveExecution) -> Outcome | None:
        """As `perform`, for a run that was left behind."""
        if not live.ending and ((outcome := await self._left(live)) is not None or not live.cancel_reason):
            return outcome
        return live.cancelled() if live.cancel_reason else live.failed(_LATE.format(live.execution.agent))

    async def _left(self, live: LiveExecution) -> Outcome | None:
        """It has left if the unit that says so is on disk; what cut the run off meanwhile did not wait for that."""
        assert live.leaving_unit is not None
        try:
            await asyncio.shield(live.leaving_unit)
        except asyncio.CancelledError:
            if live.cancel_reason and live.task is not None:
                live.task.uncancel()
                return live.cancelled()
            raise
        except GatewayError as error:
            live.leaving = None
            return live.failed(error.message)
        return None

    async def _heard(self, live: LiveExecution) -> None:
        """Take what its agent has cancelled it with in its last step: it would cut off the writing of the end."""
        if live.task is None or not live.task.cancelling() or live.cancel_reason or self._lanes.closed:
            return
        try:
            await asyncio.sleep(0)
        except asyncio.CancelledError:
            if self._lanes.closed:
                raise

    async def _verdict(self, live: LiveExecution) -> Outcome:
        if live.cancel_reason:
            return live.cancelled()
        live.state = ExecutionState.RUNNING
        try:
            await self._run(live)
        except Suspended:
            return live.cancelled() if live.leaving is not None else live.crashed()
        except TimeIsOver:
            return live.failed(_LATE.format(live.execution.agent))
        except AgentFailed as failure:
            log.warning("agent_failed", extra={"execution": live.execution.id, "cause": failure.cause})
            return live.failed(str(failure))
        except asyncio.CancelledError:
            if live.cancel_reason and live.task is not None:
                live.task.uncancel()
                return live.cancelled()
            if live.task is None or self._lanes.closed:
                raise
            while live.task.cancelling():  # by its agent itself
                live.task.uncancel()
            return live.crashed()  # or it waited for something of its own that was cancelled
        except GatewayError as error:
            return live.failed(error.message, Unavailable.reason if isinstance(error, Unavailable) else "")
        except GeneratorExit:  # nobody runs this any more
            raise
        except BaseException:  # the boundary of the agent's own code; its exit is not the daemon's
            left = live.leaving is not None  # it was told so in a task of its own, which makes a group of it
            return live.cancelled() if left else live.crashed()
        return Outcome(ExecutionState.SUCCEEDED, output=live.text)

    async def _run(self, live: LiveExecution) -> None:
        execution = live.execution
        needed = self._agents.workers.parting.needed((execution.agent,))
        with needed, self._messaging.working(execution) as trace:
            told = self._events.make(execution, EventType.EXECUTION_STARTED, {"input": {"text": execution.text}})
            # A trace that begins with this run goes on with the next.
            kept = "" if execution.trace else trace
            self._store.start(execution.id, self._clock.now(), [told], kept)
            await self._work(live, trace)

    async def _work(self, live: LiveExecution, trace: str) -> None:
        execution, run = live.execution, live.run
        agent = self._agents.get(execution.agent)
        restart = await self._store.restart_of(execution.id) if live.resuming else Restart()
        if restart.checkpoint is not None:
            live.restore(restart.checkpoint.output)
        turn = Turn(
            text=execution.text,
            session_id=execution.session_id,
            principal=execution.principal,
            channel=execution.reply_to.channel,
            history=await self._sessions.history(execution.session_id) if execution.session_id else (),
        )
        notes = ExecutionLog(live, self._clock, enabled=self.settings.execution_log)
        if live.resuming:
            made = restart.checkpoint
            notes.note(LogKind.CAME_BACK, f"from checkpoint {made.id}" if made is not None else "from the beginning")
        leaving = Leaving(
            live,
            restart,
            store=self._store,
            events=self._events,
            clock=self._clock,
            randomness=self._randomness,
            settings=self.settings.checkpoints,
            log=notes,
            check_rest=self._check_rest,
            prompt=self.prompt,
        )
        state, goal = self._views.of(execution)
        context = RunContext(
            live,
            self._clock,
            self._lanes,
            self._events,
            lambda event: self._tell(live, event, run),
            state=state,
            goal=goal,
            voice=self._messaging.voice(execution, trace, lambda: leaving.place, leaving.check_there),
            leaving=leaving,
            notes=notes,
            deadline=self._clock.monotonic() + agent.timeout,
        )
        topical = execution.reply_to.kind is ReplyKind.TOPIC
        work = self._messaging.delivered(execution, agent.timeout, trace) if topical else agent.run(turn, context)
        self._overdue.begins(live, agent.timeout)
        try:
            async with self._clock.timeout(agent.timeout), closing(work) as outputs:
                async for output in outputs:
                    leaving.check_there()
                    await self._put_out(live, output, notes)
        except NobodyThere as error:
            await leaving.stay(error.metadata["agent"])
            raise

    async def _put_out(self, live: LiveExecution, output: Output, notes: ExecutionLog) -> None:
        execution = live.execution
        self.write_held(live)
        match output:
            case GraphOutput(result):
                live.graph = result
            case TextOutput(content):
                if live.size + len(content.encode(errors="replace")) > MAX_ANSWER:
                    raise AgentFailed("The answer grew too long.", cause=f"more than {MAX_ANSWER} bytes")
                if not self._events.unheard(EventType.LLM_TEXT_DELTA):
                    data = {"content": content, "offset": live.length}
                    self._publish(self._events.make(execution, EventType.LLM_TEXT_DELTA, data))
                live.put(content)
            case ReasoningOutput(content):
                if not self._events.unheard(EventType.LLM_REASONING_DELTA):
                    self._publish(self._events.make(execution, EventType.LLM_REASONING_DELTA, {"content": content}))
            case ToolStarted(tool_use_id, tool_name, tool_input):
                data = {"tool_use_id": tool_use_id, "tool_name": tool_name, "tool_input": tool_input}
                event = self._events.make(execution, EventType.TOOL_CALL_STARTED, data, node_id=output.node_id)
                notes.note(LogKind.TOOL_STARTED, f"{tool_name} ({tool_use_id})", output.node_id)
                call = BegunCall(execution.id, tool_use_id, tool_name, event.time)
                # The agent goes on when it is on disk: what a crash cuts off must be known to have begun.
                await patiently(
                    lambda: self._store.begin_call(call, [event]), self._clock, self._randomness, execution.id
                )
            case ToolCompleted(tool_use_id, tool_name, result, is_error):
                data = {"tool_use_id": tool_use_id, "tool_name": tool_name, "result": result, "is_error": is_error}
                kind = LogKind.TOOL_FAILED if is_error else LogKind.TOOL_COMPLETED
                notes.note(kind, f"{tool_name} ({tool_use_id})", output.node_id)
                event = self._events.make(execution, EventType.TOOL_CALL_COMPLETED, data, node_id=output.node_id)
                live.held.append((tool_use_id, event))

    def _tell(self, live: LiveExecution, event: Event, run: int) -> None:
        """What an agent says beside its outputs; the agent goes on; a store that fails stops the daemon by itself."""
        if live.run != run:  # left behind: what it says now belongs to nothing
            raise Suspended
        self.write_held(live)
        if not event.durable:
            self._publish(event)
        else:
            self._store.append([with_call(Published(event))], scope="")

    def write_held(self, live: LiveExecution) -> None:
        """Results of tools that no checkpoint took with it."""
        for call_id, event in live.take_held():
            self._store.complete_call(live.execution.id, call_id, [event])

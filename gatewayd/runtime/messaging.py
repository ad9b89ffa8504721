"""The daemon's message engine: its agents, its bounds, its place in the store, and its life."""

import logging
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import contextmanager

from gatewayd.agents.base import Output, TextOutput
from gatewayd.agents.graph.names import speaker
from gatewayd.agents.registry import AgentRegistry
from gatewayd.config.model import GatewayConfig
from gatewayd.core.agents import AgentId
from gatewayd.core.checkpoint import BegunCall
from gatewayd.core.clock import Clock
from gatewayd.core.errors import (
    DeadlineExceeded,
    ExecutionFailed,
    ExecutionFinished,
    GatewayError,
    InvalidArgument,
    LimitExceeded,
    NotFound,
    Unavailable,
)
from gatewayd.core.event import Event, EventType
from gatewayd.core.ids import IdSource
from gatewayd.core.lifecycle import Change, State
from gatewayd.core.tracing import Operation, Tracer
from gatewayd.core.work import Execution
from gatewayd.engine.call import Call
from gatewayd.engine.engine import MessageEngine
from gatewayd.engine.limits import Limits
from gatewayd.runtime.agent_types import AgentTypes, TypesChange
from gatewayd.runtime.context import HandlingContext
from gatewayd.runtime.emit import ExecutionEvents, with_call
from gatewayd.runtime.message_news import MessageNews
from gatewayd.runtime.speaking import Door, Voice, Work, deliver, work_of
from gatewayd.runtime.views import Views
from gatewayd.service import Deadline
from gatewayd.storage.base import Store
from gatewayd.storage.records import Published

log = logging.getLogger("gatewayd.runtime")

DAY = 86_400.0
LIMITS = Limits(timeout=DAY, longest_timeout=DAY, idle=3600.0)
"""Each handler is bounded by its agent's timeout, and so what waits for it; an instance is put away after an hour."""
MAX_STATE = 16 * 1024 * 1024
"""Longest saved state, in bytes."""
TRIES = 3
"""How often a message that a client published is handled, if it fails."""
_PAUSE = 0.1
"""Seconds; half of the wait before the second try, and a quarter of that before the third."""
_CUT = 1.0
"""Seconds that handlers get to tidy up when the time of a stop is over."""


def _may_pass(error: Exception) -> bool:
    """Whether asking again makes sense: not where the message does not fit, or the time is over."""
    return not isinstance(error, GatewayError) or isinstance(error, ExecutionFailed | Unavailable)


class AgentStates:
    """See `engine.base.StateStore`. An empty state takes no room."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self._found: set[str] = set()
        """Keys of living instances that have something in the store, to be taken out if it is empty at their end."""
        self._store = store
        self._clock = clock

    async def save(self, key: str, state: bytes) -> None:
        if len(state) > MAX_STATE:
            raise LimitExceeded(f"a state has at most {MAX_STATE} bytes, that of {key[:80]} has {len(state)}")
        text = "" if state == b"{}" else state.decode()
        if text or key in self._found:
            await self._store.save_agent_state(key, text, self._clock.now())
            self._found.discard(key)

    async def load(self, key: str) -> bytes | None:
        if text := await self._store.agent_state(key):
            self._found.add(key)
        return text.encode() or None


class Messaging:
    """One per gateway. `start` after the store, `drain` beside the executions, `stop` after them, before the store."""

    def __init__(
        self,
        *,
        store: Store,
        agents: AgentRegistry,
        publish: Callable[[Event], None],
        tell: Callable[[EventType, Mapping[str, object]], None],
        events: ExecutionEvents,
        views: Views,
        clock: Clock,
        ids: IdSource,
        tracer: Tracer | None = None,
    ) -> None:
        self._tracer = tracer
        self._store = store
        self._agents = agents
        self._publish = publish
        self.events = events
        self._views = views
        self._clock = clock
        self._door = Door(most=1)
        news = MessageNews(events, record=self._record, publish=publish, tell=tell)
        self.engine = MessageEngine(
            clock=clock,
            ids=ids,
            limits=LIMITS,
            sink=news,
            admit=self._door.admit,
            state=AgentStates(store, clock),
            tracer=tracer,
        )
        news.serializers = self.engine.serializers
        self._types = AgentTypes(self.engine, agents, self._context, clock)
        agents.workers.on_topics = self._types.look

    def plan(self, config: GatewayConfig) -> Change:
        """The change to a new configuration; it commits after that of the agents."""

        def committed() -> None:
            self._door.most = config.gateway.limits.message_bytes

        return TypesChange(self._types, config, committed)

    # Life

    async def start(self) -> None:
        """Begin to handle messages."""
        await self.engine.start()

    async def drain(self) -> None:
        """Wait until nothing waits and nothing is handled; then take no more."""
        if self.engine.state is not State.RUNNING:
            return
        while True:
            try:
                await self.engine.stop_when_idle(DAY)
                return
            except DeadlineExceeded:  # whoever waits here has a deadline of his own
                continue

    async def stop(self) -> None:
        """Cut off what is left, each told so; keep the states of all instances, and let them go."""
        if self.engine.state is State.RUNNING:
            await self.engine.stop(Deadline(self._clock, _CUT))
        await self.engine.keep_all()
        await self.engine.close()

    # Work

    @contextmanager
    def working(self, execution: Execution) -> Iterator[str]:
        """Within it, an execution runs; gives the traceparent of what it causes."""
        if self._tracer is None:
            yield execution.trace
            return
        attributes = {
            "execution_id": execution.id,
            "session_id": execution.session_id,
            "correlation_id": execution.correlation_id,
            "entry_point": execution.entry_point,
        }
        who = speaker(execution.agent)
        with self._tracer.span(Operation.PROCESS, who, parent=execution.trace, attributes=attributes) as span:
            yield span.traceparent

    def voice(
        self, execution: Execution, trace: str, place: Callable[[], str] = str, check: Callable[[], None] = lambda: None
    ) -> Voice:
        """With this the agent of an execution speaks to others; `place` and `check` as of `Voice`."""
        sender = AgentId(speaker(execution.agent))
        return Voice(self.engine, self._agents, work_of(execution), sender, trace=trace, place=place, check=check)

    async def delivered(self, execution: Execution, timeout: float, trace: str) -> AsyncIterator[Output]:
        """Have a message that a client published handled; what its handler returns is the output.

        A handler that fails is asked again, `TRIES` times in all and within the agent's time.
        """
        for attempt in range(1, TRIES + 1):
            try:
                reply = await deliver(self.engine, execution, timeout, trace)
                break
            except Exception as error:  # the boundary of the agent's own code
                if attempt == TRIES or not _may_pass(error):
                    raise
            await self._clock.sleep(_PAUSE * 2**attempt)
        if reply is not None:
            yield TextOutput(reply)

    def _context(self, name: str, call: Call) -> HandlingContext:
        work = call.belonging
        if not isinstance(work, Work) or work.execution is None:
            raise InvalidArgument(f"the message to {call.agent} is part of no execution")
        state, goal = self._views.of(work.execution)
        return HandlingContext(
            name,
            work.execution,
            self._clock,
            self.events,
            self._tell,
            state=state,
            goal=goal,
            deadline=call.deadline,
            begin=self._begin,
            complete=self._complete,
            message=lambda: f"{call.message_id}/{name}",
            voice=Voice(self.engine, self._agents, work, call.agent, within=call),
        )

    async def _begin(self, call: BegunCall, event: Event) -> None:
        """On disk before the tool runs: what a crash cuts off must be known to have begun."""
        try:
            await self._store.begin_call(call, [event])
        except (ExecutionFinished, NotFound):  # of a message that was published: nothing would run that again
            self._record(event)

    def _complete(self, call_id: str, event: Event) -> None:
        self._store.complete_call(event.execution_id, call_id, [event])

    def _tell(self, event: Event) -> None:
        """What an agent says beside its reply."""
        if not event.durable:
            self._publish(event)
        elif (told := with_call(Published(event), event.node_id)).begins or told.ends is not None:
            self._store.append([told], scope="")
        else:
            self._record(event)

    def _record(self, event: Event) -> None:
        self._store.note(event)

"""What a running agent may use of the runtime."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, NoReturn

from gatewayd.agents.base import AgentFailed, Output, ReasoningOutput, TextOutput, ToolCompleted, ToolStarted
from gatewayd.agents.emitting import Emits
from gatewayd.agents.goal import AgentGoal
from gatewayd.agents.graph.scope import within
from gatewayd.agents.state import AgentState
from gatewayd.core.agents import DEFAULT_KEY
from gatewayd.core.catalogue import CATALOGUE, Emitter
from gatewayd.core.checkpoint import BegunCall, CheckpointKind
from gatewayd.core.clock import Clock
from gatewayd.core.errors import InvalidArgument
from gatewayd.core.event import Event, EventType
from gatewayd.core.execution_log import LogKind
from gatewayd.core.topic import check_topic
from gatewayd.core.work import Execution
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.execution_log import ExecutionLog
from gatewayd.runtime.lanes import Lanes
from gatewayd.runtime.leaving import Leaving
from gatewayd.runtime.live import LiveExecution
from gatewayd.runtime.speaking import Voice
from gatewayd.wire import with_wire

Tell = Callable[[Event], None]
"""Takes the events of an agent: to the log, or to the bus alone."""


class ExecutionContext(Emits):
    """What every `AgentContext` has in common."""

    def __init__(
        self,
        execution: Execution,
        clock: Clock,
        events: ExecutionEvents,
        tell: Tell,
        *,
        state: AgentState,
        goal: AgentGoal | None,
        voice: Voice,
    ) -> None:
        self._execution = execution
        self._events = events
        self._tell = tell
        self._voice = voice
        self.clock = clock
        self.state = state
        self.goal = goal

    @property
    def execution_id(self) -> str:
        return self._execution.id

    @property
    def trace(self) -> str:
        """See `AgentContext.trace`."""
        return self._voice.trace

    async def send(self, agent: str, message: object, *, key: str = DEFAULT_KEY, timeout: float | None = None) -> Any:
        """See `Sends.send`."""
        return await self._voice.send(agent, message, key=key, timeout=timeout)

    async def publish(self, topic: str, message: object) -> int:
        """See `Sends.publish`."""
        return await self._voice.publish(topic, message)

    def as_agent(self, agent: str) -> Voice:
        """See `Sends.as_agent`."""
        return self._voice.as_agent(agent)

    def emit(
        self,
        kind: EventType,
        data: Mapping[str, Any],
        *,
        node_id: str = "",
        topic: str = "",
        custom_type: str = "",
        ephemeral: bool = False,
    ) -> None:
        """See `Emits.emit`."""
        row = CATALOGUE[kind]
        if row.emitter is Emitter.SERVER:
            raise InvalidArgument(f"{kind.label} events are the gateway's own to emit")
        if bool(custom_type) != (kind is EventType.CUSTOM) or (ephemeral and kind is not EventType.CUSTOM):
            raise InvalidArgument(
                f"custom_type and ephemeral are for custom events, and needed there; not {kind.label}"
            )
        if "node_id" in row.requires and not node_id:
            raise InvalidArgument(f"node_id is required for {kind.label}")
        event = self._events.make(
            self._execution,
            kind,
            data,
            node_id=node_id,
            topic=check_topic(topic) if topic else "",
            custom_type=custom_type,
            durable=row.durable and not ephemeral,
        )
        self._tell(with_wire(event))


class RunContext(ExecutionContext):
    """The `AgentContext` of one execution."""

    def __init__(
        self,
        live: LiveExecution,
        clock: Clock,
        lanes: Lanes,
        events: ExecutionEvents,
        tell: Tell,
        *,
        state: AgentState,
        goal: AgentGoal | None,
        voice: Voice,
        leaving: Leaving,
        notes: ExecutionLog,
        deadline: float | None,
    ) -> None:
        super().__init__(live.execution, clock, events, tell, state=state, goal=goal, voice=voice)
        self._live = live
        self._lanes = lanes
        self.deadline = deadline
        self._leaving = leaving
        self._notes = notes
        kept = leaving.restart.checkpoint
        self._resumed: Mapping[str, Any] | None = json.loads(kept.state) if kept is not None else None

    @property
    def resumed(self) -> Mapping[str, Any] | None:
        return self._resumed

    @property
    def inputs(self) -> Mapping[str, str]:
        return self._leaving.inputs

    async def checkpoint(
        self, state: Mapping[str, Any], *, node_id: str = "", at: Literal["start", "complete"] = "complete"
    ) -> None:
        """See `AgentContext.checkpoint`."""
        await self._leaving.checkpoint(state, node_id, CheckpointKind(at))

    async def wait_for_input(
        self, prompt: str, state: Mapping[str, Any], *, node_id: str = "", client_facing: bool = True
    ) -> NoReturn:
        """See `AgentContext.wait_for_input`."""
        await self._leaving.wait(prompt, state, node_id, client_facing=client_facing)

    def log_step(self, text: str, *, input_tokens: int = 0, output_tokens: int = 0, node_id: str = "") -> None:
        """See `Emits.log_step`."""
        self._notes.note(LogKind.STEP, text, node_id, input_tokens=input_tokens, output_tokens=output_tokens)

    def take_steering(self) -> Sequence[str]:
        """See `AgentContext.take_steering`."""
        self._leaving.check_there()
        taken = self._lanes.take_steerable(self._live.execution.session_id)
        self._live.absorbed.extend(taken)
        return [one.execution.text for one in taken]


class HandlingContext(ExecutionContext):
    """The `AgentContext` of an agent that handles a message within somebody's execution; it is a node of that.

    Only the execution itself leaves and comes back: after that its agent asks again. So nothing is kept here, and
    nobody can be waited for.
    """

    def __init__(
        self,
        name: str,
        execution: Execution,
        clock: Clock,
        events: ExecutionEvents,
        tell: Tell,
        *,
        state: AgentState,
        goal: AgentGoal | None,
        voice: Voice,
        deadline: float,
        begin: Callable[[BegunCall, Event], Awaitable[None]],
        complete: Callable[[str, Event], None],
        message: Callable[[], str],
    ) -> None:
        """`begin` and `complete` record calls of tools, and `message` names the message that is handled here."""
        super().__init__(execution, clock, events, tell, state=state, goal=goal, voice=voice)
        self._name = name
        self._begin = begin
        self._complete = complete
        self._message = message
        self.deadline: float | None = deadline
        self.resumed: Mapping[str, Any] | None = None
        self.inputs: Mapping[str, str] = MappingProxyType({})

    async def checkpoint(
        self, state: Mapping[str, Any], *, node_id: str = "", at: Literal["start", "complete"] = "complete"
    ) -> None:
        """Nothing is kept, see above."""

    async def wait_for_input(
        self, prompt: str, state: Mapping[str, Any], *, node_id: str = "", client_facing: bool = True
    ) -> NoReturn:
        """`AgentFailed`, see above."""
        del state, node_id, client_facing
        cause = f"it would wait for input within execution {self.execution_id}: {prompt!r}"
        raise AgentFailed(f"{self._name} cannot ask anybody while it is asked itself.", cause=cause)

    def take_steering(self) -> Sequence[str]:
        """None: what is said in the session meanwhile is for the agent of the session."""
        return ()

    def emit(
        self,
        kind: EventType,
        data: Mapping[str, Any],
        *,
        node_id: str = "",
        topic: str = "",
        custom_type: str = "",
        ephemeral: bool = False,
    ) -> None:
        """See `Emits.emit`."""
        node = node_id or self._name
        super().emit(kind, data, node_id=node, topic=topic, custom_type=custom_type, ephemeral=ephemeral)

    async def put_out(self, output: Output) -> None:
        """Tell of an output: its text is a node's, and no part of the execution's answer by itself."""
        match output:
            case TextOutput(content):
                if not self._events.unheard(EventType.NODE_INTERNAL_OUTPUT):
                    self.emit_node_internal_output(self._name, content)
            case ReasoningOutput(content):
                self.emit_llm_reasoning_delta(content)
            case ToolStarted(tool_use_id, tool_name, tool_input):
                call_id = self._call_id(tool_use_id)
                data = {"tool_use_id": call_id, "tool_name": tool_name, "tool_input": tool_input}
                event = self._event(EventType.TOOL_CALL_STARTED, data, output.node_id)
                await self._begin(BegunCall(self.execution_id, call_id, tool_name, event.time), event)
            case ToolCompleted(tool_use_id, tool_name, result, is_error):
                call_id = self._call_id(tool_use_id)
                done: dict[str, Any] = {
                    "tool_use_id": call_id,
                    "tool_name": tool_name,
                    "result": result,
                    "is_error": is_error,
                }
                self._complete(call_id, self._event(EventType.TOOL_CALL_COMPLETED, done, output.node_id))

    def _call_id(self, tool_use_id: str) -> str:
        """One that no call of another message of the execution has."""
        return f"{self._message()}/{tool_use_id}"

    def _event(self, kind: EventType, data: Mapping[str, Any], node_id: str) -> Event:
        return with_wire(self._events.make(self._execution, kind, data, node_id=within(self._name, node_id)))

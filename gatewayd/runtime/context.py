"""What a running agent may use of the runtime."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal, NoReturn

from gatewayd.agents.emitting import Emits
from gatewayd.agents.state import AgentState
from gatewayd.core.catalogue import CATALOGUE, Emitter
from gatewayd.core.checkpoint import CheckpointKind
from gatewayd.core.clock import Clock
from gatewayd.core.errors import InvalidArgument
from gatewayd.core.event import Event, EventType
from gatewayd.core.execution_log import LogKind
from gatewayd.core.topic import check_topic
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.execution_log import ExecutionLog
from gatewayd.runtime.lanes import Lanes
from gatewayd.runtime.leaving import Leaving
from gatewayd.runtime.live import LiveExecution
from gatewayd.wire import with_wire


class RunContext(Emits):
    """The `AgentContext` of one execution. `tell` takes its events: to the log, or to the bus alone."""

    def __init__(
        self,
        live: LiveExecution,
        clock: Clock,
        lanes: Lanes,
        events: ExecutionEvents,
        tell: Callable[[Event], None],
        *,
        state: AgentState,
        leaving: Leaving,
        notes: ExecutionLog,
        deadline: float | None,
    ) -> None:
        self._live = live
        self._lanes = lanes
        self._events = events
        self._tell = tell
        self.clock = clock
        self.state = state
        self.deadline = deadline
        self._leaving = leaving
        self._notes = notes
        kept = leaving.restart.checkpoint
        self._resumed: Mapping[str, Any] | None = json.loads(kept.state) if kept is not None else None

    @property
    def execution_id(self) -> str:
        return self._live.execution.id

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
        taken = self._lanes.take_steerable(self._live.execution.session_id)
        self._live.absorbed.extend(taken)
        return [one.execution.text for one in taken]

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
        event = replace(
            self._events.make(self._live.execution, kind, data),
            node_id=node_id,
            topic=check_topic(topic) if topic else "",
            custom_type=custom_type,
            durable=row.durable and not ephemeral,
        )
        self._tell(with_wire(event))

"""What a running agent may use of the runtime."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from gatewayd.agents.emitting import Emits
from gatewayd.agents.goal import AgentGoal
from gatewayd.agents.state import AgentState
from gatewayd.core.catalogue import CATALOGUE, Emitter
from gatewayd.core.clock import Clock
from gatewayd.core.errors import InvalidArgument
from gatewayd.core.event import Event, EventType
from gatewayd.core.topic import check_topic
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.lanes import Lanes
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
        goal: AgentGoal | None = None,
    ) -> None:
        self._live = live
        self._lanes = lanes
        self._events = events
        self._tell = tell
        self.clock = clock
        self.state = state
        self.goal = goal

    @property
    def execution_id(self) -> str:
        return self._live.execution.id

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

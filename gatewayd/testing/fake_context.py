"""An `AgentContext` for running an agent by itself, without a runtime."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NoReturn

from gatewayd.agents.base import Suspended
from gatewayd.agents.emitting import Emits
from gatewayd.agents.goal import AgentGoal
from gatewayd.agents.state import AgentState
from gatewayd.core.clock import Clock
from gatewayd.core.event import EventType
from gatewayd.testing.fake_state import FakeState


@dataclass(slots=True)
class FakeContext(Emits):
    """An `AgentContext` for running an agent by itself."""

    clock: Clock
    execution_id: str = "execution-1"
    steering: list[str] = field(default_factory=list)
    emitted: list[tuple[EventType, Mapping[str, Any]]] = field(default_factory=list)
    """What it told beside its outputs: types and data."""
    state: AgentState = field(default_factory=FakeState)
    goal: AgentGoal | None = None
    sent: list[tuple[str, str, object]] = field(default_factory=list)
    """Whom it asked what: agent, key and message."""
    replies: dict[str, Any] = field(default_factory=dict)
    """What each agent answers it."""
    published: list[tuple[str, object]] = field(default_factory=list)
    deadline: float | None = None
    resumed: Mapping[str, Any] | None = None
    inputs: Mapping[str, str] = field(default_factory=dict)
    checkpoints: list[tuple[str, str, Mapping[str, Any]]] = field(default_factory=list)
    """What it kept: node, `start`, `complete` or `wait`, and the state."""
    steps: list[tuple[str, int, int]] = field(default_factory=list)
    """What it logged: text, and tokens in and out."""
    pausing: bool = False
    """Whether the next checkpoint ends the run."""

    def emit(self, kind: EventType, data: Mapping[str, Any], **envelope: Any) -> None:
        del envelope
        self.emitted.append((kind, data))

    def log_step(self, text: str, *, input_tokens: int = 0, output_tokens: int = 0, node_id: str = "") -> None:
        del node_id
        self.steps.append((text, input_tokens, output_tokens))

    async def checkpoint(
        self, state: Mapping[str, Any], *, node_id: str = "", at: Literal["start", "complete"] = "complete"
    ) -> None:
        self.checkpoints.append((node_id, at, json.loads(json.dumps(state))))
        self.inputs = {}
        if self.pausing:
            raise Suspended

    async def wait_for_input(
        self, prompt: str, state: Mapping[str, Any], *, node_id: str = "", client_facing: bool = True
    ) -> NoReturn:
        kind = EventType.CLIENT_INPUT_REQUESTED if client_facing else EventType.NODE_INPUT_BLOCKED
        self.emitted.append((kind, {"prompt": prompt}))
        self.checkpoints.append((node_id, "wait", json.loads(json.dumps(state))))
        raise Suspended

    async def send(self, agent: str, message: object, *, key: str = "default", timeout: float | None = None) -> Any:
        del timeout
        self.sent.append((agent, key, message))
        return self.replies.get(agent)

    async def publish(self, topic: str, message: object) -> int:
        self.published.append((topic, message))
        return 0

    def as_agent(self, agent: str) -> "FakeContext":
        del agent
        return self

    def take_steering(self) -> Sequence[str]:
        taken, self.steering = tuple(self.steering), []
        return taken

"""What the agent of a node may use: the execution's context, with everything that it tells told of the node."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, NoReturn

from gatewayd.agents.base import AgentContext
from gatewayd.agents.emitting import Emits
from gatewayd.agents.goal import AgentGoal
from gatewayd.agents.graph.progress import Progress
from gatewayd.agents.messages import Sends
from gatewayd.agents.state import AgentState
from gatewayd.config.graphs import NodeSection
from gatewayd.core.agents import DEFAULT_KEY
from gatewayd.core.clock import Clock
from gatewayd.core.event import EventType


class NodeContext(Emits):
    """The `AgentContext` of one visit to a node. Nodes of a graph inside of a node are called `OUTER/INNER`."""

    def __init__(self, outer: AgentContext, node_id: str, node: NodeSection, progress: Progress) -> None:
        self._outer = outer
        self._voice: Sends = outer.as_agent(node.agent) if node.agent else outer
        self._node_id = node_id
        self._node = node
        self._progress = progress
        self.resumed: Mapping[str, Any] | None = progress.inner
        self.touched = outer.clock.monotonic()
        """When the agent last did something that can be seen, by the monotonic clock."""

    @property
    def execution_id(self) -> str:
        return self._outer.execution_id

    @property
    def clock(self) -> Clock:
        return self._outer.clock

    @property
    def state(self) -> AgentState:
        return self._outer.state

    @property
    def goal(self) -> AgentGoal | None:
        return self._outer.goal

    @property
    def deadline(self) -> float | None:
        return self._outer.deadline

    @property
    def inputs(self) -> Mapping[str, str]:
        """See `AgentContext.inputs`: those of this node, and of the nodes inside."""
        inner = f"{self._node_id}/"
        return {
            node.removeprefix(inner) if node != self._node_id else "": content
            for node, content in self._outer.inputs.items()
            if node == self._node_id or node.startswith(inner)
        }

    async def send(self, agent: str, message: object, *, key: str = DEFAULT_KEY, timeout: float | None = None) -> Any:
        """See `Sends.send`."""
        self.touched = self.clock.monotonic()
        reply = await self._voice.send(agent, message, key=key, timeout=timeout)
        self.touched = self.clock.monotonic()
        return reply

    async def publish(self, topic: str, message: object) -> int:
        """See `Sends.publish`."""
        return await self._voice.publish(topic, message)

    def as_agent(self, agent: str) -> Sends:
        """See `Sends.as_agent`."""
        return self._outer.as_agent(agent)

    def take_steering(self) -> Sequence[str]:
        """See `AgentContext.take_steering`."""
        return self._outer.take_steering()

    def log_step(self, text: str, *, input_tokens: int = 0, output_tokens: int = 0, node_id: str = "") -> None:
        """See `Emits.log_step`; the graph counts the tokens."""
        self.touched = self.clock.monotonic()
        self._progress.tokens += input_tokens + output_tokens
        self._outer.log_step(
            text, input_tokens=input_tokens, output_tokens=output_tokens, node_id=self._scoped(node_id)
        )

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
        self.touched = self.clock.monotonic()
        self._outer.emit(
            kind, data, node_id=self._scoped(node_id), topic=topic, custom_type=custom_type, ephemeral=ephemeral
        )

    async def checkpoint(
        self, state: Mapping[str, Any], *, node_id: str = "", at: Literal["start", "complete"] = "complete"
    ) -> None:
        """See `AgentContext.checkpoint`; the graph's own place is kept with it."""
        self.touched = self.clock.monotonic()
        self._progress.inner = state
        await self._outer.checkpoint(self._progress.state(), node_id=self._scoped(node_id), at=at)

    async def wait_for_input(
        self,
        prompt: str,
        state: Mapping[str, Any],
        *,
        node_id: str = "",
        client_facing: bool = True,
    ) -> NoReturn:
        """See `AgentContext.wait_for_input`. Who may be asked, the client or not, says the node."""
        self._progress.inner = state
        self._progress.asked = True
        facing = client_facing and self._node.client_facing
        await self._outer.wait_for_input(
            prompt, self._progress.state(), node_id=self._scoped(node_id), client_facing=facing
        )

    def _scoped(self, node_id: str) -> str:
        return within(self._node_id, node_id)


def within(node_id: str, inner: str) -> str:
    """What a node inside of a node is called; the outer one where there is none inside."""
    return f"{node_id}/{inner}" if inner else node_id

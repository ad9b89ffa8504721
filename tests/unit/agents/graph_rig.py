"""Walks a graph without a runtime: agents of a few lines, a context that keeps what it is told, and runs that go on."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, NoReturn

import yaml

from gatewayd.agents.base import AgentContext, Output, Suspended, TextOutput, Turn
from gatewayd.agents.graph.agent import GraphAgent
from gatewayd.agents.graph.doing import NodeAgent
from gatewayd.agents.graph.plan import Graph
from gatewayd.agents.tools.registry import ToolRegistry
from gatewayd.config.checking import read
from gatewayd.config.graphs import GraphSection
from gatewayd.core.errors import AgentNotFound
from gatewayd.core.event import EventType
from gatewayd.testing.fakes import EvenRandomness, FakeClock, FakeContext

Run = Callable[[Turn, AgentContext], AsyncIterator[Output]]


@dataclass
class Fn:
    """An agent that is one function."""

    run: Run
    timeout: float = 60.0
    asks: tuple[str, ...] = ()

    def begun(self) -> "Fn":
        return self


def says(answer: Callable[[str], str] | str) -> Fn:
    """An agent that answers so."""

    async def run(turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        del ctx
        yield TextOutput(answer if isinstance(answer, str) else answer(turn.text))

    return Fn(run)


@dataclass
class NodeTeller(FakeContext):
    """A `FakeContext` that keeps the node of what it is told."""

    told: list[tuple[str, str, Mapping[str, Any]]] = field(default_factory=list)

    def emit(self, kind: EventType, data: Mapping[str, Any], **envelope: Any) -> None:
        self.told.append((kind.label, envelope.get("node_id", ""), data))

    async def wait_for_input(
        self, prompt: str, state: Mapping[str, Any], *, node_id: str = "", client_facing: bool = True
    ) -> NoReturn:
        kind = EventType.CLIENT_INPUT_REQUESTED if client_facing else EventType.NODE_INPUT_BLOCKED
        self.emit(kind, {"prompt": prompt}, node_id=node_id)
        await FakeContext.wait_for_input(self, prompt, state, node_id=node_id, client_facing=client_facing)


@dataclass
class Rig:
    """One graph; `agents` and `tools` may be changed in between."""

    text: str
    agents: dict[str, Fn] = field(default_factory=dict)
    tools: dict[str, Any] = field(default_factory=dict)
    clock: FakeClock = field(default_factory=FakeClock)

    def graph(self, text: str = "", entry: str = "") -> GraphAgent:
        section = read(GraphSection, yaml.safe_load(text or self.text))
        tools = ToolRegistry({name: lambda tool=tool: tool for name, tool in self.tools.items()})
        return GraphAgent(
            Graph.of("g", section, entry), find=self.find, tools=tools, randomness=EvenRandomness(), needed=nullcontext
        )

    def find(self, name: str) -> NodeAgent:
        if name not in self.agents:
            raise AgentNotFound(f"there is no agent {name!r}")
        return self.agents[name]

    def context(self, resumed: Mapping[str, Any] | None = None, **inputs: str) -> NodeTeller:
        return NodeTeller(self.clock, resumed=resumed, inputs=inputs)

    async def run(self, ctx: NodeTeller | None = None, *, task: str = "go", graph: GraphAgent | None = None) -> str:
        """The answer; whatever it raises passes."""
        ctx = ctx or self.context()
        said = []

        async def collect() -> str:
            async for output in (graph or self.graph()).run(Turn(task, "s", "p"), ctx):
                if isinstance(output, TextOutput):
                    said.append(output.content)
            return "".join(said)

        return await self.clock.run(collect())

    async def leaves(self, ctx: NodeTeller, **more: Any) -> Mapping[str, Any]:
        """It does not end but waits; what it left behind."""
        try:
            answer = await self.run(ctx, **more)
        except Suspended:
            return ctx.checkpoints[-1][2]
        raise AssertionError(f"it ended with {answer!r}")


def path(ctx: NodeTeller) -> list[str]:
    """The nodes that were begun."""
    return [node for node, at, _ in ctx.checkpoints if at == "start"]

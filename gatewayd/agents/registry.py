"""The agents of the running configuration, by name.

A reload builds the new ones beside the old (`plan` → prepare), and one assignment makes them current (commit); agents
whose settings did not change stay the same objects. An agent that cannot run now (an unset secret) is kept with the
reason, so that asking for it says why.
"""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import replace
from enum import StrEnum
from types import MappingProxyType

from gatewayd.agents.base import Agent, AgentContext, Output, Turn
from gatewayd.agents.factory import AgentFactory, Blueprint
from gatewayd.agents.graph.agent import GraphAgent
from gatewayd.agents.graph.names import graph_of
from gatewayd.agents.graph.plan import Graph
from gatewayd.agents.llm import LLMAgent
from gatewayd.config.model import AgentSection, GatewayConfig, GraphSection
from gatewayd.core.errors import AgentNotFound, ConfigInvalid, GatewayError, InvalidArgument, Unavailable, Violation
from gatewayd.core.lifecycle import Change
from gatewayd.core.value import value
from gatewayd.providers.breaker import BreakerStats

_PATH = "agents."
_NOTHING: Mapping[str, str] = MappingProxyType({})


class AgentKind(StrEnum):
    """Who answers for an agent."""

    MODEL = "model"
    PYTHON = "python"
    REMOTE = "remote"
    """Programs that register for it (workers)."""
    GRAPH = "graph"


@value(frozen=True, slots=True)
class AgentInfo:
    """What ListAgents tells of one agent."""

    name: str
    models: tuple[str, ...]
    """The model and its fallbacks, in the order in which they are tried."""
    tools: tuple[str, ...]
    timeout: float
    greeting: str
    unavailable: str
    """Why it cannot run now; '' when it can."""
    kind: AgentKind = AgentKind.MODEL


@value(frozen=True, slots=True)
class RegisteredAgent:
    """An agent with its limits. It is an `Agent` itself."""

    name: str
    agent: Agent
    timeout: float
    """Seconds that one turn may take, tools included."""
    greeting: str = ""
    models: tuple[str, ...] = ()
    tools: tuple[str, ...] = ()
    blueprint: Blueprint | None = None
    """What it was built from; an equal one need not be built again. None for a graph that is no agent."""

    def run(self, turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        return self.agent.run(turn, ctx)

    @property
    def asks(self) -> Collection[str]:
        """See `NodeAgent`."""
        return self.agent.asks if isinstance(self.agent, GraphAgent) else ()

    def begun(self) -> "RegisteredAgent":
        """See `NodeAgent`."""
        return replace(self, agent=self.agent.begun()) if isinstance(self.agent, GraphAgent) else self


@value(frozen=True, slots=True)
class _Generation:
    agents: Mapping[str, RegisteredAgent]
    unavailable: Mapping[str, str]
    infos: Mapping[str, AgentInfo]
    """By name, in the order of the configuration."""
    graphs: Mapping[str, GraphSection]


class AgentRegistry:
    """Hands out agents; made once per daemon, empty until the first change is committed."""

    def __init__(self, factory: AgentFactory) -> None:
        self._factory = factory
        self.workers = factory.workers
        """Who answers for the remote ones."""
        self._current = _Generation({}, {}, {}, {})

    def names(self) -> Sequence[str]:
        """All configured agents, those that cannot run now included."""
        return list(self._current.infos)

    def knows(self, name: str) -> bool:
        """Whether it is one of them."""
        return name in self._current.infos

    def is_remote(self, name: str) -> bool:
        """Whether it is one of them that workers answer for."""
        info = self._current.infos.get(name)
        return info is not None and info.kind is AgentKind.REMOTE

    def get(self, name: str) -> RegisteredAgent:
        """The agent, or the graph that `graph.names` calls so; `AgentNotFound`, or `Unavailable` with the reason."""
        if (named := graph_of(name)) is not None:
            return self._graph(name, *named)
        agent = self._current.agents.get(name)
        if agent is not None:
            return agent
        if name in self._current.unavailable:
            raise Unavailable(f"agent {name} is not available: {self._current.unavailable[name]}")
        raise AgentNotFound(f"there is no agent {name!r}", metadata={"agent": name})

    def _graph(self, name: str, graph: str, entry_node: str) -> RegisteredAgent:
        section = self._current.graphs.get(graph)
        if section is None:
            raise AgentNotFound(f"there is no graph {graph!r}", metadata={"graph": graph})
        if entry_node and entry_node not in section.nodes:
            raise AgentNotFound(f"the graph {graph!r} has no node {entry_node!r}", metadata={"graph": graph})
        agent = self._factory.graph_agent(Graph.of(graph, section, entry_node), self.get)
        return RegisteredAgent(name=name, agent=agent, timeout=section.timeout)

    def check_remote(self, name: str) -> None:
        """Raise `AgentNotFound`, or `InvalidArgument` for an agent that is none of those that workers answer for."""
        if (error := self._not_remote(name)) is not None:
            raise error

    def _not_remote(self, name: str, before: str = "", after: str = "") -> GatewayError | None:
        if not self.knows(name):
            return AgentNotFound(f"{before}there is no agent {name!r}{after}", metadata={"agent": name})
        if not self.is_remote(name):
            why = f"agent {name} is answered for inside the daemon: agents.{name}.remote is not set"
            return InvalidArgument(before + why + after, metadata={"agent": name})
        return None

    def parted(self, name: str) -> GatewayError | None:
        """Why workers do not answer for the agent any more; None if they do."""
        return self._not_remote(name, "a reload has ended the registration: ", "; register again when it is back")

    def describe(self) -> Sequence[AgentInfo]:
        """All configured agents in the order of the configuration."""
        return tuple(self._current.infos.values())

    def model_stats(self) -> Sequence[BreakerStats]:
        """The models that were called, and how they do."""
        return self._factory.breakers.stats()

    def tool_stats(self) -> Mapping[str, Mapping[str, int]]:
        """Counts of tool calls per agent since it was built: `calls`, `refused`, `failed`."""
        agents = {name: registered.agent for name, registered in self._current.agents.items()}
        return {name: agent.tool_stats() for name, agent in agents.items() if isinstance(agent, LLMAgent)}

    def problems(self, config: GatewayConfig, unavailable: Mapping[str, str] = _NOTHING) -> Sequence[Violation]:
        """What this configuration asks of models and tools that they cannot give; for `--check` and every load."""
        return self._factory.problems(config, _agents_in(unavailable))

    def plan(self, old: GatewayConfig | None, new: GatewayConfig, unavailable: Mapping[str, str] = _NOTHING) -> Change:  # noqa: ARG002
        """The change to a new configuration; unchanged agents are found by what they are, so `old` is not asked.

        `unavailable` is the loader's: `agents.<name>` → why it cannot run now.
        """
        return _AgentsChange(self, new, _agents_in(unavailable))

    async def close(self) -> None:
        """Close every provider, at the end of its last stream, and wait for no worker."""
        await self.workers.close()
        await self._factory.providers.keep(())


def _agents_in(unavailable: Mapping[str, str]) -> dict[str, str]:
    """Agent → reason, out of the loader's paths."""
    return {path.removeprefix(_PATH): why for path, why in unavailable.items() if path.startswith(_PATH)}


def _kind(section: AgentSection) -> AgentKind:
    if section.is_model:
        return AgentKind.MODEL
    if section.graph:
        return AgentKind.GRAPH
    return AgentKind.PYTHON if section.python_class else AgentKind.REMOTE


class _AgentsChange:
    """One reload's part for agents; see `core.lifecycle.Change`."""

    def __init__(self, registry: AgentRegistry, config: GatewayConfig, unavailable: Mapping[str, str]) -> None:
        self._registry = registry
        self._factory = registry._factory
        self._config = config
        self._unavailable = unavailable
        self._next: _Generation | None = None

    async def prepare(self) -> None:
        if problems := self._factory.problems(self._config, self._unavailable):
            raise ConfigInvalid("the agents cannot be built: " + problems[0].description, violations=problems)
        blueprints = [
            self._factory.blueprint(name, self._config) for name in self._config.agents if name not in self._unavailable
        ]
        await self._factory.open(blueprints)
        agents = {blueprint.name: self._reused(blueprint) or self._build(blueprint) for blueprint in blueprints}
        infos = {name: self._info(name, agents.get(name)) for name in self._config.agents}
        self._next = _Generation(agents, self._unavailable, infos, self._config.graphs)

    def commit(self) -> None:
        if self._next is not None:
            self._registry._current = self._next
            self._registry.workers.reconnect_timeout = self._config.gateway.reconnect_timeout
            self._registry.workers.parting.part(self._registry.parted)

    async def retire(self) -> None:
        await self._let_go()

    async def abandon(self) -> None:
        self._next = None
        await self._let_go()

    async def _let_go(self) -> None:
        """Close what the current agents do not need; after an abandoned change those are the old ones."""
        blueprints = [agent.blueprint for agent in self._registry._current.agents.values() if agent.blueprint]
        self._factory.breakers.keep(key for blueprint in blueprints for key in blueprint.reached())
        self._factory.keep([blueprint.name for blueprint in blueprints])
        await self._factory.providers.keep(self._factory.provider_names(blueprints))

    def _reused(self, blueprint: Blueprint) -> RegisteredAgent | None:
        old = self._registry._current.agents.get(blueprint.name)
        return old if old is not None and old.blueprint == blueprint else None

    def _build(self, blueprint: Blueprint) -> RegisteredAgent:
        section = blueprint.section
        return RegisteredAgent(
            name=blueprint.name,
            agent=self._factory.build(blueprint, self._registry.get),
            timeout=section.timeout,
            greeting=section.greeting,
            models=blueprint.models,
            tools=blueprint.tools,
            blueprint=blueprint,
        )

    def _info(self, name: str, agent: RegisteredAgent | None) -> AgentInfo:
        section = self._config.agents[name]
        blueprint = agent.blueprint if agent and agent.blueprint else self._factory.blueprint(name, self._config)
        why = "" if agent is not None else self._unavailable[name]
        return AgentInfo(
            name, blueprint.models, blueprint.tools, section.timeout, section.greeting, why, _kind(section)
        )

"""From a section of gateway.yaml to an agent: which models, reached how, with which tools."""

from collections.abc import Callable, Collection, Container, Iterable, Iterator, Sequence

from gatewayd.agents.base import Agent
from gatewayd.agents.graph.agent import GraphAgent
from gatewayd.agents.graph.doing import NodeAgent
from gatewayd.agents.graph.plan import Graph
from gatewayd.agents.llm import LLMAgent
from gatewayd.agents.python import PythonAgents
from gatewayd.agents.remote import RemoteAgent
from gatewayd.agents.tools.builtin import DEFAULT_TOOLS
from gatewayd.agents.tools.registry import ToolRegistry
from gatewayd.agents.tools.toolbox import Toolbox
from gatewayd.agents.workers import Workers
from gatewayd.config.model import AgentSection, GatewayConfig, GraphSection
from gatewayd.core.clock import Clock, Randomness
from gatewayd.core.errors import Violation
from gatewayd.core.ids import IdSource
from gatewayd.core.secret import Secret
from gatewayd.core.value import value
from gatewayd.plugins import PluginError
from gatewayd.providers.base import LLMProvider
from gatewayd.providers.breaker import Breakers
from gatewayd.providers.fallback import FallbackProvider, Target
from gatewayd.providers.offline import known_model
from gatewayd.providers.pool import ProviderPool


@value(frozen=True, slots=True)
class Blueprint:
    """All that decides how an agent behaves; equal blueprints make equal agents."""

    name: str
    section: AgentSection
    models: tuple[str, ...]
    """The model, then its fallbacks; empty only where no model answers."""
    base_url: str
    api_key: Secret | None
    tools: tuple[str, ...]
    call_timeout: float
    """Seconds until a model's first delta, and between one and the next."""
    retries: int
    graph: GraphSection | None = None
    """The graph that answers."""

    def reach(self, model: str) -> tuple[str, Secret | None]:
        """Address and key for a model: the configured ones are for the vendor of the main model.

        Nobody else gets the key; other vendors' models are reached as LiteLLM finds them.
        """
        return (self.base_url, self.api_key) if _vendor(model) == _vendor(self.models[0]) else ("", None)

    def reached(self) -> Iterator[tuple[str, str]]:
        """The breakers that it uses."""
        for model in self.models:
            yield model, self.reach(model)[0]


class AgentFactory:
    """Builds agents; holds what they share."""

    def __init__(
        self,
        *,
        providers: ProviderPool,
        tools: ToolRegistry,
        python: PythonAgents,
        breakers: Breakers,
        clock: Clock,
        randomness: Randomness,
    ) -> None:
        self.workers = Workers(clock, IdSource(clock, randomness))
        self.providers = providers
        self.breakers = breakers
        self._python = python
        self._tools = tools
        self._clock = clock
        self._randomness = randomness
        self._opened: dict[str, LLMProvider] = {}

    def blueprint(self, name: str, config: GatewayConfig) -> Blueprint:
        """How the agent of this name is to be built; the configuration must have no `problems`."""
        section, shared = config.agents[name], config.provider
        return Blueprint(
            name=name,
            section=section,
            models=(section.model or shared.model or "", *section.fallback_models) if section.is_model else (),
            base_url=section.base_url or shared.base_url or "",
            api_key=section.api_key or shared.api_key,
            tools=(DEFAULT_TOOLS if section.tools is None else section.tools) if section.is_model else (),
            call_timeout=shared.timeout,
            retries=shared.retries,
            graph=config.graphs.get(section.graph) if section.graph else None,
        )

    async def open(self, blueprints: Iterable[Blueprint]) -> None:
        """Load the providers that these need, before any is built."""
        self._opened = await self.providers.open(self.provider_names(blueprints))

    def keep(self, names: Collection[str]) -> None:
        """Let go of what agents with other names have."""
        self._python.keep(names)

    def build(self, blueprint: Blueprint, find: Callable[[str], NodeAgent]) -> Agent:
        """The agent; its providers were opened before. `find` gives a graph the agents of its nodes."""
        section = blueprint.section
        if section.graph and blueprint.graph is not None:
            return self.graph_agent(Graph.of(section.graph, blueprint.graph), find)
        if section.remote:
            return RemoteAgent(blueprint.name, self.workers, timeout=section.timeout)
        if section.python_class:
            return self._python.make(blueprint.name, section.python_class, section.options)
        return self._model_agent(blueprint)

    def graph_agent(self, graph: Graph, find: Callable[[str], NodeAgent]) -> GraphAgent:
        """The graph as an agent."""
        return GraphAgent(
            graph, find=find, tools=self._tools, randomness=self._randomness, needed=self.workers.parting.needed
        )

    def _model_agent(self, blueprint: Blueprint) -> LLMAgent:
        targets = [
            Target(self._opened[self.providers.name_for(model)], model, *blueprint.reach(model))
            for model in blueprint.models
        ]
        chain = FallbackProvider(
            targets,
            breakers=self.breakers,
            clock=self._clock,
            randomness=self._randomness,
            retries=blueprint.retries,
        )
        toolbox = Toolbox(blueprint.name, [self._tools.get(tool) for tool in blueprint.tools])
        return LLMAgent(
            blueprint.name,
            blueprint.section,
            provider=chain,
            model=blueprint.models[0],
            tools=toolbox,
            timeout=blueprint.call_timeout,
        )

    def provider_names(self, blueprints: Iterable[Blueprint]) -> set[str]:
        """The providers that answer for the models of these."""
        return {self.providers.name_for(model) for blueprint in blueprints for model in blueprint.models}

    def problems(self, config: GatewayConfig, without: Container[str]) -> Sequence[Violation]:
        """What the agents ask of models and tools that these cannot give; those `without` are passed over."""
        return [
            Violation(f"agents.{name}.{key}", problem)
            for name in config.agents
            if name not in without
            for key, problem in self._agent_problems(self.blueprint(name, config))
        ]

    def _agent_problems(self, blueprint: Blueprint) -> Iterator[tuple[str, str]]:
        section = blueprint.section
        if section.python_class:
            try:
                self._python.make(blueprint.name, section.python_class, section.options)
            except PluginError as error:
                yield "class", error.message
        for number, model in enumerate(blueprint.models):
            key = "model" if number == 0 else f"fallback_models[{number - 1}]"
            problem = known_model(model) if model else "the agent has no model"
            if problem is None and not self.providers.has(self.providers.name_for(model)):
                problem = f"there is no provider for the model {model!r}"
            if problem is not None:
                yield key, problem
        for number, tool in enumerate(blueprint.tools):
            try:
                self._tools.get(tool)
            except KeyError:
                yield f"tools[{number}]", f"there is no tool {tool}"
            except (PluginError, TypeError) as error:
                yield f"tools[{number}]", f"the tool {tool} cannot be used: {error}"


def _vendor(model: str) -> str:
    """The part of a model's name that says who runs it; '' when it does not say."""
    vendor, slash, _ = model.partition("/")
    return vendor if slash else ""

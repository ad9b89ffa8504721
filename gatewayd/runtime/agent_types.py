"""The agents of the configuration as agent types of the message engine, kept in step by reload and by workers."""

import logging
from collections.abc import Callable, Mapping

from gatewayd.agents.messages import MessageClass, handlers_of
from gatewayd.agents.registry import AgentRegistry
from gatewayd.config.messages import at_once
from gatewayd.config.model import AgentSection, GatewayConfig
from gatewayd.core.agents import TopicFilter
from gatewayd.core.clock import Clock
from gatewayd.core.errors import AlreadyExists, GatewayError
from gatewayd.core.value import value
from gatewayd.engine.base import Factory
from gatewayd.engine.engine import MessageEngine
from gatewayd.engine.handlers import HandlerAgent, register_types
from gatewayd.engine.lane import LATEST, Order, concurrent
from gatewayd.engine.subscriptions import Subscription
from gatewayd.runtime.hearing import Contexts, TextAgent, TimedHandlers

log = logging.getLogger("gatewayd.runtime")

_GONE = "the agent was taken out of the configuration"


@value(frozen=True, slots=True)
class _Made:
    """What an agent type was registered as; with other handlers its instances have to be made anew."""

    order: Order
    handlers: MessageClass | None


class AgentTypes:
    """Registers and takes back. An agent whose limits or words changed stays: they are looked up at each message."""

    def __init__(self, engine: MessageEngine, agents: AgentRegistry, contexts: Contexts, clock: Clock) -> None:
        self._engine = engine
        self._agents = agents
        self._contexts = contexts
        self._clock = clock
        self._made: dict[str, _Made] = {}
        self._configured: Mapping[str, AgentSection] = {}
        self._heard: dict[str, dict[TopicFilter, str]] = {}
        """Subscriptions that I added, by agent; the id of each."""

    def use(self, config: GatewayConfig) -> None:
        """Be in step with the agents that are current now; what runs in those that left goes on to its end."""
        self._configured = config.agents
        wanted = {name: self._wanted(name, section) for name, section in config.agents.items()}
        for name in self._made.keys() - wanted.keys():
            self._engine.retire(name, _GONE)
            del self._made[name]
            self._heard.pop(name, None)
        for name, one in wanted.items():
            made = self._made.get(name)
            if made is None:
                self._engine.register(name, self._factory(name, one), order=one.order)
                self._learn(one)
            elif made.handlers != one.handlers:
                self._engine.replace(name, self._factory(name, one), order=one.order)
                self._learn(one)
            elif made.order != one.order:
                self._engine.reorder(name, one.order)
            self._made[name] = one
            self.look(name)

    def look(self, name: str) -> None:
        """Let the agent hear what its configuration, its class and its workers name, and nothing else."""
        if name not in self._made:
            return
        wanted = self._topics(name)
        heard = self._heard.setdefault(name, {})
        for topic in heard.keys() - wanted:
            self._drop(heard.pop(topic))
        for topic in wanted - heard.keys():
            one = Subscription(topic.type, name, topic.prefix)
            try:
                self._engine.add_subscription(one)
            except AlreadyExists:  # a saved state brought it
                continue
            heard[topic] = one.id

    def _drop(self, subscription_id: str) -> None:
        try:
            self._engine.remove_subscription(subscription_id)
        except GatewayError:
            log.debug("subscription_gone", extra={"subscription": subscription_id})

    def _wanted(self, name: str, section: AgentSection) -> _Made:
        order = LATEST if section.concurrency == "latest" else concurrent(at_once(section.concurrency))
        try:
            handlers = handlers_of(self._agents.get(name).agent)
        except GatewayError:  # it cannot run now, and each message is told why
            handlers = None
        return _Made(order, handlers)

    def _factory(self, name: str, made: _Made) -> Factory:
        handlers = made.handlers
        if handlers is None:
            return lambda: TextAgent(name, self._agents, self._contexts, self._clock)
        return lambda: TimedHandlers(name, self._agents, handlers.make(), self._clock)

    def _learn(self, made: _Made) -> None:
        """The messages of its handlers can be read from bytes from now on."""
        kind = made.handlers.kind if made.handlers is not None else None
        if isinstance(kind, type) and issubclass(kind, HandlerAgent):
            try:
                register_types(kind.routes(), self._engine.serializers)
            except AlreadyExists as error:  # its construction fails for it, and tells
                log.error("message_type_taken", extra={"class": kind.__qualname__, "reason": error.message})

    def _topics(self, name: str) -> set[TopicFilter]:
        made, section = self._made[name], self._configured[name]
        found = {TopicFilter.parse(text) for text in (*section.topics, *self._agents.workers.topics(name))}
        kind = made.handlers.kind if made.handlers is not None else None
        found |= {TopicFilter(topic) for topic in getattr(kind, "topics", ())}
        return found | {TopicFilter(topic, prefix=True) for topic in getattr(kind, "topic_prefixes", ())}


class TypesChange:
    """One reload's part for the engine; see `core.lifecycle.Change`. After that of the agents."""

    def __init__(self, types: AgentTypes, config: GatewayConfig, committed: Callable[[], None]) -> None:
        self._types = types
        self._config = config
        self._committed = committed

    async def prepare(self) -> None:
        return None

    def commit(self) -> None:
        self._types.use(self._config)
        self._committed()

    async def retire(self) -> None:
        """Nothing: the engine waits for the handlers that run, which may take their time."""

    async def abandon(self) -> None:
        return None

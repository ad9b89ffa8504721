"""The in-process message engine: agents by type and key, messages to one of them or about a topic.

I own the instances of agents and the messages on their way. I never decide who may talk to whom (`admit` does, given by
the daemon), I never write to the store by myself (`state` does), and nothing that I hold is unbounded (`Limits`).
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, cast

from gatewayd.core.agents import DEFAULT_KEY, AgentId, TopicId, check_agent_type
from gatewayd.core.clock import Clock
from gatewayd.core.errors import AgentNotFound, NotFound, Unavailable
from gatewayd.core.ids import IdSource
from gatewayd.core.lifecycle import State
from gatewayd.core.tracing import Tracer
from gatewayd.engine.base import Admission, Factory, MessageAgent, StateStore
from gatewayd.engine.errors import AgentTypeExists
from gatewayd.engine.events import EventSink
from gatewayd.engine.handlers import Function, FunctionAgent, HandlerAgent, register_types
from gatewayd.engine.keeping import LoadReport
from gatewayd.engine.lane import SERIAL, Order, Registration
from gatewayd.engine.limits import Limits
from gatewayd.engine.posting import Posting
from gatewayd.engine.subscriptions import Subscription, direct
from gatewayd.engine.traffic import EngineStats, InstanceLoad
from gatewayd.service import Deadline

_LIMITS = Limits()


class MessageEngine(Posting):
    """One engine; its methods are for the thread of its loop."""

    def __init__(
        self,
        *,
        clock: Clock,
        ids: IdSource,
        limits: Limits = _LIMITS,
        sink: EventSink | None = None,
        tracer: Tracer | None = None,
        admit: Admission | None = None,
        state: StateStore | None = None,
        ignore_unhandled_exceptions: bool = True,
    ) -> None:
        super().__init__(
            clock=clock,
            ids=ids,
            limits=limits,
            sink=sink,
            tracer=tracer,
            admit=admit,
            state=state,
            ignore_unhandled_exceptions=ignore_unhandled_exceptions,
        )
        self._store = state

    # Agents

    def register(
        self,
        agent_type: str,
        factory: Factory,
        *,
        expected_class: type | None = None,
        order: Order = SERIAL,
        subscriptions: Iterable[Subscription] = (),
    ) -> None:
        """Make an agent type known; its instances are made by the factory, each at its first message.

        Where the factory is a class, that is the expected class. A `HandlerAgent` class subscribes to its `topics` and
        `topic_prefixes`, and the messages that it handles can be read from bytes from now on. Every type also gets what
        is published about `TYPE:` and anything after it.

        `AgentTypeExists`, `SubscriptionExists` or `TypeError` (a handler that cannot be), and nothing is changed.
        """
        check_agent_type(agent_type)
        if agent_type in self._instances.types:
            raise AgentTypeExists(f"the agent type {agent_type!r} is registered", metadata={"agent": agent_type})
        if expected_class is None and isinstance(factory, type):
            expected_class = factory
        declared: list[Subscription] = []
        if expected_class is not None and issubclass(expected_class, HandlerAgent):
            expected_class.routes()
            declared += [Subscription(topic, agent_type) for topic in expected_class.topics]
            declared += [Subscription(prefix, agent_type, prefix=True) for prefix in expected_class.topic_prefixes]
            register_types(expected_class.routes(), self.serializers)
        self._subscriptions.add_all([*declared, *subscriptions, direct(agent_type)])
        self._instances.types[agent_type] = Registration(agent_type, factory, expected_class, order)

    def register_function(
        self,
        agent_type: str,
        function: Function,
        *,
        order: Order = SERIAL,
        subscriptions: Iterable[Subscription] = (),
    ) -> None:
        """Make an agent type of one function `async def handle(message: X, ctx) -> Y`."""
        self.register(
            agent_type,
            lambda: FunctionAgent(function),
            expected_class=FunctionAgent,
            order=order,
            subscriptions=subscriptions,
        )

    def reorder(self, agent_type: str, order: Order) -> None:
        """From now on its instances handle their messages so; what runs goes on. `AgentNotFound`."""
        self._instances.reorder(self._instances.registration(agent_type), order)

    async def unregister(self, agent_type: str, why: str = "its agent type was taken back") -> None:
        """As `retire`, but what is handled fails as `Unavailable`, too. Returns when its instances are closed."""
        old = self._instances.registration(agent_type)
        self.retire(agent_type, why)
        for call in [each for each in self._handling.suspended if each.lane.registration is old]:
            self._handling.cut(call, Unavailable(why, metadata={"agent": str(call.lane.id)}))
        await self._leaving.ended(old)

    def retire(self, agent_type: str, why: str) -> None:
        """Forget an agent type with its subscriptions. What waits for it fails as `Unavailable`. `AgentNotFound`.

        What is handled ends within its deadlines; then its instance is saved and closed, in a task of the engine.
        """
        old = self._instances.registration(agent_type)
        del self._instances.types[agent_type]
        self._subscriptions.remove_agent(agent_type)
        self._leaving.part(old, None, why)

    def replace(self, agent_type: str, factory: Factory, *, order: Order = SERIAL) -> None:
        """From now on its instances are made so; its subscriptions stay. `AgentNotFound`.

        What is handled ends in the instances that are there. What waits, and what comes, is for new ones, each made
        when the one before has ended as by `retire`; what a handler that still runs asks of one that does, stays there.
        """
        old = self._instances.registration(agent_type)
        new = self._instances.types[agent_type] = Registration(agent_type, factory, None, order)
        self._leaving.part(old, new, "its agent type was replaced")

    async def keep_all(self) -> None:
        """Save the states of all instances into the store, each under its id, where its next life finds it."""
        for lane in list(self._instances.lanes()):
            await self._keeping.keep(lane)

    async def get(self, agent_type: str, key: str = DEFAULT_KEY, *, lazy: bool = True) -> AgentId:
        """The id of an instance; with `lazy=False` the instance is made now if it is not there.

        `AgentNotFound`, `ConstructionFailed`, `LimitExceeded`; `EngineMisused` once the engine is closed.
        """
        registration = self._instances.registration(agent_type)
        agent_id = AgentId(agent_type, key)
        if not lazy:
            await self._instances.ensure(self._instances.lane(registration, agent_id))
        return agent_id

    def instance(self, agent_id: AgentId) -> MessageAgent:
        """The object behind an id, for tests and tools; `AgentNotFound` while there is none."""
        lane = self._instances.registration(agent_id.type).lanes.get(agent_id.key)
        if lane is None or lane.agent is None:
            raise AgentNotFound(f"there is no instance {agent_id}", metadata={"agent": str(agent_id)})
        return lane.agent

    def agent_types(self) -> Sequence[str]:
        """All that are registered."""
        return tuple(self._instances.types)

    def instances(self) -> Sequence[AgentId]:
        """All that are there now."""
        return [lane.id for lane in self._instances.lanes() if lane.agent is not None]

    def busy(self) -> Sequence[InstanceLoad]:
        """The instances that are there now, with what they have to do."""
        lanes = self._instances.lanes()
        return [InstanceLoad(one.id, one.running, len(one.queue)) for one in lanes if one.agent is not None]

    # Subscriptions

    def add_subscription(self, subscription: Subscription) -> None:
        """`SubscriptionExists`; `AgentNotFound` if its agent type is not registered."""
        self._instances.registration(subscription.agent_type)
        self._subscriptions.add(subscription)

    def remove_subscription(self, subscription_id: str) -> None:
        """`SubscriptionNotFound`."""
        self._subscriptions.remove(subscription_id)

    def subscriptions(self) -> Sequence[Subscription]:
        """In the order in which they were added."""
        return self._subscriptions.all()

    def agents_for(self, topic: TopicId) -> Sequence[str]:
        """The agent types that hear it."""
        return self._subscriptions.agents_for(topic.type)

    # State

    async def save_state(self, agents: Iterable[AgentId] | None = None) -> dict[str, Any]:
        """The state of all instances, or of the named ones, and the subscriptions of their types, as JSON knows it.

        Each agent is asked while none of its handlers runs. `AgentNotFound` for a named one that is not there,
        `DeadlineExceeded` for one that is busy for too long.
        """
        with self._traffic.beside():
            return await self._keeping.save(agents)

    async def load_state(self, state: Mapping[str, Any], agents: Iterable[AgentId] | None = None) -> LoadReport:
        """Take up a saved state: make its instances, give them their states, add its subscriptions.

        With `agents`, only these instances and no subscription. What the state does not name is untouched; agent types
        that are not registered are reported and left out.
        """
        with self._traffic.beside():
            return await self._keeping.load(state, agents)

    async def save(self, key: str = "engine", agents: Iterable[AgentId] | None = None) -> dict[str, Any]:
        """`save_state`, into the store; what was saved. `Unavailable` without a store."""
        with self._traffic.beside():
            state = await self.save_state(agents)
            await self._kept().save(key, json.dumps(state, ensure_ascii=False, allow_nan=False).encode())
            return state

    async def load(self, key: str = "engine", agents: Iterable[AgentId] | None = None) -> LoadReport:
        """`load_state` of what was kept under the key; `NotFound` if nothing was, `Unavailable` without a store."""
        kept = await self._kept().load(key)
        if kept is None:
            raise NotFound(f"no state is kept under {key!r}")
        return await self.load_state(cast("dict[str, Any]", json.loads(kept)), agents)

    def _kept(self) -> StateStore:
        if self._store is None:
            raise Unavailable("this engine has no store for states")
        return self._store

    # Life

    @property
    def state(self) -> State:
        """Where it is in its life."""
        return self._life.state

    async def start(self) -> None:
        """Begin to handle messages, those included that wait already. `EngineMisused` when it runs or is closed."""
        self._life.start()

    async def stop(self, deadline: Deadline | None = None) -> None:
        """End: what waits is cancelled, running handlers get until the deadline (10 s) and are cancelled then.

        All who wait for replies have one, or `Cancelled`. Raises what a handler of a published message raised, where
        such exceptions are not ignored; `EngineMisused` when it does not run, and from a handler.
        """
        await self._life.stop(deadline)

    async def stop_when_idle(self, timeout: float | None = None) -> None:
        """`stop` once nothing waits, runs, is saved or loaded; `DeadlineExceeded`, and it runs on, if it takes long."""
        await self._life.stop_when_idle(timeout)

    async def stop_when(self, condition: Callable[[], bool]) -> None:
        """`stop` once the condition holds: it is asked after each message, and once a second."""
        await self._life.stop_when(condition)

    async def close(self) -> None:
        """Stop if need be, then `close` every agent. For good; safe to call twice."""
        await self._life.close()

    async def process_next(self) -> bool:
        """Handle one message to its end, in an engine that was not started; False if none waits."""
        return await self._life.step()

    def stats(self) -> EngineStats:
        """Counts."""
        traffic = self._traffic
        return EngineStats(
            queued=traffic.queued,
            running=traffic.running,
            sent=traffic.sent,
            published=traffic.published,
            delivered=traffic.delivered,
            failed=traffic.failed,
            dropped=traffic.dropped,
            refused=traffic.refused,
            expired=traffic.expired,
            cancelled=traffic.cancelled,
            not_made=traffic.not_made,
            evicted=traffic.evicted,
            instances=sum(lane.agent is not None for lane in self._instances.lanes()),
            agent_types=len(self._instances.types),
            subscriptions=len(self._subscriptions),
        )

"""The instances of all agent types: made once, at their first message, and given the state that was saved."""

import asyncio
import inspect
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from gatewayd.core.agents import AgentId
from gatewayd.core.clock import Clock
from gatewayd.core.errors import AgentNotFound, Cancelled, GatewayError, LimitExceeded, Unavailable
from gatewayd.engine.base import Construction, MessageAgent, Sending, StateStore, within, within_async
from gatewayd.engine.call import Call
from gatewayd.engine.errors import ConstructionFailed, EngineMisused, Superseded
from gatewayd.engine.lane import Lane, Order, Registration
from gatewayd.engine.limits import Limits
from gatewayd.engine.news import News
from gatewayd.engine.traffic import Traffic
from gatewayd.service import TaskSet

log = logging.getLogger("gatewayd.engine")


def state_key(agent_id: AgentId) -> str:
    """Under which the state of an evicted instance is kept."""
    return f"agent:{agent_id}"


class Instances:
    """Owns the lanes."""

    def __init__(
        self,
        *,
        engine: Sending,
        clock: Clock,
        news: News,
        traffic: Traffic,
        limits: Limits,
        store: StateStore | None,
        relist: Callable[[Lane], None],
        withdrawn: Callable[[Call, GatewayError], None],
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._news = news
        self._traffic = traffic
        self._limits = limits
        self.store = store
        self._relist = relist
        self._withdrawn = withdrawn
        self._tasks: TaskSet | None = None
        self.types: dict[str, Registration] = {}
        self.leaving: dict[AgentId, Lane] = {}
        """Those whose type was taken back or replaced; one for each id, since the next is made when it is gone."""
        self.making: dict[asyncio.Future[None], None] = {}
        """Constructions under way."""
        self.count = 0

    def attach(self, tasks: TaskSet | None) -> None:
        """Make instances in these tasks from now on; None: make no more."""
        self._tasks = tasks

    def lanes(self) -> Iterator[Lane]:
        """All of them, as they are now."""
        yield from list(self.leaving.values())
        for registration in list(self.types.values()):
            yield from list(registration.lanes.values())

    def registration(self, agent_type: str) -> Registration:
        """`AgentNotFound`."""
        found = self.types.get(agent_type)
        if found is None:
            raise AgentNotFound(f"there is no agent type {agent_type[:80]!r}", metadata={"agent": agent_type[:80]})
        return found

    def lane(self, registration: Registration, agent_id: AgentId) -> Lane:
        """The instance's lane, a new one if need be. `LimitExceeded` when there are too many."""
        lane = registration.lanes.get(agent_id.key)
        if lane is None:
            if self.count >= self._limits.instances:
                raise LimitExceeded(
                    f"there are {self.count} instances of agents",
                    metadata={"limit": "engine.instances"},
                    retry_after=1.0,
                )
            lane = self.add(registration, agent_id)
        return lane

    def add(self, registration: Registration, agent_id: AgentId) -> Lane:
        """A new lane, however many there are."""
        lane = registration.lanes[agent_id.key] = Lane(registration, agent_id)
        lane.used = self._traffic.tick
        lane.before = self.leaving.get(agent_id)
        self.count += 1
        return lane

    def drop(self, lane: Lane) -> None:
        """Forget a lane with nothing in it; the one that waited for its end may be made."""
        if lane.registration.lanes.get(lane.id.key) is lane:
            del lane.registration.lanes[lane.id.key]
            self.count -= 1
        if self.leaving.get(lane.id) is lane:
            del self.leaving[lane.id]
            registration = self.types.get(lane.id.type)
            after = registration.lanes.get(lane.id.key) if registration is not None else None
            if after is not None:
                after.before = None
                after.free()

    # Making

    def make(self, lane: Lane) -> bool:
        """Make the agent of the lane; False if it takes a while or has failed, in which case its messages have too."""
        try:
            return self._make(lane) is None
        except ConstructionFailed:
            return False

    async def ensure(self, lane: Lane) -> None:
        """Have the agent of the lane made. `ConstructionFailed`."""
        if lane.agent is None and (making := lane.making or self._make(lane)) is not None:
            await asyncio.shield(making)

    def _make(self, lane: Lane) -> asyncio.Future[None] | None:
        tasks = self._tasks
        if tasks is None:
            self.withdraw(lane, lambda: Cancelled("the engine is closed"))
            self.drop(lane)
            raise EngineMisused(f"the engine is closed and makes no {lane.id}")
        construction = Construction(lane.id, self._engine)
        made = None
        if lane.before is None:
            try:
                made = within(construction, lane.registration.factory)
                if self.store is None and not inspect.isawaitable(made):
                    self._adopt(lane, made)
                    return None
            except BaseException as error:  # the boundary of the factory's own code; its exit is not the daemon's
                raise self._failed(lane, error) from error
        making: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        lane.making, lane.held = making, True
        self.making[making] = None
        tasks.start(self._make_slowly(lane, construction, made, making), name=f"make {lane.id}")
        return making

    async def _make_slowly(
        self, lane: Lane, construction: Construction, made: Any, making: asyncio.Future[None]
    ) -> None:
        failure: BaseException | None = None
        try:
            while lane.before is not None:
                await lane.turn()
            if made is None:
                self._check_wanted(lane)
                made = within(construction, lane.registration.factory)
            async with self._clock.timeout(self._limits.construction):
                agent = await _made(construction, made)
                self._check(lane, agent)
                await self._restore(lane.id, agent)
        except TimeoutError as error:
            failure = error
        except (asyncio.CancelledError, GeneratorExit) as error:
            failure = error
            raise
        except BaseException as error:  # the boundary of the agent's own code; its exit is not the daemon's
            failure = error
        finally:
            lane.making, lane.held = None, False
            del self.making[making]
            if failure is None:
                self._adopt(lane, agent)
                making.set_result(None)
                self._relist(lane)
            else:
                making.set_exception(self._failed(lane, failure))
                making.exception()  # nobody need have waited for it
            lane.free()

    def _adopt(self, lane: Lane, agent: Any) -> None:
        self._check(lane, agent)
        lane.takes_bytes = bool(getattr(agent, "takes_bytes", False))
        lane.agent = agent

    def _check_wanted(self, lane: Lane) -> None:
        """Its type was not taken back while it waited for the one before."""
        if lane.registration.lanes.get(lane.id.key) is not lane:
            raise Unavailable(f"the agent type of {lane.id} was taken back", metadata={"agent": str(lane.id)})

    def _check(self, lane: Lane, agent: object) -> None:
        wanted = lane.registration.expected_class
        if wanted is not None and not isinstance(agent, wanted):
            raise TypeError(f"the factory of {lane.id.type} made a {type(agent).__name__}, not a {wanted.__name__}")

    async def _restore(self, agent_id: AgentId, agent: MessageAgent) -> None:
        if self.store is not None and (kept := await self.store.load(state_key(agent_id))):
            await agent.load_state(json.loads(kept))

    def _failed(self, lane: Lane, error: BaseException) -> GatewayError:
        """All that waited for the instance fails with it; the next message tries again."""
        if isinstance(error, asyncio.CancelledError):
            return self._end_of(lane, lambda: Cancelled(f"the engine stopped before {lane.id} was made"))
        if lane.registration.lanes.get(lane.id.key) is not lane and isinstance(error, GatewayError):
            return error  # nothing waits in it any more, and it is none of the agent's own
        self._news.not_made(lane.id, error)

        def verdict() -> GatewayError:
            made = ConstructionFailed(f"{lane.id} could not be made", metadata={"agent": str(lane.id)})
            made.__cause__ = error
            return made

        return self._end_of(lane, verdict)

    def _end_of(self, lane: Lane, verdict: Callable[[], GatewayError]) -> GatewayError:
        self.withdraw(lane, verdict)
        if lane.idle:
            self.drop(lane)
        return verdict()

    def withdraw(self, lane: Lane, verdict: Callable[[], GatewayError]) -> None:
        """End all that waits in the lane; each with a verdict of its own, since a raised error keeps its traceback."""
        while lane.queue:
            self._withdrawn(lane.queue.popleft(), verdict())

    def reorder(self, registration: Registration, order: Order) -> None:
        """See `MessageEngine.reorder`. Where only the newest message waits from now on, the others are superseded."""
        registration.order = order
        for lane in registration.lanes.values():
            lane.limit, lane.latest_only = order.at_once, order.latest_only
            self.thin(lane)
            self._relist(lane)

    def thin(self, lane: Lane) -> None:
        """Where only the newest message waits, the others are superseded."""
        while lane.latest_only and len(lane.queue) > 1:
            self._withdrawn(lane.queue.popleft(), Superseded(f"{lane.id} got a newer message"))

    # Ending

    async def close(self, lane: Lane) -> None:
        """Let the agent go; a failure is logged."""
        agent, lane.agent = lane.agent, None
        if agent is None:
            return
        try:
            async with self._clock.timeout(self._limits.construction):
                await agent.close()
        except (Exception, SystemExit):  # the boundary of the agent's own code
            log.exception("agent_not_closed", extra={"agent": str(lane.id)})


async def _made(construction: Construction, made: MessageAgent | Awaitable[MessageAgent]) -> MessageAgent:
    if inspect.isawaitable(made):
        agent: MessageAgent = await within_async(construction, made)
        return agent
    return made

"""Saving and loading: of the whole engine on demand, of single instances when they are idle."""

import asyncio
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gatewayd.core.agents import AgentId
from gatewayd.core.clock import Clock, TimeIsOver
from gatewayd.core.errors import (
    AgentNotFound,
    DeadlineExceeded,
    ExecutionFailed,
    GatewayError,
    InvalidArgument,
    StoreBusy,
)
from gatewayd.core.value import value
from gatewayd.engine.handling import Handling
from gatewayd.engine.instances import Instances, state_key
from gatewayd.engine.lane import Lane
from gatewayd.engine.limits import Limits
from gatewayd.engine.news import News
from gatewayd.engine.subscriptions import Subscription, Subscriptions
from gatewayd.engine.traffic import Traffic

log = logging.getLogger("gatewayd.engine")

VERSION = 1
_CHECKS = 4
"""Looks for idle instances within the time after which they are evicted."""
_RETRY = 0.5
"""Seconds between two tries to save a state while the store is busy."""


@value(frozen=True, slots=True)
class LoadReport:
    """What became of a saved state."""

    loaded: tuple[AgentId, ...]
    unknown: tuple[str, ...]
    """Agent types that nobody registered, of instances and subscriptions; these were left out."""
    subscriptions: int
    """How many were added; those that were there already are not counted."""


class Keeping:
    """Knows the form of a saved state."""

    def __init__(
        self,
        *,
        clock: Clock,
        limits: Limits,
        instances: Instances,
        handling: Handling,
        subscriptions: Subscriptions,
        news: News,
        traffic: Traffic,
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._instances = instances
        self._handling = handling
        self._subscriptions = subscriptions
        self._news = news
        self._traffic = traffic

    async def save(self, agents: Iterable[AgentId] | None) -> dict[str, Any]:
        """See `MessageEngine.save_state`."""
        lanes = list(self._instances.lanes()) if agents is None else [self._lane(each) for each in agents]
        states: dict[str, Any] = {}
        for lane in lanes:
            found = await self._asked(lane, self._state, "give")
            if found is not None:
                states[str(lane.id)] = dict(found)
        named = None if agents is None else {lane.id.type for lane in lanes}
        wanted = [each for each in self._subscriptions.all() if named is None or each.agent_type in named]
        return {"version": VERSION, "agents": states, "subscriptions": [_plain(each) for each in wanted]}

    async def load(self, state: Mapping[str, Any], agents: Iterable[AgentId] | None) -> LoadReport:
        """See `MessageEngine.load_state`."""
        if state.get("version") != VERSION:
            raise InvalidArgument(f"a saved state of version {state.get('version')!r} cannot be read")
        only = None if agents is None else {str(each) for each in agents}
        unknown: dict[str, None] = {}
        added, loaded = 0, []
        for plain in state["subscriptions"] if only is None else ():
            one = Subscription(plain["topic_type"], plain["agent_type"], plain["prefix"], plain["id"])
            if one.agent_type not in self._instances.types:
                unknown[one.agent_type] = None
            elif not self._subscriptions.has(one):
                self._subscriptions.add(one)
                added += 1
        for text, kept in state["agents"].items():
            agent_id = AgentId.parse(text)
            registration = self._instances.types.get(agent_id.type)
            if only is not None and text not in only:
                continue
            if registration is None:
                unknown[agent_id.type] = None
                continue
            await self._load(self._instances.lane(registration, agent_id), kept)
            loaded.append(agent_id)
        return LoadReport(tuple(loaded), tuple(unknown), added)

    async def _load(self, lane: Lane, kept: Mapping[str, Any]) -> None:
        try:
            # Where the one before still ends its work, that may take as long as a message.
            async with self._clock.timeout(self._limits.construction if lane.before is not None else None):
                await self._instances.ensure(lane)
        except TimeIsOver:
            raise _busy(lane) from None

        async def take_up(lane: Lane) -> None:
            if lane.agent is not None:
                await lane.agent.load_state(kept)

        await self._asked(lane, take_up, "take up")

    async def _state(self, lane: Lane) -> Mapping[str, Any] | None:
        if lane.agent is None:
            return None
        state = await lane.agent.save_state()
        json.dumps(dict(state), allow_nan=False)  # what is no JSON is the fault of this one alone
        return state

    async def _asked(self, lane: Lane, work: Callable[[Lane], Any], what: str) -> Any:
        """As `_alone`, for somebody who waits for it. `ExecutionFailed` names the instance that fails at it."""
        try:
            return await self._alone(lane, work)
        except GatewayError:
            raise
        except (Exception, SystemExit) as error:  # the boundary of the agent's own code
            log.exception("agent_state_failed", extra={"agent": str(lane.id)})
            told = f"{lane.id} did not {what} its state: {type(error).__name__}"
            raise ExecutionFailed(told, metadata={"agent": str(lane.id)}) from error

    async def _alone(self, lane: Lane, work: Callable[[Lane], Any]) -> Any:
        """Do it while no handler of the instance runs. `DeadlineExceeded` if one does not end."""
        try:
            async with self._clock.timeout(self._limits.construction), lane.alone():
                return await work(lane)
        except TimeIsOver:
            raise _busy(lane) from None
        finally:
            self._handling.relist(lane)

    def _lane(self, agent_id: AgentId) -> Lane:
        registration = self._instances.types.get(agent_id.type)
        lane = None if registration is None else registration.lanes.get(agent_id.key)
        if lane is None:
            raise AgentNotFound(f"there is no instance {agent_id}", metadata={"agent": str(agent_id)})
        return lane

    # Eviction

    async def evict_idle(self) -> None:
        """For as long as the engine runs: put away what had no message for `Limits.idle`."""
        assert self._limits.idle is not None
        while True:
            await self._clock.sleep(self._limits.idle / _CHECKS)
            self._traffic.tick += 1
            for lane in list(self._instances.lanes()):
                if lane.idle and self._traffic.tick - lane.used > _CHECKS:
                    await self._evict(lane)

    async def _evict(self, lane: Lane) -> None:
        try:
            put_away = await self._alone(lane, self._put_away)
        except (Exception, SystemExit):  # the boundary of the agent's own code and of the store: it stays for now
            log.exception("agent_not_evicted", extra={"agent": str(lane.id)})
            put_away = False
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            log.exception("agent_not_evicted", extra={"agent": str(lane.id)})  # it waited for something of its own
            put_away = False
        if put_away and lane.idle:
            self._instances.drop(lane)
        lane.used = self._traffic.tick

    async def keep(self, lane: Lane, *, tries: int = 1) -> None:
        """Save the state of an instance that is about to end, whatever it is doing; a failure is logged."""
        try:
            async with self._clock.timeout(self._limits.construction):
                for _ in range(tries - 1):
                    try:
                        await self._store_state(lane)
                        return
                    except StoreBusy:
                        await self._clock.sleep(_RETRY)
                await self._store_state(lane)
        except (Exception, SystemExit):  # the boundary of the agent's own code and of the store
            log.exception("state_not_kept", extra={"agent": str(lane.id)})

    async def _put_away(self, lane: Lane) -> bool:
        if lane.agent is None:
            return True
        if not await self._store_state(lane):
            return False  # nowhere to keep it
        await self._instances.close(lane)
        self._news.evicted(lane.id)
        return True

    async def _store_state(self, lane: Lane) -> bool:
        """Whether nothing of it is lost now."""
        state = {} if lane.agent is None else dict(await lane.agent.save_state())
        if lane.agent is None or self._instances.store is None:
            return not state
        kept = json.dumps(state, ensure_ascii=False, allow_nan=False).encode()
        await self._instances.store.save(state_key(lane.id), kept)
        return True


def _busy(lane: Lane) -> DeadlineExceeded:
    return DeadlineExceeded(f"{lane.id} was busy for too long", metadata={"agent": str(lane.id)})


def _plain(one: Subscription) -> dict[str, Any]:
    return {"id": one.id, "topic_type": one.topic_type, "agent_type": one.agent_type, "prefix": one.prefix}

"""Agents that a reload takes away from their workers, and when these are told.

What began before goes on with the agents that it began with. So the workers go on as long as something runs that may
still ask the agent, and until all its calls have ended, also over other connections; then those that want to hear of it
are told, and are its workers no more. To the others it is as if nothing had happened.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager

from gatewayd.agents.calls import Pool, Worker
from gatewayd.core.errors import GatewayError
from gatewayd.core.workers import RegistrationEnded


class Parting:
    """A part of `Workers`, whose pools these are; `resign` has a worker take no more calls."""

    def __init__(self, pools: Mapping[str, Pool], resign: Callable[[Worker], None]) -> None:
        self._pools = pools
        self._resign = resign
        self._lost: Callable[[str], GatewayError | None] = lambda _agent: None
        """Why workers do not answer for an agent in the configuration that holds; None if they do."""
        self._needed: Counter[str] = Counter()
        """How many runs may still ask the workers of each agent."""
        self._why: dict[str, GatewayError] = {}
        """The agents that were taken away when there were workers, or a need of them."""

    @contextmanager
    def needed(self, agents: Collection[str]) -> Iterator[None]:
        """Within it, something runs that may ask these; those that workers answer for now go on to the end of it."""
        served = [agent for agent in agents if self._lost(agent) is None]
        self._needed.update(served)
        try:
            yield
        finally:
            for agent in served:
                self._needed[agent] -= 1
                if not self._needed[agent]:
                    del self._needed[agent]
                    self.look(agent)

    def part(self, why: Callable[[str], GatewayError | None]) -> None:
        """Another configuration holds; `why` says why workers do not answer for an agent in it, None if they do."""
        self._lost = why
        agents = self._pools.keys() | self._needed.keys()
        self._why = {agent: error for agent in agents if (error := why(agent)) is not None}
        for agent in self._why:
            self.look(agent)

    def drains(self, agent: str) -> bool:
        """Whether it was taken away, but is still needed: workers of it that were cut off may come back."""
        pool = self._pools.get(agent)
        has_calls = pool is not None and (pool.waiting or any(worker.calls for worker in pool.workers.values()))
        return agent in self._why and (agent in self._needed or bool(has_calls))

    def look(self, agent: str) -> None:
        """Tell its workers if they have lost it and are not needed any more."""
        error = self._why.get(agent)
        if error is None or self.drains(agent) or (pool := self._pools.get(agent)) is None:
            return
        for worker in list(pool.workers.values()):
            if worker.notify_end and not worker.resigned:
                if worker.tell is not None:
                    worker.tell(RegistrationEnded(agent, error))
                self._resign(worker)

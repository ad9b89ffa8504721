"""Who is there and answers for which agent, and which calls are with whom: what may be asked about workers."""

from gatewayd.agents.calls import ClientKey, OpenCall, Pool, Worker
from gatewayd.agents.keeping import not_open


class Workforce:
    """What `Workers` moves."""

    def __init__(self) -> None:
        self._pools: dict[str, Pool] = {}
        """By agent."""
        self._clients: dict[ClientKey, dict[str, Worker]] = {}
        """Of each client the agents that it answers for."""
        self._calls: dict[str, OpenCall] = {}
        """All that are open, by id."""

    def serving(self, agent: str) -> int:
        """How many workers take calls for it now."""
        pool = self._pools.get(agent)
        return pool.present if pool is not None else 0

    def works_on(self, key: ClientKey, execution_id: str) -> bool:
        """Whether a call of that execution ('': of any) is with that client."""
        mine = (call for worker in self._clients.get(key, {}).values() for call in worker.calls.values())
        return any(not execution_id or call.execution_id == execution_id for call in mine)

    def works_for(self, principal: str, execution_id: str) -> bool:
        """Whether a call of that execution is with some client of that principal."""
        mine = (call for call in self._calls.values() if call.execution_id == execution_id)
        return any(call.worker is not None and call.worker.key[0] == principal for call in mine)

    def topics(self, agent: str) -> set[str]:
        """What its workers want it to hear."""
        pool = self._pools.get(agent)
        workers = pool.workers.values() if pool is not None else ()
        return {topic for worker in workers if not worker.resigned for topic in worker.topics}

    def held(self, key: ClientKey, call_id: str) -> OpenCall:
        """An open call that this client has; `NotFound`."""
        call = self._calls.get(call_id)
        if call is None or call.worker is None or call.worker.key != key:
            raise not_open(call_id)
        return call

"""How many executions there are, by state, agent, entry point, and channel that waits for their answers."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Mapping

from gatewayd.core.value import value
from gatewayd.core.work import Execution, ExecutionState
from gatewayd.runtime.live import LiveExecution
from gatewayd.runtime.suspending import Suspending


@value(frozen=True, slots=True)
class AgentLoad:
    """Executions of one agent."""

    running: int = 0
    queued: int = 0


class Figures:
    """Counts `live`, what rests, and what has ended since the start."""

    def __init__(self, live: Mapping[str, LiveExecution], suspending: Suspending) -> None:
        self._live = live
        self._suspending = suspending
        self._ended: Counter[str] = Counter()
        self._ended_of: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """The same by entry point."""

    def ended(self, execution: Execution, state: ExecutionState) -> None:
        """One more has."""
        self._ended[state.value] += 1
        if execution.entry_point:
            self._ended_of[execution.entry_point][state.value] += 1

    def counts(self) -> dict[str, int]:
        """Executions by state: those that live now, and those that ended since the start."""
        living = Counter(one.state.value for one in self._live.values())
        return dict(living + self._ended + self._suspending.counts())

    def per_agent(self) -> Mapping[str, AgentLoad]:
        """What runs and waits now, by agent; agents with nothing to do count nothing."""
        loads: defaultdict[str, AgentLoad] = defaultdict(AgentLoad)
        for live in self._live.values():
            before = loads[live.execution.agent]
            running = live.state is ExecutionState.RUNNING
            loads[live.execution.agent] = AgentLoad(before.running + running, before.queued + (not running))
        return loads

    def per_entry_point(self) -> Mapping[str, Mapping[str, int]]:
        """As `counts`, by entry point; one without executions is not there."""
        found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for name, ended in self._ended_of.items():
            found[name] += ended
        for name, resting in self._suspending.per_entry_point().items():
            found[name] += resting
        for live in self._live.values():
            if live.execution.entry_point:
                found[live.execution.entry_point][live.state.value] += 1
        return found

    async def answered(self, channel: str) -> None:
        """Wait until nothing is queued or running whose answer goes to that channel."""
        while waits := self._answering(channel):
            await asyncio.gather(*(one.rests.wait() for one in waits))

    def unanswered(self, channel: str) -> int:
        """How many are queued or running whose answer goes to that channel."""
        return len(self._answering(channel))

    def _answering(self, channel: str) -> list[LiveExecution]:
        return [one for one in self._live.values() if one.execution.reply_to.sends_to(channel)]

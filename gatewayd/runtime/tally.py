"""How many executions there are, by state, agent and entry point."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping

from gatewayd.core.value import value
from gatewayd.core.work import Execution, ExecutionState
from gatewayd.runtime.live import LiveExecution


@value(frozen=True, slots=True)
class AgentLoad:
    """Executions of one agent."""

    running: int = 0
    queued: int = 0


class Tally:
    """Counts those that end; those that live or rest are counted when somebody asks."""

    def __init__(self) -> None:
        self._ended: Counter[str] = Counter()
        self._ended_of: defaultdict[str, Counter[str]] = defaultdict(Counter)
        """The same by entry point."""

    def ended(self, execution: Execution, state: ExecutionState) -> None:
        """One more has ended, in that state."""
        self._ended[state.value] += 1
        if execution.entry_point:
            self._ended_of[execution.entry_point][state.value] += 1

    def counts(self, living: Iterable[LiveExecution], resting: Counter[str]) -> dict[str, int]:
        """All, by state."""
        return dict(Counter(one.state.value for one in living) + self._ended + resting)

    def per_entry_point(
        self, living: Iterable[LiveExecution], resting: Mapping[str, Counter[str]]
    ) -> Mapping[str, Mapping[str, int]]:
        """By entry point and state; one without executions is not there."""
        found: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for counted in (self._ended_of, resting):
            for name, states in counted.items():
                found[name] += states
        for live in living:
            if live.execution.entry_point:
                found[live.execution.entry_point][live.state.value] += 1
        return found


def per_agent(living: Iterable[LiveExecution]) -> Mapping[str, AgentLoad]:
    """What runs and waits, by agent; agents with nothing to do are not there."""
    loads: defaultdict[str, AgentLoad] = defaultdict(AgentLoad)
    for live in living:
        before = loads[live.execution.agent]
        running = live.state is ExecutionState.RUNNING
        loads[live.execution.agent] = AgentLoad(before.running + running, before.queued + (not running))
    return loads

"""What an execution has of what is beside it: the shared state by its isolation, and its goal."""

from collections.abc import Callable

from gatewayd.agents.goal import AgentGoal
from gatewayd.agents.state import AgentState
from gatewayd.config.model import GatewayConfig
from gatewayd.core.state import Isolation
from gatewayd.core.work import Execution
from gatewayd.runtime.goals import Goals
from gatewayd.runtime.state import SharedState
from gatewayd.runtime.state_view import StateView


class Views:
    """One per gateway. `config` gives the running configuration: an execution begins on what it says then."""

    def __init__(
        self, state: SharedState, goals: Goals | None = None, config: Callable[[], GatewayConfig] | None = None
    ) -> None:
        self._state = state
        self._goals = goals
        self._config = config

    def of(self, execution: Execution) -> tuple[AgentState, AgentGoal | None]:
        """For an execution that begins."""
        goal = self._goals.goal_of(execution) if self._goals is not None else None
        return StateView(self._state, execution, self._isolation(execution)), goal

    def _isolation(self, execution: Execution) -> Isolation:
        """That of its entry point. Of one that was removed while its execution waited: the one that shares least."""
        if not execution.entry_point or self._config is None:
            return Isolation.SHARED
        section = self._config().entry_points.get(execution.entry_point)
        return Isolation(section.isolation_level) if section is not None else Isolation.ISOLATED

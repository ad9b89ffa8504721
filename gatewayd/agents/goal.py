"""What an agent may do for the goal of its execution: `ctx.goal`."""

from typing import Protocol

from gatewayd.core.goals import GoalProgress


class AgentGoal(Protocol):
    """The goal of the entry point that started the execution.

    What is reported is on disk when the method returns. It raises `InvalidArgument` for a criterion or constraint that
    the goal does not have, or that is not measured by reports.
    """

    @property
    def id(self) -> str: ...

    async def outcome(self, criterion: str, good: bool | float = True, evidence: str = "", *, item: str = "") -> None:
        """One more outcome for a criterion: how well it went, from 0 to 1, and a sentence that shows it.

        An execution has one outcome for each criterion and `item`: another takes its place, so that whatever runs again
        after a crash counts once.
        """
        ...

    async def violation(self, constraint: str, description: str = "", *, item: str = "") -> None:
        """A constraint was not kept. For an execution and `item` it counts once."""
        ...

    async def progress(self) -> GoalProgress:
        """How far the goal is, by all executions so far."""
        ...

"""Goals: how far they are, and what became of an execution that has one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar

from gateway.v1 import goal_pb2 as pb
from google.protobuf.message import Message

from gatewayctl.plain import enum_name, seconds

__all__ = ["Criterion", "Goal", "Goals"]

PAGE = 1000

_Answer = TypeVar("_Answer", bound=Message)


class _Calls(Protocol):
    async def call(
        self, method: str, request: Message, answer: type[_Answer], *, timeout: float | None = None
    ) -> _Answer: ...


@dataclass(frozen=True, slots=True)
class Criterion:
    """One criterion of a goal."""

    id: str
    description: str
    target: str
    met: bool
    progress: float
    """From 0 to 1."""
    outcomes: int
    """Those that count."""
    evidence: tuple[str, ...]
    """Texts of the newest outcomes, newest first; only where a single goal was asked for."""


@dataclass(frozen=True, slots=True)
class Goal:
    """How far a goal is."""

    id: str
    description: str
    progress: float
    """From 0 to 1."""
    recommendation: str
    """`continue`, `adjust` or `complete`."""
    criteria: Mapping[str, Criterion]
    violations: Mapping[str, int]
    """How often each constraint was violated; those that were not are not there."""
    decisions: int
    success_rate: float
    achieved: float | None
    """When it was reached first, in seconds since the Unix epoch; None for not yet."""

    @classmethod
    def of(cls, message: pb.GoalProgress) -> Goal:
        """From the message of the contract."""
        return cls(
            message.id,
            message.description,
            message.progress,
            enum_name(pb.GoalRecommendation.DESCRIPTOR, message.recommendation),
            {
                one.id: Criterion(
                    one.id,
                    one.description,
                    one.target,
                    one.met,
                    one.progress,
                    one.outcomes,
                    tuple(each.text for each in one.evidence),
                )
                for one in message.criteria
            },
            {one.id: one.violations for one in message.constraints if one.violations},
            message.metrics.decisions,
            message.metrics.success_rate,
            seconds(message.achieve_time) if message.HasField("achieve_time") else None,
        )


class Goals:
    """A part of `Client`."""

    async def goal(self: _Calls, goal_id: str) -> Goal:
        """How far a goal is, with evidence. NotFound if there is none, or it is not for this client."""
        request = pb.GetGoalProgressRequest(goal_id=goal_id)
        answer = await self.call("RuntimeService/GetGoalProgress", request, pb.GetGoalProgressResponse)
        return Goal.of(answer.goal)

    async def goals(self: _Calls) -> list[Goal]:
        """All goals that this client may see, by id, without evidence."""
        found: list[Goal] = []
        token = ""
        while True:
            request = pb.ListGoalsRequest(page_size=PAGE, page_token=token)
            answer = await self.call("RuntimeService/ListGoals", request, pb.ListGoalsResponse)
            found += map(Goal.of, answer.goals)
            token = answer.next_page_token
            if not token:
                return found

    async def report_outcome(
        self: _Calls,
        execution_id: str,
        criterion: str,
        good: bool | float = True,
        evidence: str = "",
        *,
        item: str = "",
    ) -> Goal:
        """Tell how well something went, from 0 to 1, by which a criterion of the execution's goal is measured.

        An execution has one outcome for each criterion and `item`: another takes its place. NotFound for an execution
        without a goal, InvalidArgument for a criterion that it does not have or that is not measured by reports.
        """
        one = pb.GoalOutcome(criterion_id=criterion, score=float(good), evidence=evidence, item=item)
        request = pb.ReportOutcomeRequest(execution_id=execution_id, outcomes=[one])
        return Goal.of((await self.call("RuntimeService/ReportOutcome", request, pb.ReportOutcomeResponse)).goal)

    async def report_violation(
        self: _Calls, execution_id: str, constraint: str, description: str = "", *, item: str = ""
    ) -> Goal:
        """Tell that a constraint of the execution's goal was not kept. For an execution and `item` it counts once."""
        one = pb.GoalViolation(constraint_id=constraint, description=description, item=item)
        request = pb.ReportOutcomeRequest(execution_id=execution_id, violations=[one])
        return Goal.of((await self.call("RuntimeService/ReportOutcome", request, pb.ReportOutcomeResponse)).goal)

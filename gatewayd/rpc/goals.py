"""The part of `RuntimeService` that serves goals."""

from collections.abc import Callable

from gateway.v1 import goal_pb2

from gatewayd.access.principals import Principal
from gatewayd.access.scopes import Action
from gatewayd.core.errors import NotFound
from gatewayd.core.goals import Evidence, GoalProgress, breach, outcome, seen_by
from gatewayd.core.work import Execution
from gatewayd.rpc.convert import instant, name_of
from gatewayd.rpc.guard import Context, Guard
from gatewayd.rpc.paging import cut, page_of
from gatewayd.rpc.patience import Rates
from gatewayd.runtime.goals import Goals
from gatewayd.storage.base import Store
from gatewayd.wire.values import refuse

MAX_REPORTED = 100
"""Outcomes and violations of one report."""

_NAME = "/gateway.v1.RuntimeService/"


class GoalCalls:
    """Serves `GetGoalProgress`, `ListGoals` and `ReportOutcome`.

    `works_on` says whether a call of an execution is with some client of a principal now.
    """

    def __init__(
        self, *, guard: Guard, goals: Goals, store: Store, rates: Rates, works_on: Callable[[str, str], bool]
    ) -> None:
        self._guard = guard
        self._goals = goals
        self._store = store
        self._rates = rates
        self._works_on = works_on

    async def GetGoalProgress(  # noqa: N802
        self, request: goal_pb2.GetGoalProgressRequest, context: Context
    ) -> goal_pb2.GetGoalProgressResponse:
        async def run(principal: Principal) -> goal_pb2.GetGoalProgressResponse:
            goal_id = name_of(request.goal_id, "goal_id", required=True)
            if not self._may_see(goal_id, principal):
                raise NotFound(f"no goal {goal_id!r}")
            found = seen_by(self._goals.progress(goal_id), principal.may_see)
            return goal_pb2.GetGoalProgressResponse(goal=goal_message(found, principal))

        return await self._guard.unary(f"{_NAME}GetGoalProgress", context, run)

    async def ListGoals(  # noqa: N802
        self, request: goal_pb2.ListGoalsRequest, context: Context
    ) -> goal_pb2.ListGoalsResponse:
        async def run(principal: Principal) -> goal_pb2.ListGoalsResponse:
            page = page_of(request.page_size, request.page_token, "ListGoals")
            mine = [goal_id for goal_id in sorted(self._goals.ids) if self._may_see(goal_id, principal)]
            ids, token = cut(mine, str, page)
            found = [goal_message(bare(self._goals.progress(goal_id)), principal) for goal_id in ids]
            return goal_pb2.ListGoalsResponse(goals=found, next_page_token=token)

        return await self._guard.unary(f"{_NAME}ListGoals", context, run)

    async def ReportOutcome(  # noqa: N802
        self, request: goal_pb2.ReportOutcomeRequest, context: Context
    ) -> goal_pb2.ReportOutcomeResponse:
        async def run(principal: Principal) -> goal_pb2.ReportOutcomeResponse:
            count = len(request.outcomes) + len(request.violations)
            if not 1 <= count <= MAX_REPORTED:
                raise refuse("outcomes", f"{count} outcomes and violations; 1 to {MAX_REPORTED} are reported at once")
            self._rates.publish(principal.id, count)
            execution = await self._reported(name_of(request.execution_id, "execution_id", required=True), principal)
            found = await self._goals.report(
                execution,
                [outcome(one.criterion_id, one.score, one.evidence, one.item) for one in request.outcomes],
                [breach(one.constraint_id, one.description, one.item) for one in request.violations],
            )
            return goal_pb2.ReportOutcomeResponse(goal=goal_message(bare(found), principal))

        return await self._guard.unary(f"{_NAME}ReportOutcome", context, run)

    def _may_see(self, goal_id: str, principal: Principal) -> bool:
        scopes = principal.scopes
        return scopes.holds(Action.ADMIN_READ) or any(
            scopes.allows(Action.RUNTIME, name) for name in self._goals.entry_points(goal_id)
        )

    async def _reported(self, execution_id: str, principal: Principal) -> Execution:
        """The execution, for who may report of it."""
        execution = await self._store.get_execution(execution_id)
        if execution is None or not (
            self._works_on(principal.id, execution_id)
            or (principal.may_see(execution.principal) and principal.scopes.allows(Action.RUNTIME, execution.stream_id))
        ):
            raise NotFound(f"no execution {execution_id!r}")
        return execution


def bare(progress: GoalProgress) -> GoalProgress:
    """Without evidence."""
    return seen_by(progress, lambda _owner: False)


def goal_message(progress: GoalProgress, reader: Principal) -> goal_pb2.GoalProgress:
    """How far a goal is; of its entry points the reader is told which it may start."""
    metrics, scopes = progress.metrics, reader.scopes
    every = scopes.holds(Action.ADMIN_READ)
    shown = [name for name in metrics.entry_points if every or scopes.allows(Action.RUNTIME, name)]
    return goal_pb2.GoalProgress(
        id=progress.id,
        description=progress.description,
        progress=progress.progress,
        criteria=[
            goal_pb2.CriterionStatus(
                id=one.id,
                description=one.description,
                measure=one.measure,
                target=one.target,
                weight=one.weight,
                met=one.met,
                progress=one.progress,
                outcomes=one.outcomes,
                good=one.good,
                evidence=map(_evidence, one.evidence),
            )
            for one in progress.criteria
        ],
        constraints=[
            goal_pb2.ConstraintStatus(
                id=one.id,
                description=one.description,
                hard=one.hard,
                violations=one.violations,
                active=one.active,
                evidence=map(_evidence, one.evidence),
            )
            for one in progress.constraints
        ],
        metrics=goal_pb2.GoalMetrics(
            decisions=metrics.decisions,
            successful_outcomes=metrics.good,
            failed_outcomes=metrics.bad,
            success_rate=metrics.success_rate,
            executions=metrics.executions,
            entry_points=shown,
            other_entry_points=len(metrics.entry_points) - len(shown),
            running=metrics.running,
        ),
        recommendation=goal_pb2.GoalRecommendation.Value(f"GOAL_RECOMMENDATION_{progress.recommendation.name}"),
        achieve_time=instant(progress.achieved),
    )


def _evidence(one: Evidence) -> goal_pb2.GoalEvidence:
    return goal_pb2.GoalEvidence(time=instant(one.time), execution_id=one.execution_id, text=one.text, score=one.score)

"""Goals: what is reported for one, and how far it is.

An *outcome* is how one thing ended that a criterion is measured by: a score from 0 (bad) to 1 (good), with a sentence
of evidence. A *decision* is anything that an execution did and that has an outcome. A *violation* is a constraint that
was not kept.
"""

import math
from collections.abc import Callable
from dataclasses import replace
from enum import StrEnum

from gatewayd.core.errors import InvalidArgument, Violation
from gatewayd.core.value import value

GOOD = 0.5
"""From this score on an outcome counts as a good one."""
MAX_EVIDENCE = 5
"""The newest that are kept, of each criterion and each constraint."""
MAX_TEXT = 1024
"""Characters of a text of evidence; what is longer is cut."""
MAX_ITEM = 128
"""Characters of an item's name."""
COMPLETE, POOR, JUDGED = 0.95, 0.3, 10
"""Progress from which on a goal is complete; below which it wants to be adjusted, after more than so many decisions."""


class Recommendation(StrEnum):
    """What to do about a goal."""

    CONTINUE = "continue"
    ADJUST = "adjust"
    """A hard constraint was violated, or too little is reached after some decisions."""
    COMPLETE = "complete"


@value(frozen=True, slots=True)
class Outcome:
    """How one thing ended, for the criterion of that id."""

    criterion: str
    score: float
    evidence: str = ""
    item: str = ""
    """What it is about, when one execution has several for a criterion: the same item again takes its place."""


@value(frozen=True, slots=True)
class Breach:
    """A constraint that was not kept."""

    constraint: str
    description: str = ""
    item: str = ""
    """As of an outcome."""


@value(frozen=True, slots=True)
class Evidence:
    """One of the newest outcomes or violations."""

    time: float
    execution_id: str
    text: str
    score: float = 0.0
    owner: str = ""
    """The principal whose execution it is of."""


@value(frozen=True, slots=True)
class CriterionStatus:
    """How far one criterion is."""

    id: str
    description: str
    measure: str
    target: str
    weight: float
    met: bool
    progress: float
    """From 0 to 1: the share of its last outcomes that is good, or of the number that is wanted."""
    outcomes: int
    """Those that count: at most the goal's window."""
    good: int
    """All good ones so far."""
    evidence: tuple[Evidence, ...]
    """Newest first."""


@value(frozen=True, slots=True)
class ConstraintStatus:
    """How often one constraint was violated."""

    id: str
    description: str
    hard: bool
    violations: int
    active: bool
    """Whether one is among the last decisions."""
    evidence: tuple[Evidence, ...]
    """Newest first."""


@value(frozen=True, slots=True)
class GoalMetrics:
    """Figures of one goal, since it is measured."""

    decisions: int = 0
    good: int = 0
    bad: int = 0
    executions: int = 0
    """Executions that have ended, well or not."""
    entry_points: tuple[str, ...] = ()
    """Those with this goal."""
    running: int = 0
    """Executions of theirs that run now."""

    @property
    def success_rate(self) -> float:
        """The share of good outcomes; 0 without any."""
        return self.good / (self.good + self.bad) if self.good + self.bad else 0.0


@value(frozen=True, slots=True)
class GoalProgress:
    """How far a goal is."""

    id: str
    description: str
    progress: float
    """From 0 to 1."""
    criteria: tuple[CriterionStatus, ...]
    constraints: tuple[ConstraintStatus, ...]
    metrics: GoalMetrics
    recommendation: Recommendation
    achieved: float = 0.0
    """When it was reached first, in Unix seconds; 0 for not yet."""


def seen_by(progress: GoalProgress, may_see: Callable[[str], bool]) -> GoalProgress:
    """Without the evidence of executions whose owner the reader may not see."""

    def visible(evidence: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
        return tuple(one for one in evidence if may_see(one.owner))

    return replace(
        progress,
        criteria=tuple(replace(one, evidence=visible(one.evidence)) for one in progress.criteria),
        constraints=tuple(replace(one, evidence=visible(one.evidence)) for one in progress.constraints),
    )


def outcome(criterion: str, good: bool | float, evidence: str = "", item: str = "") -> Outcome:
    """An outcome, checked. Raises `InvalidArgument`."""
    if not isinstance(good, int | float) or not (math.isfinite(good) and 0 <= good <= 1):
        raise _wrong("good", f"{good!r} is no score from 0 to 1")
    return Outcome(_id(criterion, "criterion"), float(good), clean(evidence), _item(item))


def breach(constraint: str, description: str = "", item: str = "") -> Breach:
    """A violation, checked. Raises `InvalidArgument`."""
    return Breach(_id(constraint, "constraint"), clean(description), _item(item))


def clean(text: str) -> str:
    """The text as it is kept: cut, and without halves of characters."""
    return text[:MAX_TEXT].encode("utf-8", "replace").decode()


def _id(text: str, field: str) -> str:
    if not isinstance(text, str) or not text:
        raise _wrong(field, "must name one")
    return text


def _item(text: str) -> str:
    if len(text) > MAX_ITEM:
        raise _wrong("item", f"is longer than {MAX_ITEM} characters")
    return clean(text)


def _wrong(field: str, why: str) -> InvalidArgument:
    return InvalidArgument(f"{field}: {why}", violations=(Violation(field, why),))

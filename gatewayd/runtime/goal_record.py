"""The record of one goal: what counts of its outcomes, and how far it is by them. Pure; bounded by the goal's section.

Of each criterion the last outcomes are kept as pairs of a short name and a score, so that what is told twice counts
once. A record goes to the store as text, whole.
"""

import hashlib
import json
from collections import deque
from dataclasses import field
from typing import Any, Final

from gatewayd.config.goals import ConstraintSection, CriterionSection, GoalSection
from gatewayd.core.errors import InvalidArgument, Violation
from gatewayd.core.goals import (
    COMPLETE,
    GOOD,
    JUDGED,
    MAX_EVIDENCE,
    POOR,
    Breach,
    ConstraintStatus,
    CriterionStatus,
    Evidence,
    GoalMetrics,
    GoalProgress,
    Outcome,
    Recommendation,
)
from gatewayd.core.value import record
from gatewayd.core.work import Execution

_DIGITS: Final = 6
"""Of a score, as it is kept."""


@record(slots=True)
class Tally:
    """What counts of one criterion."""

    measure: str
    scores: deque[tuple[str, float]] = field(default_factory=deque)
    """Name and score of the last outcomes, oldest first."""
    good: int = 0
    evidence: deque[Evidence] = field(default_factory=lambda: deque(maxlen=MAX_EVIDENCE))

    def add(self, name: str, score: float, evidence: Evidence, window: int) -> float | None:
        """Count an outcome; the score of the one whose place it takes."""
        before = next((index for index, (known, _) in enumerate(self.scores) if known == name), None)
        replaced = None
        if before is None:
            self.scores.append((name, score))
        else:
            replaced = self.scores[before][1]
            self.scores[before] = (name, score)
            self.good -= replaced >= GOOD
        while len(self.scores) > window:
            self.scores.popleft()
        self.good += score >= GOOD
        self.evidence.append(evidence)
        return replaced


@record(slots=True)
class Breaches:
    """What counts of one constraint."""

    count: int = 0
    at: int = 0
    """The number of the decision with the last one."""
    names: deque[str] = field(default_factory=lambda: deque(maxlen=100))
    """Of the last ones."""
    evidence: deque[Evidence] = field(default_factory=lambda: deque(maxlen=MAX_EVIDENCE))


class GoalRecord:
    """See the module's docstring. `place` is the cursor of the last event that was counted."""

    def __init__(self, goal_id: str, section: GoalSection, text: str = "") -> None:
        self.id = goal_id
        self.section = section
        self.place = ""
        self.achieved = 0.0
        self.metrics = GoalMetrics()
        self._tallies = {one.id: Tally(one.measure) for one in section.criteria}
        self._breaches = {one.id: Breaches() for one in section.constraints}
        if text:
            self._read(json.loads(text))

    # Counting

    def report(
        self, execution: Execution, time: float, outcomes: list[Outcome], breaches: list[Breach]
    ) -> list[Breach]:
        """Count what was reported, all or nothing; the violations that were not known before."""
        for one in outcomes:
            known = self._tallies.get(one.criterion)
            if known is None:
                raise _wrong("criterion", f"the goal {self.id} has no criterion {one.criterion!r}")
            if known.measure != "reported":
                raise _wrong("criterion", f"{one.criterion!r} is measured by {known.measure}, not by what is reported")
        for each in breaches:
            if each.constraint not in self._breaches:
                raise _wrong("constraint", f"the goal {self.id} has no constraint {each.constraint!r}")
        for one in outcomes:
            evidence = Evidence(time, execution.id, one.evidence, one.score, execution.principal)
            name = _short("reported", execution.id, one.item)
            before = self._tallies[one.criterion].add(name, _kept(one.score), evidence, self.section.window)
            self._count(one.score, before)
        return [each for each in breaches if self._breach(execution, time, each)]

    def observe(self, measure: str, name: str, score: float, evidence: Evidence) -> None:
        """Count the end of an execution (`executions`) or of a call of a tool (`tool_calls`)."""
        for tally in self._tallies.values():
            if tally.measure == measure:
                tally.add(_short(measure, name), _kept(score), evidence, self.section.window)
        self._count(score, None, executions=measure == "executions")

    def _count(self, score: float, before: float | None, *, executions: bool = False) -> None:
        old, well = self.metrics, score >= GOOD
        self.metrics = GoalMetrics(
            old.decisions + (before is None),
            old.good + well - (before is not None and before >= GOOD),
            old.bad + (not well) - (before is not None and before < GOOD),
            old.executions + executions,
        )

    def _breach(self, execution: Execution, time: float, one: Breach) -> bool:
        known, name = self._breaches[one.constraint], _short(execution.id, one.item)
        if name in known.names:
            return False
        old = self.metrics
        self.metrics = GoalMetrics(old.decisions + 1, old.good, old.bad, old.executions)
        known.names.append(name)
        known.count, known.at = known.count + 1, self.metrics.decisions
        known.evidence.append(Evidence(time, execution.id, one.description, 0.0, execution.principal))
        return True

    def forget(self, execution_ids: frozenset[str]) -> bool:
        """Take away what these executions have said; whether there was anything."""
        found = False
        tallies = [one.evidence for one in self._tallies.values()]
        for evidence in (*tallies, *(one.evidence for one in self._breaches.values())):
            for place, one in enumerate(evidence):
                if one.execution_id in execution_ids and one.text:
                    evidence[place] = Evidence(one.time, one.execution_id, "", one.score, one.owner)
                    found = True
        return found

    # Judging

    def progress(self) -> GoalProgress:
        """How far it is."""
        criteria = tuple(map(self._criterion, self.section.criteria))
        constraints = tuple(map(self._constraint, self.section.constraints))
        weights = sum(one.weight for one in criteria)
        reached = sum(one.weight * (1.0 if one.met else one.progress) for one in criteria) / weights
        progress = round(min(1.0, reached), _DIGITS)
        broken = any(one.hard and one.active for one in constraints)
        return GoalProgress(
            id=self.id,
            description=self.section.description,
            progress=progress,
            criteria=criteria,
            constraints=constraints,
            metrics=self.metrics,
            recommendation=_recommended(progress, self.metrics.decisions, broken=broken),
            achieved=self.achieved,
        )

    def _criterion(self, section: CriterionSection) -> CriterionStatus:
        tally, wanted = self._tallies[section.id], section.wanted
        count = len(tally.scores)
        if wanted.count:
            progress = min(1.0, tally.good / wanted.count)
            met = tally.good >= wanted.count
        else:
            share = sum(score for _, score in tally.scores) / count if count else 0.0
            enough = min(1.0, count / self.section.min_outcomes)
            progress, met = share * enough, count >= self.section.min_outcomes and share >= wanted.share - 1e-9
        return CriterionStatus(
            id=section.id,
            description=section.description,
            measure=section.measure,
            target=section.target,
            weight=section.weight,
            met=met,
            progress=round(progress, _DIGITS),
            outcomes=count,
            good=tally.good,
            evidence=tuple(reversed(tally.evidence)),
        )

    def _constraint(self, section: ConstraintSection) -> ConstraintStatus:
        known = self._breaches[section.id]
        return ConstraintStatus(
            id=section.id,
            description=section.description,
            hard=section.kind == "hard",
            violations=known.count,
            active=bool(known.count) and self.metrics.decisions - known.at < self.section.window,
            evidence=tuple(reversed(known.evidence)),
        )

    # Keeping

    def text(self) -> str:
        """For the store."""
        metrics = self.metrics
        held = {
            "place": self.place,
            "achieved": self.achieved,
            "metrics": [metrics.decisions, metrics.good, metrics.bad, metrics.executions],
            "criteria": {
                name: {
                    "measure": one.measure,
                    "scores": list(one.scores),
                    "good": one.good,
                    "evidence": list(map(_plain, one.evidence)),
                }
                for name, one in self._tallies.items()
            },
            "constraints": {
                name: {
                    "count": each.count,
                    "at": each.at,
                    "names": list(each.names),
                    "evidence": list(map(_plain, each.evidence)),
                }
                for name, each in self._breaches.items()
            },
        }
        return json.dumps(held, ensure_ascii=False, separators=(",", ":"))

    def _read(self, held: dict[str, Any]) -> None:
        """What was kept, as far as the goal has it still: a criterion that is measured otherwise begins anew."""
        self.place, self.achieved = held["place"], held["achieved"]
        self.metrics = GoalMetrics(*held["metrics"])
        for name, kept in held["criteria"].items():
            tally = self._tallies.get(name)
            if tally is not None and tally.measure == kept["measure"]:
                tally.scores.extend((each[0], each[1]) for each in kept["scores"][-self.section.window :])
                tally.good = kept["good"]
                tally.evidence.extend(Evidence(*each) for each in kept["evidence"])
        for name, kept in held["constraints"].items():
            if (known := self._breaches.get(name)) is not None:
                known.count, known.at = kept["count"], kept["at"]
                known.names.extend(kept["names"])
                known.evidence.extend(Evidence(*each) for each in kept["evidence"])


def _recommended(progress: float, decisions: int, *, broken: bool) -> Recommendation:
    if broken or (progress < POOR and decisions > JUDGED):
        return Recommendation.ADJUST
    return Recommendation.COMPLETE if progress >= COMPLETE else Recommendation.CONTINUE


def _short(*parts: str) -> str:
    """A name of 12 characters; two that are the same by chance among a thousand are not to be expected."""
    return hashlib.blake2b("\x1f".join(parts).encode(), digest_size=6).hexdigest()


def _kept(score: float) -> float:
    return round(score, _DIGITS)


def _plain(one: Evidence) -> list[Any]:
    return [one.time, one.execution_id, one.text, one.score, one.owner]


def _wrong(field_: str, why: str) -> InvalidArgument:
    return InvalidArgument(f"{field_}: {why}", violations=(Violation(field_, why),))

"""The record of a goal: what counts, how far it is by that, what it recommends, and what is kept of it."""

from typing import Any

import pytest

from gatewayd.config.checking import read
from gatewayd.config.goals import GoalSection
from gatewayd.core.errors import InvalidArgument
from gatewayd.core.goals import MAX_EVIDENCE, Evidence, Recommendation, breach, outcome
from gatewayd.core.message import ReplyKind, ReplyTo
from gatewayd.core.work import Execution, Origin
from gatewayd.runtime.goal_record import GoalRecord


def goal(*criteria: dict[str, Any], **more: Any) -> GoalRecord:
    return GoalRecord("g", read(GoalSection, {"criteria": list(criteria), **more}))


def execution(number: int, principal: str = "p") -> Execution:
    return Execution(
        id=f"x{number}",
        message_id=f"m{number}",
        session_id="",
        agent="a",
        principal=principal,
        origin=Origin.TRIGGER,
        text="",
        reply_to=ReplyTo(ReplyKind.CALLER),
        stream_id="e",
        correlation_id="",
        created=0.0,
    )


def report(record: GoalRecord, criterion: str, *scores: float, first: int = 0) -> None:
    for number, score in enumerate(scores, first):
        record.report(execution(number), 10.0, [outcome(criterion, score, f"n{number}")], [])


def test_progress_is_by_weight_and_a_criterion_that_is_met_counts_whole() -> None:
    record = goal({"id": "a", "target": "75%", "weight": 3}, {"id": "b", "target": "90%"})
    assert record.progress().progress == 0.0

    report(record, "a", 1, 1, 1, 0)
    report(record, "b", 1, 0)

    found = record.progress()
    assert [(one.met, one.progress, one.outcomes) for one in found.criteria] == [(True, 0.75, 4), (False, 0.5, 2)]
    assert found.progress == (3 * 1.0 + 1 * 0.5) / 4
    assert (found.metrics.decisions, found.metrics.good, found.metrics.bad) == (6, 4, 2)
    assert found.metrics.success_rate == pytest.approx(4 / 6)


def test_the_last_outcomes_count_and_the_newest_evidence_is_kept() -> None:
    record = goal({"id": "a"}, window=4)
    report(record, "a", 0, 0, 0, 1, 1, 1, 1)

    (found,) = record.progress().criteria
    assert (found.outcomes, found.progress, found.good) == (4, 1.0, 4)
    assert [one.text for one in found.evidence] == ["n6", "n5", "n4", "n3", "n2"]
    assert len(found.evidence) == MAX_EVIDENCE


def test_an_execution_has_one_outcome_for_a_criterion_and_item() -> None:
    """What runs again after a crash reports again, and counts once."""
    record = goal({"id": "a"}, constraints=[{"id": "c"}])
    for score in (0.0, 1.0, 1.0):
        record.report(execution(1), 1.0, [outcome("a", score)], [breach("c")])
    record.report(execution(1), 1.0, [outcome("a", 0.0, item="second")], [breach("c", item="second")])

    found = record.progress()
    assert (found.criteria[0].outcomes, found.criteria[0].progress, found.criteria[0].good) == (2, 0.5, 1)
    assert (found.metrics.good, found.metrics.bad, found.constraints[0].violations) == (1, 1, 2)


def test_a_number_of_good_outcomes_is_a_target_too() -> None:
    record = goal({"id": "a", "target": 4}, window=2)
    report(record, "a", 1, 0, 0.6, 0.4)
    assert (record.progress().criteria[0].progress, record.progress().criteria[0].met) == (0.5, False)

    report(record, "a", 1, 1, first=10)

    assert record.progress().criteria[0].met
    assert record.progress().recommendation is Recommendation.COMPLETE


def test_a_share_of_too_few_outcomes_is_not_met() -> None:
    record = goal({"id": "a"}, min_outcomes=4)
    report(record, "a", 1, 1)
    assert (record.progress().criteria[0].met, record.progress().progress) == (False, 0.5)

    report(record, "a", 1, 1, first=5)

    assert (record.progress().criteria[0].met, record.progress().progress) == (True, 1.0)


def test_little_progress_wants_an_adjustment_only_after_some_decisions() -> None:
    record = goal({"id": "a"})
    report(record, "a", *[0.2] * 10)
    assert record.progress().recommendation is Recommendation.CONTINUE

    report(record, "a", 0.2, first=20)

    assert record.progress().recommendation is Recommendation.ADJUST
    report(record, "a", *[0.4] * 40, first=30)
    assert record.progress().recommendation is Recommendation.CONTINUE


@pytest.mark.parametrize(
    ("weight", "recommended"),
    [
        (0.29, Recommendation.ADJUST),
        (0.3, Recommendation.CONTINUE),
        (0.94, Recommendation.CONTINUE),
        (0.95, Recommendation.COMPLETE),
    ],
)
def test_the_bounds_themselves_are_not_below(weight: float, recommended: Recommendation) -> None:
    record = goal({"id": "met", "weight": weight}, {"id": "not", "weight": 1 - weight})
    report(record, "met", *[1] * 6)
    report(record, "not", *[0] * 6)

    assert record.progress().progress == weight
    assert record.progress().recommendation is recommended


def test_a_hard_violation_wants_an_adjustment_until_enough_went_without() -> None:
    constraints = [{"id": "hard", "kind": "hard"}, {"id": "soft"}]
    record = goal({"id": "a"}, constraints=constraints, window=5)
    report(record, "a", 1)
    record.report(execution(100), 2.0, [], [breach("soft", "hm")])
    assert record.progress().recommendation is Recommendation.COMPLETE

    record.report(execution(101), 2.0, [], [breach("hard", "no!")])

    assert record.progress().recommendation is Recommendation.ADJUST
    assert [(one.id, one.violations, one.active) for one in record.progress().constraints] == [
        ("hard", 1, True),
        ("soft", 1, True),
    ]
    report(record, "a", 1, 1, 1, 1, first=5)
    assert record.progress().recommendation is Recommendation.ADJUST
    report(record, "a", 1, first=20)
    assert record.progress().recommendation is Recommendation.COMPLETE
    assert record.progress().constraints[0].violations == 1


def test_what_is_seen_of_executions_counts_for_criteria_of_that_measure() -> None:
    record = goal({"id": "runs", "measure": "executions"}, {"id": "calls", "measure": "tool_calls"}, {"id": "told"})
    record.observe("executions", "e1", 1.0, Evidence(1.0, "x1", "it succeeded", 1.0))
    record.observe("tool_calls", "e2", 0.0, Evidence(1.0, "x1", "it failed"))

    found = record.progress()
    assert [one.outcomes for one in found.criteria] == [1, 1, 0]
    assert [one.progress for one in found.criteria] == [1.0, 0.0, 0.0]
    assert (found.metrics.decisions, found.metrics.executions) == (2, 1)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (([outcome("b", 1)], []), "has no criterion 'b'"),
        (([outcome("runs", 1)], []), "is measured by executions"),
        (([], [breach("c")]), "has no constraint 'c'"),
        (([outcome("a", 1)], [breach("c")]), "has no constraint 'c'"),
    ],
)
def test_a_report_that_does_not_fit_counts_nothing(given: Any, said: str) -> None:
    record = goal({"id": "a"}, {"id": "runs", "measure": "executions"})

    with pytest.raises(InvalidArgument, match=said):
        record.report(execution(1), 1.0, *given)

    assert record.progress().metrics.decisions == 0


@pytest.mark.parametrize("score", [-0.1, 1.1, float("nan"), float("inf"), "1"])
def test_a_score_is_from_0_to_1(score: Any) -> None:
    with pytest.raises(InvalidArgument, match="no score from 0 to 1"):
        outcome("a", score)


def test_a_record_comes_back_as_it_was() -> None:
    constraints = [{"id": "c", "kind": "hard"}]
    record = goal({"id": "a"}, {"id": "b", "target": 3}, constraints=constraints)
    report(record, "a", 1, 0, 1)
    report(record, "b", 1, 1)
    record.report(execution(7, "somebody"), 3.0, [], [breach("c", "halves \ud83d stay out")])
    record.place, record.achieved = "e:9", 4.0

    again = GoalRecord("g", record.section, record.text())

    assert again.progress() == record.progress()
    assert (again.place, again.text()) == ("e:9", record.text())
    again.report(execution(2), 5.0, [outcome("a", 1)], [])
    assert again.progress().criteria[0].outcomes == 3


def test_a_changed_goal_keeps_what_still_fits() -> None:
    """A criterion that is gone, or measured otherwise, is forgotten; a smaller window holds the newest."""
    record = goal({"id": "a"}, {"id": "b"}, {"id": "c"})
    for name in "abc":
        report(record, name, 0, 1, 1)

    other = goal({"id": "a"}, {"id": "b", "measure": "executions"}, {"id": "d"}, window=2)
    found = GoalRecord("g", other.section, record.text()).progress()

    assert [(one.id, one.outcomes, one.progress) for one in found.criteria] == [
        ("a", 2, 1.0),
        ("b", 0, 0.0),
        ("d", 0, 0.0),
    ]


def test_a_record_stays_small() -> None:
    """The largest that a configuration can ask for, full."""
    record = goal(*({"id": f"c{number}"} for number in range(20)), window=1000)
    for number in range(1500):
        record.report(execution(number), 1.0, [outcome(f"c{each}", 1 / 3, "x" * 5000) for each in range(20)], [])

    assert len(record.text()) < 1_000_000
    assert all(one.outcomes == 1000 for one in record.progress().criteria)

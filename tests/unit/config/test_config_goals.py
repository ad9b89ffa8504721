"""Goals in gateway.yaml: what they take, and where what is wrong is told."""

from pathlib import Path

import pytest
from config_rig import lines, loaded

from gatewayd.config.goals import Target

BASE = "agents: {a: {model: offline/echo}}\nentry_points: {e: {agent: a, goal: g}}\n"


def with_goal(goal: str) -> str:
    return f"{BASE}goals: {{g: {{{goal}}}}}\n"


def test_a_goal_is_read_with_its_defaults() -> None:
    config = loaded(with_goal("criteria: [{id: x}], constraints: [{id: y}]")).config
    goal = config.goals["g"]

    assert (goal.window, goal.min_outcomes, goal.description) == (100, 1, "")
    assert (goal.criteria[0].target, goal.criteria[0].weight, goal.criteria[0].measure) == ("80%", 1.0, "reported")
    assert goal.constraints[0].kind == "soft"
    assert (config.entry_points["e"].goal, config.entry_points["e"].isolation_level) == ("g", "shared")


@pytest.mark.parametrize(
    ("written", "wanted"),
    [
        ("95%", Target(share=0.95)),
        ("'99.5 %'", Target(share=0.995)),
        ("100%", Target(share=1.0)),
        ("10", Target(count=10)),
        ("'7'", Target(count=7)),
    ],
)
def test_a_target_is_a_share_or_a_number(written: str, wanted: Target) -> None:
    assert loaded(with_goal(f"criteria: [{{id: x, target: {written}}}]")).config.goals["g"].criteria[0].wanted == wanted


@pytest.mark.parametrize(
    ("goal", "said"),
    [
        ("description: x", "goals.g.criteria: this key is required and missing"),
        ("criteria: []", "goals.g.criteria: a list of 0; at least 1 wanted"),
        ("criteria: [{description: x}]", "goals.g.criteria[0].id: this key is required and missing"),
        ("criteria: [{id: x, weigth: 2}]", "goals.g.criteria[0].weigth: unknown key (did you mean weight?)"),
        ("criteria: [{id: x, weight: 0}]", "goals.g.criteria[0].weight: 0 is not a number from 0.01 to 1000"),
        ("criteria: [{id: x, target: 0%}]", "such as 95%, or a number of good outcomes"),
        ("criteria: [{id: x, target: 101%}]", "'101%' is not a target"),
        ("criteria: [{id: x, target: -3}]", "-3 is not a target"),
        ("criteria: [{id: x, target: 0.9}]", "0.9 is not a target"),
        ("criteria: [{id: x, target: true}]", "true is not a target"),
        ("criteria: [{id: x, measure: luck}]", "is not one of reported, executions, tool_calls"),
        ("criteria: [{id: x}, {id: y}, {id: x}]", "goals.g.criteria[0] and goals.g.criteria[2] have the same id x"),
        (
            "criteria: [{id: x}], constraints: [{id: z}, {id: z}]",
            "goals.g.constraints[0] and goals.g.constraints[1] have the same id z",
        ),
        ("criteria: [{id: x}], constraints: [{id: z, kind: firm}]", "is not one of hard, soft"),
        ("criteria: [{id: x}], window: 0", "goals.g.window"),
        ("criteria: [{id: x}], window: 5, min_outcomes: 6", "goals.g.min_outcomes: there are never 6 outcomes"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(goal: str, said: str) -> None:
    told = lines(with_goal(goal).encode())

    assert any(said in line for line in told), told
    assert any(":3:" in line for line in told)


def test_a_goal_that_is_not_there_is_told_with_those_that_are() -> None:
    told = lines(f"{BASE}goals: {{gg: {{criteria: [{{id: x}}]}}}}\n".encode())

    assert len(told) == 1
    assert "entry_points.e.goal: there is no goal g" in told[0]
    assert "gg" in told[0]


def test_the_same_goal_twice_is_told_with_both_places() -> None:
    told = lines(f"{BASE}goals:\n  g: {{criteria: [{{id: x}}]}}\n  g: {{criteria: [{{id: x}}]}}\n".encode())

    assert len(told) == 1
    assert ":5:" in told[0]
    assert "first in line 4" in told[0]


def test_what_the_reference_shows_loads() -> None:
    page = (Path(__file__).parents[3] / "docs" / "reference" / "goals.md").read_text()
    shown = page.split("```yaml\n")[1].split("```")[0]

    config = loaded(shown).config

    assert [one.id for one in config.goals["helpful"].criteria] == ["answered", "reliable"]
    assert config.entry_points["support"].goal == "helpful"

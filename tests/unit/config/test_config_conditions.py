"""The language of `when`, and the places of prompts: what they mean, and that nothing runs or grows without bound."""

from typing import Any

import pytest
from config_rig import loaded

from gatewayd.config.conditions import Condition
from gatewayd.config.facts import Said
from gatewayd.config.prompts import faults_in, fill, fill_all

FACTS: dict[str, Any] = {
    "success": True,
    "failure": False,
    "always": True,
    "error": "",
    "visits": 2,
    "output": Said.of(
        '{"kind": "refund", "sum": 12.5, "tags": ["a", 1], "deep": {"x y": null}, "yes": true, "n": "7"}'
    ),
    "task": Said.of("  Please refund me\n"),
    "memory": {"plan-1": Said.of('```json\n["one", {"two": 2}]\n```'), "a.b": Said.of("no {json")},
}
FAILED = FACTS | {"success": False, "failure": True, "error": "it broke", "output": Said("")}

HOLD = [
    "success",
    "always",
    "not failure",
    'output.kind == "refund"',
    "output.kind == 'refund' and output.sum > 12",
    "output.sum >= 12.5 and output.sum <= 12.5 and output.sum < 13",
    "output.sum != 12",
    "output.yes",
    "output.yes == true",
    "output.missing == null",
    "output.deep contains 'x y'",
    "not output.missing",
    "output.tags contains 'a' and output.tags contains 1",
    "output.tags.0 == 'a'",
    "output.kind in ['refund', 'complaint']",
    "output.n == 7 and output.n > 6.5",
    "task contains 'refund'",
    "task == 'Please refund me'",
    "visits < 3",
    "memory.plan-1.1.two == 2",
    'memory."a.b" contains "{"',
    "failure or (output.yes and not (visits > 2))",
    "not failure and not failure or failure",
    "'b' < 'c'",
    "output contains 'refund'",
]
DO_NOT = [
    "failure",
    "output.kind == 'Refund'",
    "output.yes == 1",
    "output.sum > 'a'",
    "output.tags > 1",
    "output.missing > 1",
    "output.kind.deeper == 'refund'",
    "output.tags.9",
    "memory.plan-1.two",
    "1 in 'a1'",
    "error",
    "''",
    "0",
    "[]",
    "null",
    "false",
]
WRONG = {
    "": "a value is expected where the end is",
    "output.kind = 'x'": "at character 13 means nothing here; equal is ==",
    "output.kind ==": "a value is expected where the end is",
    "success success": "and, or, or the end is expected where 'success' at character 9 is",
    "(success": "')' is expected where the end is",
    "[1, 2": "']' is expected where the end is",
    "succes": "there is nothing called succes; there are always, error",
    "success.x": "success is one value: nothing can be asked of it",
    "memory": "memory wants the name of a node",
    "__import__('os')": "there is nothing called __import__",
    "output.__class__()": "and, or, or the end is expected where '(' at character 17",
    "'open": "means nothing here",
    "1 + 1": "'+ 1' at character 3",
    "and success": "a value is expected where 'and' at character 1",
    "a" * 501: "a condition of 501 characters; at most 500",
    "(" * 17 + "success" + ")" * 17: "nested deeper than 16 levels",
    "not " * 17 + "success": "nested deeper than 16 levels",
    "output" + ".a" * 16: "a path of 17 steps; at most 16",
}


@pytest.mark.parametrize("text", HOLD)
def test_these_hold(text: str) -> None:
    assert Condition.parse(text).holds(FACTS)


@pytest.mark.parametrize("text", DO_NOT)
def test_these_do_not(text: str) -> None:
    assert not Condition.parse(text).holds(FACTS)


@pytest.mark.parametrize(("text", "said"), WRONG.items())
def test_what_is_no_condition_is_told_with_its_place(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=r".") as refused:
        Condition.parse(text)

    assert said in str(refused.value)


def test_a_condition_that_does_not_speak_of_failure_is_for_success_alone() -> None:
    assert not Condition.parse("not output.kind").holds(FAILED)
    assert Condition.parse("failure and not output.kind").holds(FAILED)
    assert Condition.parse("error contains 'broke'").holds(FAILED)
    assert Condition.parse("always").holds(FAILED)


def test_places_are_filled_in_once() -> None:
    facts = FACTS | {"output": Said.of('{"text": "{{task}}", "list": [1, "é"]}')}

    assert fill("{{ output.text }}: {{output.list}}, {{output.none}}.", facts) == '{{task}}: [1, "é"], .'
    assert fill_all({"a": ["{{output.list}}", "{{visits}}", "x{{visits}}", 3]}, facts) == {"a": [[1, "é"], 2, "x2", 3]}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{nothing}}", "there is nothing called nothing"),
        ({"a": ["{{memory.who}}"]}, "memory knows no node who"),
        ("{{output..a}}", "is no path"),
        ("{{ }}", "is no path"),
        ("{{task}}" * 101, "101 places to fill in; at most 100"),
    ],
)
def test_a_wrong_place_is_told(text: object, said: str) -> None:
    assert any(said in each for each in faults_in(text, ["plan"]))


def test_a_right_place_is_not() -> None:
    assert list(faults_in({"a": ["{{task}} {{memory.plan.x}} { {not} one}", 3]}, ["plan"])) == []


def test_a_chat_with_an_agent_that_waits_is_not_warned_of() -> None:
    text = """
agents: {a: {model: offline/echo}, desk: {graph: g}, quick: {graph: h}}
channels: {c: {platform: sim, routing: {dm: desk, group: quick}}}
graphs:
  g: {entry_node: ask, nodes: {ask: {agent: a, client_facing: true}, then: {agent: a}}, edges: [{from: ask, to: then}]}
  h: {nodes: {say: {agent: a, client_facing: true, input: false}}}
"""

    assert not loaded(text).warnings

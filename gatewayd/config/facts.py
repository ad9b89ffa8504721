"""What a condition or a prompt of a graph may ask for: paths such as `output.city` and `memory.plan.steps`.

Nothing is run to find a value: a path goes through mappings and lists alone, and what is not there is null.
"""

import json
import math
import re
from collections.abc import Collection, Mapping
from typing import Any, Final, NoReturn

from gatewayd.core.value import value

PLAIN: Final = frozenset({"success", "failure", "always", "error", "visits"})
"""Facts that are no more than one value."""
DEEP: Final = frozenset({"output", "task", "memory"})
"""Facts that a path may go into."""
SPOKEN: Final = frozenset({"success", "failure", "always", "error"})
"""A condition that names one of these says by itself whether it is for nodes that failed."""
MAX_STEPS: Final = 16
"""Longest path, in steps."""

_WORD: Final = re.compile(r'[A-Za-z_][\w\-]*|[0-9]+|"[^"\\]*"')

Steps = tuple[str, ...]
Facts = Mapping[str, Any]


@value(frozen=True, slots=True)
class Said:
    """A text, and what it is when it is read as JSON: None where it is neither an object nor a list."""

    text: str
    data: Any = None

    @classmethod
    def of(cls, text: str) -> "Said":
        """The text with what is in it; a model's fence around its JSON does not count."""
        inner = text.strip()
        if inner.startswith("```") and inner.endswith("```"):
            inner = inner[3:-3].removeprefix("json").strip()
        if not inner.startswith(("{", "[")):
            return cls(text)
        try:
            data = json.loads(inner, parse_constant=_refuse, parse_float=_finite)
            # Half a surrogate pair is JSON, but no text that could be stored or sent.
            json.dumps(data, ensure_ascii=False).encode()
        except (ValueError, RecursionError):
            return cls(text)
        return cls(text, data)


def _refuse(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    if not math.isfinite(found := float(text)):
        _refuse(text)
    return found


def steps_of(text: str) -> Steps:
    """The steps of a path; `ValueError` with a sentence when it is none. A step with other signs stands in quotes."""
    steps: list[str] = []
    at = 0
    while match := _WORD.match(text, at):
        steps.append(match[0].strip('"'))
        at = match.end()
        if at == len(text) or text[at] != ".":
            break
        at += 1
    if at != len(text) or not steps or text.endswith("."):
        raise ValueError(f"{text[:60]!r} is no path: write names with a '.' between, such as output.city")
    if len(steps) > MAX_STEPS:
        raise ValueError(f"a path of {len(steps)} steps; at most {MAX_STEPS} are taken")
    return tuple(steps)


def check_steps(steps: Steps, nodes: Collection[str] | None = None) -> str:
    """What is wrong with a path; '' when nothing is. `nodes` are those that `memory` can speak of."""
    first = steps[0]
    if first not in PLAIN | DEEP:
        return f"there is nothing called {first[:60]}; there are {', '.join(sorted(PLAIN | DEEP))}"
    if first in PLAIN and len(steps) > 1:
        return f"{first} is one value: nothing can be asked of it"
    if first == "memory" and len(steps) < 2:
        return "memory wants the name of a node, such as memory.plan"
    if first == "memory" and nodes is not None and steps[1] not in nodes:
        return f"memory knows no node {steps[1][:60]}"
    return ""


def look_up(steps: Steps, facts: Facts) -> Any:
    """The value at the end of the path; None when there is none."""
    found: Any = facts.get(steps[0])
    for step in steps[1:]:
        if isinstance(found, Said):
            found = found.data
        if isinstance(found, Mapping):
            found = found.get(step)
        elif isinstance(found, list) and step.isascii() and step.isdigit() and int(step) < len(found):
            found = found[int(step)]
        else:
            return None
    return found.text.strip() if isinstance(found, Said) else found


__all__ = ["DEEP", "PLAIN", "SPOKEN", "Facts", "Said", "Steps", "check_steps", "look_up", "steps_of"]

"""The section `goals`: what executions of entry points are to reach, and what they must not do."""

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Annotated, Final, Literal

from gatewayd.config.fields import Length, Name, Number, Text, Whole
from gatewayd.config.plain import number, refuse
from gatewayd.config.problems import Path
from gatewayd.config.section import Section, setting
from gatewayd.core.value import value

Measure = Literal["reported", "executions", "tool_calls"]
Kind = Literal["hard", "soft"]

MAX_CRITERIA: Final = 20
MAX_CONSTRAINTS: Final = 20
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,4})?)\s*%\Z")
_COUNT = re.compile(r"[0-9]{1,9}\Z")
_Told = Annotated[str, Text(1024)]


@value(frozen=True, slots=True)
class Target:
    """What a criterion wants: a share of its outcomes, or a number of good ones; the other is 0."""

    share: float = 0.0
    """Above 0, to 1."""
    count: int = 0

    @classmethod
    def parse(cls, text: str) -> "Target":
        """Of `95%` or `10`. Raises `ValueError`."""
        if match := _SHARE.match(text):
            share = float(match[1]) / 100
            if 0 < share <= 1:
                return cls(share=share)
        elif _COUNT.match(text) and int(text) > 0:
            return cls(count=int(text))
        raise ValueError(text)


def target_text(given: object) -> str:
    """A share such as `95%`, or a whole number of good outcomes."""
    amount = number(given)
    text = f"{amount:.0f}" if amount is not None and int(amount) == amount else given
    try:
        return text.strip() if isinstance(text, str) and Target.parse(text.strip()) else _no_target()
    except ValueError:
        return _no_target()


def _no_target() -> str:
    raise refuse("a target", "a share above 0% and up to 100%, such as 95%, or a number of good outcomes, such as 10")


class CriterionSection(Section):
    """`goals.<id>.criteria[]`: one thing by which the goal is measured."""

    id: Name = setting(description="What outcomes name it by; once within the goal.")
    description: _Told = setting(default="", description="What it means, for people; at most 1024 characters.")
    measure: Measure = setting(
        default="reported",
        description="What its outcomes are: `reported` (default), what agents and clients report for it; `executions`, "
        "whether each execution succeeds; `tool_calls`, whether each call of a tool does.",
    )
    target: Annotated[str, target_text] = setting(
        default="80%",
        description="When it is met: `95%`, if so much of its last outcomes is good; `10`, once so many were good. "
        "Default 80%.",
    )
    weight: Annotated[float, Number(0.01, 1000)] = setting(
        default=1.0, description="How much it counts beside the others. Default 1, 0.01 to 1000."
    )

    @property
    def wanted(self) -> Target:
        """The target, read."""
        return Target.parse(self.target)


class ConstraintSection(Section):
    """`goals.<id>.constraints[]`: one thing that must not happen."""

    id: Name = setting(description="What violations name it by; once within the goal.")
    description: _Told = setting(default="", description="What it means, for people; at most 1024 characters.")
    kind: Kind = setting(
        default="soft",
        description="What a violation does: `hard`, the goal is not reached and wants to be adjusted as long as one is "
        "among its last decisions; `soft` (default), it is told.",
    )


class GoalSection(Section):
    """`goals.<id>`: what the executions of the entry points with this goal are to reach."""

    description: _Told = setting(default="", description="What it means, for people; at most 1024 characters.")
    criteria: Annotated[tuple[CriterionSection, ...], Length(1, MAX_CRITERIA)] = setting(
        description="By what it is measured; 1 to 20."
    )
    constraints: Annotated[tuple[ConstraintSection, ...], Length(0, MAX_CONSTRAINTS)] = setting(
        default=(), description="What must not happen; at most 20. Default: nothing."
    )
    window: Annotated[int, Whole(1, 1000)] = setting(
        default=100,
        description="How many of the last outcomes of a criterion count, and among how many of the last decisions a "
        "hard violation does. Default 100, 1 to 1000.",
    )
    min_outcomes: Annotated[int, Whole(1, 1000)] = setting(
        default=1,
        description="How many outcomes a criterion with a share as its target has before it can be met. Default 1, to "
        "1000.",
    )


def goal_faults(name: str, section: GoalSection) -> Iterator[tuple[Path, str, str]]:
    """Ids that are there twice, and bounds that exclude each other: path, what is wrong, what to do."""
    yield from _twice(name, "criteria", [one.id for one in section.criteria])
    yield from _twice(name, "constraints", [one.id for one in section.constraints])
    if section.min_outcomes > section.window:
        what = f"there are never {section.min_outcomes} outcomes: the last {section.window} count"
        yield ("goals", name, "min_outcomes"), what, f"make it at most {section.window}, or goals.{name}.window larger"


def _twice(name: str, part: str, ids: Sequence[str]) -> Iterator[tuple[Path, str, str]]:
    places: defaultdict[str, list[int]] = defaultdict(list)
    for number_, each in enumerate(ids):
        places[each].append(number_)
        if len(places[each]) > 1:
            here = f"goals.{name}.{part}"
            what = f"{here}[{places[each][0]}] and {here}[{number_}] have the same id {each}"
            yield ("goals", name, part, number_, "id"), what, "give each an id of its own"


__all__ = ["ConstraintSection", "CriterionSection", "GoalSection", "Target", "goal_faults"]

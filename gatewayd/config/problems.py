"""What is wrong with a configuration, and where: `file:line:col: path: what (hint)`.

All problems of a load are collected here and leave together in one `ConfigRefused`.
"""

from collections.abc import Collection, Iterable
from dataclasses import field

from gatewayd.core.errors import ConfigInvalid, Violation
from gatewayd.core.nearest import nearest
from gatewayd.core.value import record, value

MAX_PROBLEMS = 100
"""At the next one reading stops: nobody reads more, and a hostile file could make a million."""

Path = tuple[str | int, ...]
"""Where a value stands: `("agents", "sales", "tools", 0)`."""


@value(frozen=True, slots=True)
class Place:
    """A place in a file, counted from 1; line 0 is a source without lines, such as the flag `--port`."""

    file: str
    line: int = 0
    col: int = 0

    def __str__(self) -> str:
        return f"{self.file}:{self.line}:{self.col}" if self.line else self.file


@value(frozen=True, slots=True)
class Problem:
    """One thing that is wrong (or doubtful), fit to be printed to an operator."""

    file: str
    line: int
    col: int
    path: str
    what: str
    hint: str = ""

    def __str__(self) -> str:
        where = str(Place(self.file, self.line, self.col))
        path = f"{self.path}: " if self.path else ""
        hint = f" ({self.hint})" if self.hint else ""
        return f"{where}: {path}{self.what}{hint}"

    def as_dict(self) -> dict[str, str | int]:
        """For `--check --json`."""
        return {
            "file": self.file,
            "line": self.line,
            "col": self.col,
            "path": self.path,
            "what": self.what,
            "hint": self.hint,
        }


class ConfigRefused(ConfigInvalid):
    """`ConfigInvalid` with every problem as a value."""

    def __init__(self, problems: Iterable[Problem], *, complete: bool = True) -> None:
        self.problems = tuple(problems)
        self.complete = complete
        """Whether these are all; reading stops after `MAX_PROBLEMS`."""
        count = len(self.problems)
        more = f" (the first of {count if complete else f'more than {count}'} problems)" if count > 1 else ""
        super().__init__(
            f"{self.problems[0]}{more}",
            violations=[Violation(problem.path, str(problem)) for problem in self.problems],
        )

    def lines(self) -> list[str]:
        """What `--check` prints."""
        lines = [str(problem) for problem in self.problems]
        return lines if self.complete else [*lines, f"there are more than {len(lines)} problems: reading stopped here"]


@record(slots=True)
class Problems:
    """The problems found so far, in a bounded list."""

    found: list[Problem] = field(default_factory=list)

    def add(self, place: Place, path: Path, what: str, hint: str = "") -> None:
        self.take(problem_at(place, path, what, hint))

    def take(self, problem: Problem) -> None:
        """Note a problem; raise all of them when there are too many."""
        if problem in self.found:
            return
        if len(self.found) >= MAX_PROBLEMS:
            self.raise_any(complete=False)
        self.found.append(problem)

    def raise_any(self, *, complete: bool = True) -> None:
        """Raise what was found, in the order of the file."""
        if self.found:
            ordered = sorted(self.found, key=lambda each: (each.file, each.line, each.col))
            raise ConfigRefused(ordered, complete=complete)


def problem_at(place: Place, path: Path, what: str, hint: str = "") -> Problem:
    """The problem with its path in dotted form."""
    return Problem(printable(place.file, 400), place.line, place.col, dotted(path), what, hint)


def dotted(path: Path) -> str:
    """`agents.sales.tools[0]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + printable(step)
    return text


def printable(text: str, limit: int = 60) -> str:
    """The text on one line, without anything that a terminal would obey, and not endless."""
    cut = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in cut
    )


def one_of(known: Collection[str], limit: int = 20) -> str:
    """The names in order, for a hint."""
    listed = sorted(known)
    rest = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(printable(each) for each in listed[:limit]) + rest


def suggest(wrong: str, known: Collection[str], kind: str) -> str:
    """`did you mean X?` when something is close, else the known ones."""
    if not known:
        return f"there are no {kind}"
    close = nearest(wrong, sorted(known))
    return f"did you mean {printable(close)}?" if close else f"known {kind}: {one_of(known)}"

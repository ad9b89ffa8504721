"""What a command says: tables and short records for people, JSON and YAML for programs.

Raw values go to JSON and YAML; people get ages and units. Text from outside is made harmless for a terminal: a chat
message must not move the operator's cursor. The only module that prints.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gatewayctl.words import is_obeyed, printable

if TYPE_CHECKING:
    from typing import TextIO

Row = Mapping[str, Any]
Column = tuple[str, "str | Callable[[Row], object]"]
"""Title, and the key of a row or what makes the cell of it."""

FORMS = ("table", "json", "yaml")
_COLOURS = {
    "green": ("healthy", "ready", "serving", "available", "connected", "succeeded", "answered", "sent", "running"),
    "yellow": ("degraded", "retrying", "starting", "draining", "paused", "queued", "away", "input_required"),
    "red": ("broken", "failed", "unavailable", "dead_lettered", "failed_and_told", "dead", "expired"),
}
_CODES = {"green": "32", "yellow": "33", "red": "31", "bold": "1", "dim": "2"}


class Output:
    """Where a command's answer goes, in one form."""

    def __init__(self, form: str = "table", stream: TextIO | None = None, colour: bool | None = None) -> None:
        self.form = form
        self.stream = stream or sys.stdout
        self.colour = self.stream.isatty() if colour is None else colour

    @property
    def for_people(self) -> bool:
        return self.form == "table"

    def say(self, text: str = "") -> None:
        """A line for people; programs do not get it."""
        if self.for_people:
            self._print(text)

    def note(self, text: str) -> None:
        """A remark beside the answer, to stderr, in every form; behind what was answered before."""
        self.stream.flush()
        print(printable(text), file=sys.stderr)

    def values(self, values: object) -> None:
        """Values for programs, whole."""
        if self.form == "yaml":
            import yaml  # noqa: PLC0415 - heavy

            text = yaml.safe_dump(values, sort_keys=False, allow_unicode=True)
            if not _is_harmless(text):
                text = yaml.safe_dump(values, sort_keys=False)
            self._print(text.rstrip("\n"))
        else:
            self._print(_json(values, indent=2))

    def item(self, values: object) -> None:
        """One of a sequence that has no end: a line of JSON, or a YAML document."""
        if self.form == "yaml":
            self._print("---")
            self.values(values)
        else:
            self._print(_json(values))
        self.stream.flush()

    def record(self, values: Row, fields: Iterable[tuple[str, object]]) -> None:
        """One thing: for people the fields (name, text) that have a text."""
        if not self.for_people:
            self.values(values)
            return
        lines = [(name, str(value)) for name, value in fields if value not in ("", None)]
        width = max((len(name) for name, _ in lines), default=0)
        for name, value in lines:
            self._print(f"{name:<{width}}  {self.paint(printable(value))}")

    def table(self, rows: Sequence[Row], columns: Sequence[Column], empty: str) -> None:
        """Many things: for people a table, or the sentence `empty` when there is none."""
        if not self.for_people:
            self.values(list(rows))
            return
        if not rows:
            self._print(empty)
            return
        cells = [[printable(_cell(row, key)) for _, key in columns] for row in rows]
        widths = [max(len(title), *(len(line[at]) for line in cells)) for at, (title, _) in enumerate(columns)]
        self._print(self._code("bold", _join([title for title, _ in columns], widths)))
        for line in cells:
            padded = [f"{text:<{width}}" for text, width in zip(line, widths, strict=True)]
            self._print("  ".join(self.paint(text) for text in padded).rstrip())

    def text(self, text: str, end: str = "\n") -> None:
        """Words of an agent or a person, as they are, made harmless; there at once, also in a pipe."""
        self._print(printable(text, lines=True), end=end)
        self.stream.flush()

    def paint(self, text: str) -> str:
        """A state in its colour; anything else as it is."""
        word = text.rstrip()
        for colour, states in _COLOURS.items():
            if word in states:
                return self._code(colour, text)
        return text

    def _code(self, colour: str, text: str) -> str:
        return f"\x1b[{_CODES[colour]}m{text}\x1b[0m" if self.colour else text

    def _print(self, text: str, end: str = "\n") -> None:
        print(text, file=self.stream, end=end)


def _json(values: object, indent: int | None = None) -> str:
    import json  # noqa: PLC0415 - people do not need it

    text = json.dumps(values, ensure_ascii=False, indent=indent)
    return text if _is_harmless(text) else json.dumps(values, indent=indent)


def _is_harmless(text: str) -> bool:
    """Whether a terminal obeys nothing in it but the ends of its lines."""
    return text.isprintable() or not any(is_obeyed(each) for each in text if each != "\n")


def _cell(row: Row, key: str | Callable[[Row], object]) -> str:
    value = row.get(key) if isinstance(key, str) else key(row)
    return "-" if value in ("", None) else str(value)


def _join(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{text:<{width}}" for text, width in zip(cells, widths, strict=True)).rstrip()

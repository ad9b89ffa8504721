"""What a scalar without quotes means, and how variables are put into text.

Only `true` and `false` are booleans, only `null`, `~` and nothing are null, and a number that could be read in two
ways is refused: `on`, `yes` and `1:30` stay the text that they look like (https://yaml.org/spec/1.2.2/#103-core-schema).
"""

import re
from collections.abc import Mapping

from gatewayd.core.value import value

MAX_TEXT = 1024 * 1024
"""Longest text that variables may expand to."""

_WHOLE = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,17})\Z")
_REAL = re.compile(r"[-+]?(?:(?:0|[1-9][0-9]{0,30})\.[0-9]{0,30}|\.[0-9]{1,30})(?:[eE][-+]?[0-9]{1,3})?\Z")
_DOUBTFUL = re.compile(r"[-+]?0[0-9]+\Z")
_ENDLESS = re.compile(r"[-+]?[1-9][0-9]{18,}\Z")
_NOT_FINITE = frozenset((".nan", ".inf", "-.inf", "+.inf"))
_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}\Z")
_CONSTANTS: Mapping[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


class Unreadable(ValueError):
    """A scalar that has no one meaning."""

    def __init__(self, what: str, hint: str) -> None:
        super().__init__(what)
        self.what = what
        self.hint = hint


@value(frozen=True, slots=True)
class Expanded:
    """Text with its variables put in."""

    text: str
    used: tuple[str, ...] = ()
    """Variables whose value is part of the text."""
    unset: tuple[str, ...] = ()
    """Variables that are not set, or set to nothing, and have no default."""


def plain(text: str) -> bool | int | float | str | None:
    """The value of a scalar without quotes, or `Unreadable`."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _WHOLE.match(text):
        return int(text)
    if _REAL.match(text):
        number = float(text)
        if abs(number) != float("inf"):
            return number
        raise Unreadable("this number is too large", "put it in quotes if it is text")
    if _DOUBTFUL.match(text):
        raise Unreadable(
            "a number with a leading zero could be octal or decimal",
            "write it without the zero, or in quotes if it is text",
        )
    if _ENDLESS.match(text):
        raise Unreadable("this number is too large", "put it in quotes if it is text")
    if text.lower() in _NOT_FINITE:
        raise Unreadable("only finite numbers are values", "put it in quotes if it is text")
    return text


def expand(text: str, environ: Mapping[str, str]) -> Expanded:
    """Replace `${VAR}` and `${VAR:-default}`; `$${` stands for `${`. Values are never expanded again."""
    parts: list[str] = []
    used: list[str] = []
    unset: list[str] = []
    done = length = 0
    while (start := text.find("${", done)) >= 0:
        if start > done and text[start - 1] == "$":
            parts.append(text[done : start - 1] + "${")
            done = start + 2
            continue
        end = text.find("}", start)
        name, default = _reference(text[start + 2 : end] if end > 0 else None)
        value = environ.get(name, "")
        if value:
            used.append(name)
        elif default is None:
            unset.append(name)
        parts += (text[done:start], value or default or "")
        length += len(parts[-1]) + len(parts[-2])
        if length > MAX_TEXT:
            raise Unreadable(f"variables make this longer than {MAX_TEXT} characters", "use a shorter value")
        done = end + 1
    parts.append(text[done:])
    return Expanded("".join(parts), tuple(used), tuple(dict.fromkeys(unset)))


def _reference(inner: str | None) -> tuple[str, str | None]:
    """Name and default of what stands between `${` and `}`."""
    if inner is None:
        raise Unreadable("'${' without '}'", "write ${VAR}, or $${ for the two characters themselves")
    if "${" in inner:
        raise Unreadable("a variable inside a variable", "${VAR:-default} takes plain text as its default")
    name, colon, default = inner.partition(":-")
    if not _VARIABLE.match(name):
        raise Unreadable("'${' is not followed by the name of a variable", "write ${VAR} or ${VAR:-default}")
    return name, default if colon else None

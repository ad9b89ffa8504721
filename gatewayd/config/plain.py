"""The plain kinds of value, and the error for one that is not what is wanted."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from gatewayd.core.pem import Pem
from gatewayd.core.secret import Secret

_QUOTES: Final = "put it in quotes"


class Refused(ValueError):
    """A value that is not `wanted` ("a whole number from 1 to 9"), or a whole sentence of what is wrong with it."""

    def __init__(self, wanted: str = "", hint: str = "", *, sentence: str = "") -> None:
        super().__init__(sentence or f"is not {wanted}")
        self.wanted = wanted
        self.hint = hint
        self.sentence = sentence


def refuse(wanted: str, hint: str = "") -> Refused:
    """The error for a value that is not `wanted`."""
    return Refused(wanted, hint)


def flag(given: object) -> bool:
    """true or false, and no other spelling."""
    if not isinstance(given, bool):
        raise refuse("true or false", "yes, no, on and off are plain text here")
    return given


def number(given: object) -> float | None:
    """The value when it is a usable number; True, NaN and the infinities are none."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        return None
    return given if given == given and abs(given) != float("inf") else None  # noqa: PLR0124  # NaN differs from itself


def _whole(given: object) -> int:
    found = number(given)
    if found is None or int(found) != found:
        raise refuse("a whole number")
    return int(found)


def _real(given: object) -> float:
    found = number(given)
    if found is None:
        raise refuse("a number")
    return float(found)


def _text(given: object) -> str:
    if not isinstance(given, str):
        raise refuse("text", _QUOTES if isinstance(given, bool | int | float) else "")
    return given


def _secret(given: object) -> Secret:
    if not isinstance(given, Secret):
        # Even a value of the wrong kind is not repeated.
        hint = _QUOTES if isinstance(given, bool | int | float) else ""
        raise Refused(sentence="the secret is not text", hint=hint)
    return given


def _pem(given: object) -> Pem:
    if not isinstance(given, Pem):
        raise refuse("the path of a file in PEM")
    return given


KINDS: Final[Mapping[Any, Callable[[object], object]]] = {
    bool: flag,
    int: _whole,
    float: _real,
    str: _text,
    Secret: _secret,
    Pem: _pem,
}

__all__ = ["KINDS", "Refused", "flag", "number", "refuse"]

"""What pydantic found → what an operator reads."""

import difflib
from collections.abc import Mapping
from typing import Any

from pydantic_core import ErrorDetails

from gatewayd.config.problems import printable

_WANTED: Mapping[str, str] = {
    "model_type": "a mapping (`key: value` lines)",
    "model_attributes_type": "a mapping (`key: value` lines)",
    "dict_type": "a mapping (`key: value` lines)",
    "tuple_type": "a list",
    "list_type": "a list",
    "set_type": "a list",
    "frozen_set_type": "a list",
    "string_type": "text",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "finite_number": "a finite number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
}
_QUOTES = "put it in quotes"
_BOOLEAN = "yes, no, on and off are plain text here"


def explain(error: ErrorDetails, shown: str) -> tuple[str, str]:
    """What is wrong and what to do; `shown` stands for the value, which may be secret."""
    kind = error["type"]
    context = error.get("ctx", {})
    value = error["input"]
    if kind == "wanted":
        wanted = str(context["wanted"])
        return f"{shown} is not {wanted}", _better_hint(value, wanted, str(context["hint"]))
    if kind == "missing":
        return "this key is required and missing", ""
    if kind in ("literal_error", "enum"):
        expected = str(context["expected"]).replace("'", "").replace(" or ", ", ")
        return f"{shown} is not one of {expected}", _close(value, expected)
    if kind == "is_instance_of":
        # A secret: even a value of the wrong kind is not repeated.
        return "the secret is not text", _hint(kind, value)
    if kind in _WANTED:
        return f"{shown} is not {_WANTED[kind]}", _hint(kind, value)
    if kind in ("too_short", "too_long"):
        bound = f"at least {context['min_length']}" if kind == "too_short" else f"at most {context['max_length']}"
        return f"a list of {context.get('actual_length', 'more')}; {bound} wanted", ""
    if kind == "value_error":
        return printable(str(context["error"]), 300), ""
    message = error["msg"].removeprefix("Input should be ")
    return f"{shown} is not {printable(message, 300)}", ""


def show(value: Any) -> str:
    """A value as it may stand in a message."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if value is None:
        return "nothing"
    if isinstance(value, str):
        # An address may hold a password.
        return "this text" if "@" in value else f"'{printable(value, 32)}'"
    if isinstance(value, int | float):
        return str(value)
    return "a mapping" if isinstance(value, Mapping) else "a list" if isinstance(value, list | tuple) else "this"


def _better_hint(value: Any, wanted: str, hint: str) -> str:
    if isinstance(value, str) and value.lstrip("-").isdigit() and wanted.startswith(("a whole number", "a number")):
        return "remove the quotes"
    return hint or _close(value, wanted.removeprefix("one of "))


def _hint(kind: str, value: Any) -> str:
    if kind in ("string_type", "is_instance_of") and isinstance(value, bool | int | float):
        return _QUOTES
    return _BOOLEAN if kind in ("bool_type", "bool_parsing") else ""


def _close(value: Any, expected: str) -> str:
    """`did you mean X?` when the value resembles one of the words."""
    words = [word.strip() for word in expected.split(",")]
    if not isinstance(value, str) or len(words) < 2:
        return ""
    close = difflib.get_close_matches(value[:64].lower(), words, n=1, cutoff=0.6)
    return f"did you mean {close[0]}?" if close else ""

"""What was found wrong → what an operator reads."""

from collections.abc import Mapping
from typing import Any

from gatewayd.config.checking import Wrong
from gatewayd.config.problems import printable
from gatewayd.core.nearest import nearest


def explain(wrong: Wrong, shown: str) -> tuple[str, str]:
    """What is wrong and what to do; `shown` stands for the value, which may be secret."""
    refused = wrong.refused
    if refused.sentence:
        return printable(refused.sentence, 300), refused.hint
    return f"{shown} is not {refused.wanted}", _better_hint(wrong.value, refused.wanted, refused.hint)


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


def _close(value: Any, expected: str) -> str:
    """`did you mean X?` when the value resembles one of the words."""
    words = [word.strip() for word in expected.split(",")]
    if not isinstance(value, str) or len(words) < 2:
        return ""
    close = nearest(value.lower(), words)
    return f"did you mean {close}?" if close else ""

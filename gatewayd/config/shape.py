"""What the annotations of a section say: which keys it has, and what kind each of them is.

Needed before validation, because a variable or a secret is looked up according to the kind of its key.
"""

import types
import typing
from typing import Any, Literal

from gatewayd.config.section import Section, settings_of
from gatewayd.core.pem import Pem
from gatewayd.core.secret import Secret


def keys(section: type[Section]) -> dict[str, Any]:
    """Key as it is written in the file → annotation."""
    return {field.key: field.annotation for field in settings_of(section).values() if not field.exclude}


def is_secret(annotation: Any) -> bool:
    return any(each is Secret for each in _choices(annotation))


def is_pem(annotation: Any) -> bool:
    """Whether the path of a file in PEM is wanted, which is read."""
    return any(each is Pem for each in _choices(annotation))


def is_text(annotation: Any) -> bool:
    """Whether text is wanted, so that the value of a variable is not read as a number."""
    return any(each is str or typing.get_origin(each) is Literal for each in _choices(annotation))


def section_of(annotation: Any) -> type[Section] | None:
    """The section that reads a mapping, if one does."""
    for each in _choices(annotation):
        if isinstance(each, type) and issubclass(each, Section):
            return each
    return None


def member_of(annotation: Any) -> Any:
    """The annotation of what a list holds, or of the values of a mapping with free keys."""
    for each in _choices(annotation):
        origin = typing.get_origin(each)
        arguments = typing.get_args(each)
        if isinstance(origin, type) and arguments:
            return arguments[1 if len(arguments) > 1 and arguments[1] is not ... else 0]
    return Any


def _choices(annotation: Any) -> list[Any]:
    """The annotation without `Annotated`, and with a union taken apart."""
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated:
        return _choices(typing.get_args(annotation)[0])
    if origin in (typing.Union, types.UnionType):
        return [each for choice in typing.get_args(annotation) for each in _choices(choice)]
    return [annotation]

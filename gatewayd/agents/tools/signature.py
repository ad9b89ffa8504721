"""The parameters of a function: as a JSON schema for the model, and to check what the model gave.

Known are str, int, float, bool, None, `Literal`, lists, tuples and dicts of these, unions, `Any`, and `Annotated` with
a text that describes. Any other type is a `TypeError` when the tool is made. Checking is strict: text is never a
number, true is never 1, and NaN is no number; a whole number is good where a number is wanted.
"""

import json
import math
import types
import typing
from collections.abc import Mapping
from typing import Any, Final, Literal

from gatewayd.core.value import value

REQUIRED: Final[Any] = object()
"""Stands for the default of a parameter that must be given."""
_MAX_SHOWN: Final = 60
_PLAIN: Final[Mapping[Any, tuple[str, str]]] = {
    str: ("string", "text"),
    int: ("integer", "a whole number"),
    float: ("number", "a number"),
    bool: ("boolean", "true or false"),
    types.NoneType: ("null", "null"),
}
"""Type → its name in a schema, and in a sentence."""

Path = tuple[str | int, ...]


@value(frozen=True, slots=True)
class Parameter:
    """One parameter that the model may give."""

    annotation: Any
    default: Any = REQUIRED
    description: str = ""

    def schema(self) -> dict[str, Any]:
        """Its JSON schema. Raises `TypeError` for a type that has none."""
        found = schema_of(self.annotation)
        if self.default is not REQUIRED and _is_json(self.default):
            found["default"] = self.default
        return found | ({"description": self.description} if self.description else {})


def schema_of_all(parameters: Mapping[str, Parameter]) -> dict[str, Any]:
    """The schema of the object that holds them; nothing else may be in it."""
    found: dict[str, Any] = {
        "type": "object",
        "properties": {name: parameter.schema() for name, parameter in parameters.items()},
        "additionalProperties": False,
    }
    if required := [name for name, parameter in parameters.items() if parameter.default is REQUIRED]:
        found["required"] = required
    return found


def accept(parameters: Mapping[str, Parameter], given: Mapping[str, Any], problems: list[str]) -> dict[str, Any]:
    """What was given, as the types want it; what is wrong is added to `problems`."""
    for name, parameter in parameters.items():
        if name not in given and parameter.default is REQUIRED:
            problems.append(f"{name}: is required and missing")
    found = {}
    for name, each in given.items():
        if name in parameters:
            found[name] = _fit(parameters[name].annotation, each, (name,), problems)
        else:
            known = ", ".join(parameters) or "none"
            problems.append(f"{name[:_MAX_SHOWN]}: there is no such argument; there are {known}")
    return found


def schema_of(annotation: Any) -> dict[str, Any]:
    """The JSON schema of a type. Raises `TypeError` for one that has none."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if annotation is Any:
        return {}
    if origin is typing.Annotated:
        described = [each for each in inner[1:] if isinstance(each, str)]
        return schema_of(inner[0]) | ({"description": described[0]} if described else {})
    if annotation is None or annotation in _PLAIN:
        return {"type": _PLAIN[annotation or types.NoneType][0]}
    if origin is Literal:
        names = {schema_of(type(each))["type"] for each in inner}
        return {"enum": list(inner)} | ({"type": names.pop()} if len(names) == 1 else {})
    if _is_union(origin):
        return {"anyOf": [schema_of(each) for each in inner]}
    kind = origin or annotation
    if kind is list or (kind is tuple and (not inner or inner[1:] == (...,))):
        return {"type": "array"} | ({"items": schema_of(inner[0])} if inner else {})
    if kind is tuple:
        return {
            "type": "array",
            "prefixItems": [schema_of(each) for each in inner],
            "minItems": len(inner),
            "maxItems": len(inner),
        }
    if kind is dict and (not inner or inner[0] is str):
        return {"type": "object"} | ({"additionalProperties": schema_of(inner[1])} if inner else {})
    raise TypeError(f"{getattr(annotation, '__name__', annotation)} is no type that a model can be told of")


def _fit(annotation: Any, given: Any, path: Path, problems: list[str]) -> Any:
    """The value as the type wants it; when something is wrong it is noted, and the answer means nothing."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return _fit(inner[0], given, path, problems)
    if _is_union(origin):
        return _choice(inner, given, path, problems)
    if origin is Literal:
        fits = any(type(given) is type(each) and given == each for each in inner)
        return given if fits else _note(problems, path, "one of " + ", ".join(map(str, inner)))
    kind = origin or annotation
    if kind is dict:
        if not isinstance(given, dict):
            return _note(problems, path, "an object")
        return {key: _fit(inner[1] if inner else Any, each, (*path, key), problems) for key, each in given.items()}
    if kind in (list, tuple):
        if not isinstance(given, list | tuple):
            return _note(problems, path, "a list")
        fixed = kind is tuple and inner and inner[1:] != (...,)
        if fixed and len(given) != len(inner):
            return _note(problems, path, f"a list of {len(inner)}")
        members = inner if fixed else (inner[0] if inner else Any,) * len(given)
        pairs = enumerate(zip(members, given, strict=True))
        return kind(_fit(member, each, (*path, at), problems) for at, (member, each) in pairs)
    return _plain(annotation, given, path, problems)


def _plain(annotation: Any, given: Any, path: Path, problems: list[str]) -> Any:
    if annotation is Any:
        return given
    wanted = types.NoneType if annotation is None else annotation
    kind = type(given)
    if wanted is float and kind is int and abs(given) < 2**1023:
        return float(given)
    if kind is not wanted or (kind is float and not math.isfinite(given)):
        return _note(problems, path, _PLAIN[wanted][1])
    return given


def _choice(kinds: tuple[Any, ...], given: Any, path: Path, problems: list[str]) -> Any:
    """The first kind of a union that fits; `X | None` is told of as X."""
    attempts: list[list[str]] = []
    for kind in kinds:
        attempt: list[str] = []
        found = _fit(kind, given, path, attempt)
        if not attempt:
            return found
        if kind is not types.NoneType:
            attempts.append(attempt)
    problems += attempts[0] if len(attempts) == 1 else [" or ".join(each[0] for each in attempts)]
    return None


def _note(problems: list[str], path: Path, wanted: str) -> None:
    problems.append(f"{'.'.join(str(step)[:_MAX_SHOWN] for step in path)}: should be {wanted}")


def _is_union(origin: Any) -> bool:
    return origin in (typing.Union, types.UnionType)


def _is_json(default: object) -> bool:
    try:
        json.dumps(default, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


__all__ = ["REQUIRED", "Parameter", "accept", "schema_of", "schema_of_all"]

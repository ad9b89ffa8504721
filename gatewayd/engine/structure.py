"""Typed values ↔ plain JSON, both ways by the annotations of the type.

Known are None, str, int, float, bool, bytes (base64), enums by value, `Literal`, `Any`, lists, tuples, sets,
dictionaries with text keys, unions, `TypedDict`s, and dataclasses (values of gatewayd among them). Reading is strict:
text is never a number, true is never 1, an unknown key and a missing one without default are errors, since whatever
was dropped in silence would be missed later.
"""

import base64
import binascii
import dataclasses
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any

from gatewayd.engine.errors import MalformedMessage

MAX_DEPTH = 32
_SCALARS = (str, int, float, bool, type(None))


def to_plain(item: object, depth: int = 0) -> Any:
    """The value as JSON knows it; `MalformedMessage` for one that has no such form."""
    if depth > MAX_DEPTH:
        raise MalformedMessage(f"a message is nested more than {MAX_DEPTH} deep")
    match item:
        case Enum():
            return to_plain(item.value, depth)
        case str() | int() | float() | None:
            return item
        case bytes():
            return base64.b64encode(item).decode("ascii")
        case Mapping():
            if not all(isinstance(key, str) for key in item):
                raise MalformedMessage("the keys of a mapping in a message must be text")
            return {key: to_plain(each, depth + 1) for key, each in item.items()}
        case list() | tuple():
            return [to_plain(each, depth + 1) for each in item]
        case set() | frozenset():
            return [to_plain(each, depth + 1) for each in sorted(item)]
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        names = [each.name for each in dataclasses.fields(item)]
        return {name: to_plain(getattr(item, name), depth + 1) for name in names}
    raise MalformedMessage(f"a {type(item).__name__} cannot be part of a message")


def from_plain(annotation: Any, plain: Any, where: str = "", depth: int = 0) -> Any:
    """The value of that type; `MalformedMessage` says where the data does not fit."""
    if depth > MAX_DEPTH:
        raise _misfit(where, f"nested more than {MAX_DEPTH} deep")
    origin = typing.get_origin(annotation)
    if origin is typing.Annotated or origin in (typing.Required, typing.NotRequired):
        return from_plain(typing.get_args(annotation)[0], plain, where, depth)
    if annotation is Any or annotation is object:
        return plain
    if annotation in _SCALARS or annotation is None:
        return _scalar(annotation or type(None), plain, where)
    if origin is typing.Literal:
        if not any(plain == each and type(plain) is type(each) for each in typing.get_args(annotation)):
            raise _misfit(where, f"none of {typing.get_args(annotation)}")
        return plain
    if origin in (typing.Union, types.UnionType):
        return _union(typing.get_args(annotation), plain, where, depth)
    if typing.is_typeddict(annotation) or dataclasses.is_dataclass(annotation):
        return _record(annotation, plain, where, depth)
    if isinstance(annotation, type) and issubclass(annotation, Enum):
        return _made(annotation, plain, where)
    if annotation is bytes:
        return _bytes(plain, where)
    return _collection(origin or annotation, typing.get_args(annotation), plain, where, depth)


def _scalar(kind: type, plain: Any, where: str) -> Any:
    if kind is float and type(plain) is int:
        return float(plain)
    if type(plain) is not kind:
        raise _misfit(where, f"no {kind.__name__}")
    return plain


def _union(choices: Sequence[Any], plain: Any, where: str, depth: int) -> Any:
    """The first choice that fits; being strict, at most one does, unless they are alike."""
    for choice in choices:
        try:
            return from_plain(choice, plain, where, depth)
        except MalformedMessage:
            continue
    raise _misfit(where, "none of the types that it may be")


def _record(annotation: Any, plain: Any, where: str, depth: int) -> Any:
    if not isinstance(plain, dict):
        raise _misfit(where, "no object")
    hints = typing.get_type_hints(annotation, include_extras=True)
    if typing.is_typeddict(annotation):
        names, required = set(hints), annotation.__required_keys__
    else:
        fields = [each for each in dataclasses.fields(annotation) if each.init]
        names = {each.name for each in fields}
        required = {each.name for each in fields if each.default is each.default_factory is dataclasses.MISSING}
    if unknown := sorted(set(plain) - names):
        raise _misfit(where, f"unknown {', '.join(unknown)[:200]}")
    if missing := sorted(required - set(plain)):
        raise _misfit(where, f"without {', '.join(missing)}")
    values = {name: from_plain(hints[name], each, f"{where}.{name}", depth + 1) for name, each in plain.items()}
    return values if typing.is_typeddict(annotation) else _made(lambda _: annotation(**values), plain, where)


def _collection(kind: Any, inner: Sequence[Any], plain: Any, where: str, depth: int) -> Any:
    if isinstance(kind, type) and issubclass(kind, Mapping):
        if not isinstance(plain, dict):
            raise _misfit(where, "no object")
        of = inner[1] if inner else Any
        return {key: from_plain(of, each, f"{where}.{key}", depth + 1) for key, each in plain.items()}
    if not (isinstance(kind, type) and issubclass(kind, Sequence | AbstractSet)):
        raise MalformedMessage(f"messages know no {kind}")
    if not isinstance(plain, list):
        raise _misfit(where, "no array")
    if kind is tuple and inner and inner[-1] is not Ellipsis:
        if len(plain) != len(inner):
            raise _misfit(where, f"not {len(inner)} items")
        of_each: Sequence[Any] = inner
    else:
        of_each = [inner[0] if inner else Any] * len(plain)
    items = [
        from_plain(of, each, f"{where}[{index}]", depth + 1)
        for index, (of, each) in enumerate(zip(of_each, plain, strict=True))
    ]
    if kind is tuple:
        return tuple(items)
    return _made(frozenset if kind is frozenset else set, items, where) if issubclass(kind, AbstractSet) else items


def _made(make: Callable[[Any], Any], plain: Any, where: str) -> Any:
    """What the type itself makes of it; whatever it refuses does not fit."""
    try:
        return make(plain)
    except (TypeError, ValueError) as error:
        raise _misfit(where, str(error)[:200]) from None


def _bytes(plain: Any, where: str) -> bytes:
    if not isinstance(plain, str):
        raise _misfit(where, "no text")
    try:
        return base64.b64decode(plain, validate=True)
    except (binascii.Error, ValueError):
        raise _misfit(where, "no base64") from None


def _misfit(where: str, why: str) -> MalformedMessage:
    return MalformedMessage(f"a message does not fit its type at {where or 'the top'}: {why}")

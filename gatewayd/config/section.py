"""`Section`, the base of all parts of gateway.yaml, and `setting`, what one key of it is.

    class Settings(Section):
        token: Secret | None = setting(default=None, description="The bot's token.")
        sender: Line = setting(key="from", description="Who says it; in the file the key is called `from`.")

Making a section by hand checks names only; values that somebody wrote go through `checking.read`.
"""

import inspect
import typing
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Final, NoReturn, TypeVar, dataclass_transform, overload

from gatewayd.core.value import value

_Value = TypeVar("_Value")
REQUIRED: Final[Any] = object()
"""Stands for the default of a key that must be given."""


@value(frozen=True, slots=True)
class Setting:
    """One key of a section."""

    default: Any = REQUIRED
    description: str = ""
    key: str = ""
    """How it is written in the file."""
    exclude: bool = False
    """No key of the file, but a part that the loader puts in; its keys stand beside the section's own."""
    annotation: Any = Any


@overload
def setting(*, description: str = "", key: str = "") -> Any: ...
@overload
def setting(*, default: _Value, description: str = "", key: str = "", exclude: bool = False) -> _Value: ...
def setting(*, default: Any = REQUIRED, description: str = "", key: str = "", exclude: bool = False) -> Any:
    """What a key is when it is absent, what it means, and how it is written where that is no name in Python."""
    return Setting(default, description, key, exclude)


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(setting,))
class Section:
    """A part of gateway.yaml: frozen, and a key that it does not name is an error.

    Adapters derive their `Settings` from it. An annotation may carry checks, which are called in order before the type
    is looked at: `Annotated[int, Whole(1, 9)]`; `checking` says which types there are.
    """

    ALIASES: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """Other name of a key → its name; giving both is an error."""
    HINTS: ClassVar[Mapping[str, str]] = MappingProxyType({})
    """What to say about an unknown key that people can be expected to try."""
    _declared: ClassVar[Mapping[str, Setting]] = MappingProxyType({})
    _resolved: ClassVar[Mapping[str, Setting] | None] = None

    def __init_subclass__(cls) -> None:
        declared = dict(cls._declared)
        for name, annotation in inspect.get_annotations(cls).items():
            if _is_of_the_class(annotation):
                continue
            given = cls.__dict__.get(name, REQUIRED)
            if name in cls.__dict__:
                delattr(cls, name)
            one = given if isinstance(given, Setting) else Setting(given)
            declared[name] = Setting(one.default, one.description, one.key or name, one.exclude, annotation)
        cls._declared = MappingProxyType(declared)
        cls._resolved = None

    def __init__(self, **given: Any) -> None:
        kind = type(self)
        for name, one in kind._declared.items():
            if name not in given and one.default is REQUIRED:
                raise TypeError(f"{kind.__name__} needs {name}")
            default = one.default.copy() if isinstance(one.default, dict | list | set) else one.default
            self.__dict__[name] = given.pop(name, default)
        if given:
            raise TypeError(f"{kind.__name__} has no {', '.join(given)}")

    def objection(self) -> str:
        """What is wrong with values that are right one by one; '' when nothing is. For a section to override."""
        return ""

    def __setattr__(self, name: str, _: object) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be changed: a section is frozen")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be removed: a section is frozen")

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.values()))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={each!r}' for name, each in self.__dict__.items())})"


def _is_of_the_class(annotation: Any) -> bool:
    if isinstance(annotation, str):
        return annotation.removeprefix("typing.").startswith("ClassVar")
    return annotation is ClassVar or typing.get_origin(annotation) is ClassVar


def settings_of(section: Section | type[Section]) -> Mapping[str, Setting]:
    """The keys of a section by the names that they have in Python, in the order in which they are declared."""
    kind = section if isinstance(section, type) else type(section)
    if kind._resolved is None:
        declared = kind._declared
        if any(isinstance(one.annotation, str) for one in declared.values()):
            hints = typing.get_type_hints(kind, include_extras=True)
            declared = MappingProxyType(
                {
                    name: Setting(one.default, one.description, one.key, one.exclude, hints[name])
                    for name, one in declared.items()
                }
            )
        kind._resolved = declared
    return kind._resolved


__all__ = ["REQUIRED", "Section", "Setting", "setting", "settings_of"]

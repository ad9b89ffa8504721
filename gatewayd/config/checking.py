"""One value against one annotation: what is right comes back converted, what is wrong is told with its path.

Known are bool, int, float, str, Secret, Pem, a `Section`, `Literal`, `X | None`, `list[X]`, `tuple[X, ...]`,
`dict[K, V]` and `Any`; of any other class the value has to be one already. The checks of an `Annotated` run first and
in order: each takes the value and returns what it reads as, or raises `refuse(...)`. No spelling stands for another
kind: text is never a number, and true is never 1.
"""

import types
import typing
from collections.abc import Mapping
from typing import Any, Final, Literal, TypeVar

from gatewayd.config.plain import KINDS, Refused, refuse
from gatewayd.config.problems import Path
from gatewayd.config.section import REQUIRED, Section, settings_of
from gatewayd.core.value import value

_Section = TypeVar("_Section", bound=Section)
_MAPPING: Final = "a mapping (`key: value` lines)"


@value(frozen=True, slots=True)
class Wrong:
    """One thing that is wrong in a section."""

    path: Path
    value: Any
    refused: Refused
    of_key: bool = False
    """Whether the key itself is meant: it is missing, or no key at all."""


class Unfit(ValueError):
    """A section with everything that is wrong with it."""

    def __init__(self, wrongs: list[Wrong]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, wrong.path))}: {wrong.refused}" for wrong in wrongs))
        self.wrongs = tuple(wrongs)


def read(section: type[_Section], data: Mapping[str, Any]) -> _Section:
    """The section that says `data`, by keys as they are written. Raises `Unfit`."""
    wrongs: list[Wrong] = []
    found = _section(section, data, (), wrongs)
    if wrongs or found is None:
        raise Unfit(wrongs)
    return found


def _section(section: type[_Section], data: Mapping[str, Any], path: Path, wrongs: list[Wrong]) -> _Section | None:
    before = len(wrongs)
    given: dict[str, Any] = {}
    known = settings_of(section)
    for name, one in known.items():
        if one.key in data:
            given[name] = _fit(one.annotation, data[one.key], (*path, one.key), wrongs)
        elif one.default is REQUIRED:
            missing = Refused(sentence="this key is required and missing")
            wrongs.append(Wrong((*path, one.key), data, missing, of_key=True))
    keys = {one.key for one in known.values()}
    for key in [each for each in data if each not in keys]:
        wrongs.append(Wrong((*path, key), data[key], Refused(sentence="unknown key"), of_key=True))
    if len(wrongs) > before:
        return None
    made = section(**given)
    if objection := made.objection():
        wrongs.append(Wrong(path, data, Refused(sentence=objection)))
    return made


def _fit(wanted: Any, given: Any, path: Path, wrongs: list[Wrong]) -> Any:
    """The value as the annotation wants it; when something is wrong it is noted, and the answer means nothing."""
    origin = typing.get_origin(wanted)
    try:
        while origin is typing.Annotated:
            wanted, *checks = typing.get_args(wanted)
            for check in checks:
                given = check(given) if callable(check) else given
            origin = typing.get_origin(wanted)
        if origin in (typing.Union, types.UnionType):
            return _choice(wanted, given, path, wrongs)
        if origin is Literal:
            return _literal(typing.get_args(wanted), given)
        if isinstance(origin, type):
            return _container(origin, typing.get_args(wanted), given, path, wrongs)
        if isinstance(wanted, type) and issubclass(wanted, Section) and not isinstance(given, wanted):
            return _section(wanted, _mapping(given), path, wrongs)
        return _plain(wanted, given)
    except Refused as refused:
        wrongs.append(Wrong(path, given, refused))
    except ValueError as error:
        wrongs.append(Wrong(path, given, Refused(sentence=str(error))))
    return None


def _choice(wanted: Any, given: Any, path: Path, wrongs: list[Wrong]) -> Any:
    """`X | None`, and with more kinds the first that fits."""
    if given is None and type(None) in typing.get_args(wanted):
        return None
    kinds = [each for each in typing.get_args(wanted) if each is not type(None)]
    for each in kinds[:-1]:
        attempt: list[Wrong] = []
        found = _fit(each, given, path, attempt)
        if not attempt:
            return found
    return _fit(kinds[-1], given, path, wrongs)


def _literal(words: tuple[Any, ...], given: Any) -> Any:
    if not any(type(given) is type(word) and given == word for word in words):
        raise refuse("one of " + ", ".join(map(str, words)))
    return given


def _container(origin: Any, members: tuple[Any, ...], given: Any, path: Path, wrongs: list[Wrong]) -> Any:
    if issubclass(origin, Mapping):
        read = {}
        for key, each in _mapping(given).items():
            wrong_keys: list[Wrong] = []
            name = _fit(members[0], key, (*path, key), wrong_keys)
            wrongs += [Wrong(wrong.path, key, wrong.refused, of_key=True) for wrong in wrong_keys]
            read[name] = _fit(members[1], each, (*path, key), wrongs)
        return read
    if not isinstance(given, list | tuple):
        raise refuse("a list")
    return origin(_fit(members[0], each, (*path, number), wrongs) for number, each in enumerate(given))


def _mapping(given: Any) -> Mapping[str, Any]:
    if not isinstance(given, Mapping):
        raise refuse(_MAPPING)
    return given


def _plain(wanted: Any, given: Any) -> Any:
    if wanted is Any or (isinstance(wanted, type) and wanted not in KINDS and isinstance(given, wanted)):
        return given
    if wanted not in KINDS:
        raise refuse(f"a {getattr(wanted, '__name__', wanted)}")
    return KINDS[wanted](given)


__all__ = ["Unfit", "Wrong", "read"]

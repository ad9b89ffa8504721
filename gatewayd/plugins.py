"""Plugins: what other distributions (and this one) offer under an entry-point group.

Callers ask once and keep the answer. Nothing is imported until its factory is called, so a broken or heavy plugin costs
nothing to those who do not use it.

The lists that installers write (https://packaging.python.org/specifications/entry-points) are read here directly. The
standard library's reader brings those of mail, zip archives and CSV with it: a tenth of a start.
"""

import os
import pkgutil
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from gatewayd.core.errors import ConfigInvalid
from gatewayd.core.value import value

_OURS = "gatewayd."
_LIST = "entry_points.txt"
_SEPARATORS = re.compile(r"[-_.]+")
"""What does not tell names of distributions apart."""
_BUILT_FOR = re.compile(r"-py\d+(\.\d+)?(-.*)?$")
"""Python, and platform, behind the version of an egg."""


class PluginError(ConfigInvalid):
    """A plugin cannot be used; the message says which, from where, and what to do."""


@value(frozen=True, slots=True)
class Plugin:
    """One entry point; calling it imports and returns its object, or raises `PluginError`."""

    group: str
    name: str
    target: str
    """Where its object is: `MODULE:ATTRIBUTE`."""
    origin: str
    """The distribution that offers it, with its version."""

    def __call__(self) -> Any:
        try:
            return pkgutil.resolve_name(self.target)
        except Exception as error:  # a plugin's module may raise anything while it is imported
            raise PluginError(
                f"{self.group} plugin {self.name!r} ({self.target}) of {self.origin} cannot be imported: "
                f"{type(error).__name__}: {error}"
            ) from error


def installed(path: Iterable[str] | None = None) -> tuple[Plugin, ...]:
    """All plugins of the distributions in these directories, by default those that modules are imported from.

    Of two installations of one distribution the first counts, as it does for an import.
    """
    seen: set[str] = set()
    found: list[Plugin] = []
    for place in sys.path if path is None else path:
        for folder in _distributions(place or "."):
            name, version = _name_and_version(folder)
            if (canonical := _SEPARATORS.sub("-", name).lower()) not in seen:
                seen.add(canonical)
                found += _offered(folder, f"{name} {version}".strip())
    return tuple(found)


def load_group(group: str, among: Sequence[Plugin] | None = None) -> dict[str, Callable[[], Any]]:
    """The plugins of a group by name; calling one imports and returns its object, or raises `PluginError`.

    `among` is what `installed()` found; without it everything is read again. Raises `PluginError` naming both
    distributions when two offer the same name.
    """
    found: dict[str, Plugin] = {}
    for plugin in installed() if among is None else among:
        if plugin.group != group:
            continue
        first = found.setdefault(plugin.name, plugin)
        if first is not plugin and (first.target, first.origin) != (plugin.target, plugin.origin):
            raise PluginError(
                f"two {group} plugins are called {plugin.name!r}: {first.target} of {first.origin} and "
                f"{plugin.target} of {plugin.origin}; uninstall one of the two"
            )
    return {name: found[name] for name in sorted(found)}


def _distributions(place: str) -> list[Path]:
    """The folders that installers keep beside what they installed here; none where there is no directory."""
    with suppress(OSError), os.scandir(place) as entries:
        return sorted(Path(entry.path) for entry in entries if entry.name.endswith((".dist-info", ".egg-info")))
    return []


def _name_and_version(folder: Path) -> tuple[str, str]:
    """Of `NAME-VERSION.dist-info`, `NAME-VERSION-pyX.Y.egg-info` or `NAME.egg-info`, which has no version: '' then.

    Installers write a `-` in a name as `_`, but not all have always done so; in a version there is none, and it begins
    with a digit (https://packaging.python.org/specifications/recording-installed-packages).
    """
    stem = folder.stem if folder.suffix == ".dist-info" else _BUILT_FOR.sub("", folder.stem)
    name, _, version = stem.rpartition("-")
    return (name, version) if name and version[:1].isdigit() else (stem, "")


def _offered(folder: Path, origin: str) -> Iterator[Plugin]:
    try:
        text = (folder / _LIST).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return  # most distributions have no list
    group = ""
    for line in text.splitlines():
        said = line.strip()
        if said.startswith("[") and said.endswith("]"):
            group = said[1:-1].strip()
        elif group.startswith(_OURS) and not said.startswith(("#", ";")):
            name, equals, target = said.partition("=")
            if equals:
                # Behind the object there may be the extras that it needs, in brackets: an older custom.
                yield Plugin(group, name.strip(), target.partition("[")[0].strip(), origin)

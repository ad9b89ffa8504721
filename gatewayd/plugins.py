"""Plugins: what other distributions (and this one) offer under an entry-point group.

Callers ask for a group once and keep the answer. Nothing is imported until its factory is called, so a broken or
heavy plugin costs nothing to those who do not use it.
"""

from collections.abc import Callable
from importlib.metadata import EntryPoint, EntryPoints, entry_points
from typing import Any

from gatewayd.core.errors import ConfigInvalid
from gatewayd.core.value import value


class PluginError(ConfigInvalid):
    """A plugin cannot be used; the message says which, from where, and what to do."""


@value(frozen=True, slots=True)
class _Plugin:
    """Imports the object of one entry point when it is called."""

    entry: EntryPoint

    def __call__(self) -> Any:
        try:
            return self.entry.load()
        except Exception as error:  # a plugin's module may raise anything while it is imported
            raise PluginError(
                f"{self.entry.group} plugin {self.entry.name!r} ({self.entry.value}) of {_origin(self.entry)} "
                f"cannot be imported: {type(error).__name__}: {error}"
            ) from error


GROUPS = ("gatewayd.agents", "gatewayd.channels", "gatewayd.providers", "gatewayd.storage", "gatewayd.tools")


def installed() -> EntryPoints:
    """All plugins of this machine. It reads every distribution, which is a noticeable part of a start: ask once."""
    found = entry_points()
    return EntryPoints(entry for group in GROUPS for entry in found.select(group=group))


def load_group(group: str, among: EntryPoints | None = None) -> dict[str, Callable[[], Any]]:
    """The plugins of a group by name; calling one imports and returns its object, or raises `PluginError`.

    `among` is what `installed()` found; without it everything is read again. Raises `PluginError` naming both
    distributions when two offer the same name.
    """
    found: dict[str, EntryPoint] = {}
    for entry in entry_points(group=group) if among is None else among.select(group=group):
        first = found.setdefault(entry.name, entry)
        if first is not entry and (first.value, _origin(first)) != (entry.value, _origin(entry)):
            raise PluginError(
                f"two {group} plugins are called {entry.name!r}: {first.value} of {_origin(first)} and "
                f"{entry.value} of {_origin(entry)}; uninstall one of the two"
            )
    return {name: _Plugin(entry) for name, entry in sorted(found.items())}


def _origin(entry: EntryPoint) -> str:
    """The distribution that an entry point comes from."""
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist is not None else "an unknown distribution"

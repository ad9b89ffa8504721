"""Old and new configuration → what a reload has to do. Pure; secrets are compared by value and shown by fingerprint."""

from collections.abc import Mapping
from typing import Any, Final

from gatewayd.config.canonical import leaves
from gatewayd.config.model import ChannelSection, GatewayConfig
from gatewayd.config.problems import Path, dotted
from gatewayd.config.section import Section
from gatewayd.core.value import value

RESTART: Final[frozenset[Path]] = frozenset(
    (
        ("gateway", "host"),
        ("gateway", "port"),
        ("gateway", "socket"),
        ("gateway", "http", "host"),
        ("gateway", "http", "port"),
        ("gateway", "http", "websocket"),
        ("gateway", "limits", "message_bytes"),
        ("gateway", "limits", "metadata_bytes"),
        ("push", "polling", "http"),
        ("storage", "url"),
        ("storage", "durability"),
    )
)
"""What is fixed when the listeners and the store are made; everything else changes live."""
CERTIFICATES: Final[frozenset[Path]] = frozenset(("gateway", key) for key in ("ssl_cert", "ssl_key", "ssl_client_ca"))
"""What may change live, but neither come nor go: whether a listener speaks TLS, and asks for certificates, is fixed."""


@value(frozen=True, slots=True)
class Changes:
    """Names of parts that came, went, or are other than before, each sorted."""

    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@value(frozen=True, slots=True)
class ChannelChange:
    """What is other in a channel that stays."""

    connection: bool
    """Platform, `enabled` or the adapter's own keys: the adapter is made anew."""
    policy: bool
    """Routing, sessions, limits: the adapter goes on as it is."""


@value(frozen=True, slots=True)
class ChangedPath:
    """One value that is other than before, as it may be shown; None where there is no such key."""

    path: str
    old: str | None
    new: str | None


@value(frozen=True, slots=True)
class ConfigDiff:
    """Everything in which two configurations differ."""

    agents: Changes
    channels: Changes
    clients: Changes
    channel_changes: Mapping[str, ChannelChange]
    """For each name in `channels.changed`."""
    paths: tuple[ChangedPath, ...]
    restart_required: tuple[str, ...]
    """Changed paths that cannot change live; none at the first load."""

    def __bool__(self) -> bool:
        return bool(self.paths or self.agents or self.channels or self.clients)

    def touches(self, *path: str) -> bool:
        """Whether a value at or below that path is other than before."""
        whole = dotted(path)
        return any(each.path == whole or each.path.startswith(f"{whole}.") for each in self.paths)


def diff(old: GatewayConfig | None, new: GatewayConfig) -> ConfigDiff:
    """What has to be done to come from `old` (None: nothing runs yet) to `new`."""
    before = old or GatewayConfig()
    channels = _changes(before.channels, new.channels)
    paths, restart = _paths(before, new)
    return ConfigDiff(
        agents=_changes(before.agents, new.agents),
        channels=channels,
        clients=_changes(before.clients, new.clients),
        channel_changes={name: _channel(before.channels[name], new.channels[name]) for name in channels.changed},
        paths=paths,
        restart_required=restart if old is not None else (),
    )


def _changes(old: Mapping[str, Section], new: Mapping[str, Section]) -> Changes:
    return Changes(
        added=tuple(sorted(new.keys() - old.keys())),
        removed=tuple(sorted(old.keys() - new.keys())),
        changed=tuple(sorted(name for name in old.keys() & new.keys() if old[name] != new[name])),
    )


def _channel(old: ChannelSection, new: ChannelSection) -> ChannelChange:
    return ChannelChange(connection=old.connection() != new.connection(), policy=old.policy() != new.policy())


def _paths(old: GatewayConfig, new: GatewayConfig) -> tuple[tuple[ChangedPath, ...], tuple[str, ...]]:
    before, after = dict(leaves(old)), dict(leaves(new))
    changed = [
        path
        for path in sorted({*before, *after}, key=dotted)
        if path not in before or path not in after or before[path] != after[path]
    ]
    shown = tuple(ChangedPath(dotted(path), _shown(before, path), _shown(after, path)) for path in changed)
    came = {path for path in CERTIFICATES if (before.get(path) is None) != (after.get(path) is None)}
    return shown, tuple(dotted(path) for path in changed if path in RESTART or path in came)


def _shown(values: Mapping[Path, Any], path: Path) -> str | None:
    return None if path not in values else str(values[path])[:200]

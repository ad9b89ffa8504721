"""What `gatewayd` answers about a configuration without running it: each answer is a text and an exit code."""

import json
from dataclasses import asdict

from gatewayd.config.canonical import masked, render
from gatewayd.config.loader import Loaded
from gatewayd.core.clock import SystemClock
from gatewayd.core.disk import Disk
from gatewayd.core.errors import ChannelNotFound
from gatewayd.core.message import ChatContext
from gatewayd.daemon.configuration import Configuration
from gatewayd.daemon.exits import Exit
from gatewayd.daemon.options import Options


def check(options: Options, disk: Disk, *, as_json: bool) -> tuple[str, Exit]:
    """`--check`: what was found in a configuration that may be used. Raises `ConfigRefused` for one that may not."""
    loaded = Configuration(options, disk, SystemClock()).read()
    if as_json:
        answer = {
            "ok": True,
            "digest": loaded.digest,
            "problems": [],
            "warnings": [warning.as_dict() for warning in loaded.warnings],
            "unavailable": dict(loaded.unavailable),
            "channels": masked(loaded.config.channels),
            "agents": masked(loaded.config.agents),
        }
        return json.dumps(answer, indent=2), Exit.OK
    lines = [f"warning: {warning}" for warning in loaded.warnings]
    lines += [f"unavailable: {part}: {why}" for part, why in loaded.unavailable.items()]
    name = options.config_name or str(options.config or "no file")
    counts = f"{_count(loaded.config.agents, 'agent')}, {_count(loaded.config.channels, 'channel')}"
    return "\n".join([*lines, f"{name}: ok ({counts})"]), Exit.OK


def show_config(options: Options, disk: Disk, *, as_json: bool) -> tuple[str, Exit]:
    """`--show-config`: every value, defaults included, with its origin; secrets as fingerprints."""
    loaded: Loaded = Configuration(options, disk, SystemClock()).read()
    if as_json:
        answer = {"digest": loaded.digest, "config": masked(loaded.config), "origins": dict(loaded.origins)}
        return json.dumps(answer, indent=2), Exit.OK
    return render(loaded.config, loaded.origins).rstrip("\n"), Exit.OK


def explain_route(
    options: Options, disk: Disk, channel: str, context: str, peer: str, *, as_json: bool
) -> tuple[str, Exit]:
    """`--explain-route`: which agent answers, by which rule, and what else was looked at. 78 when nobody does."""
    from gatewayd.routing.table import explain  # noqa: PLC0415  # only this answer needs it

    if context not in set(ChatContext):
        return f"{context!r} is not a context: write {', '.join(ChatContext)}", Exit.USAGE
    loaded = Configuration(options, disk, SystemClock()).read()
    try:
        found = explain(loaded.config.channels, channel, ChatContext(context), peer)
    except ChannelNotFound as error:
        return error.message, Exit.USAGE
    code = Exit.OK if found.agent else Exit.CONFIG
    if as_json:
        return json.dumps(asdict(found), indent=2), code
    head = f"agent {found.agent} by {found.rule}" if found.agent else "no agent: no rule matches"
    return "\n".join([head, *(f"  {line}" for line in found.considered)]), code


def _count(things: object, noun: str) -> str:
    number = len(things) if isinstance(things, dict) else 0
    return f"{number} {noun}{'' if number == 1 else 's'}"

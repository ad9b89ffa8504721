"""`gatewayctl entry-points`: the named ways to start an agent, and the figures of the runtime."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.v1 import runtime_service_pb2 as pb

from gatewayctl.nouns import add_verb, listed
from gatewayctl.plain import plain
from gatewayctl.system import local_time
from gatewayctl.words import epoch, plural, size

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from gatewayctl.cli import Ctl
    from gatewayctl.output import Column


def arguments(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=list_)
    verbs = parser.add_subparsers(metavar="VERB")
    add_verb(verbs, "list", common, list_, "list the entry points that you may start")
    add_verb(verbs, "stats", common, stats, "show what runs and waits, and what has ended since the start")


def list_(_args: argparse.Namespace, ctl: Ctl) -> None:
    rows = listed(
        ctl,
        "RuntimeService/ListEntryPoints",
        lambda token, size: pb.ListEntryPointsRequest(page_token=token, page_size=size),
        pb.ListEntryPointsResponse,
        "entry_points",
    )
    columns: list[Column] = [
        ("ENTRY POINT", "id"),
        ("NAME", "name"),
        ("STARTS", _starts),
        ("TRIGGER", "trigger"),
        ("GOAL", "goal"),
        ("ISOLATION", "isolation_level"),
        ("PRIORITY", lambda row: str(row["priority"])),
        ("RUNNING", lambda row: f"{row['running']}/{row['max_concurrent']}"),
        ("QUEUED", lambda row: str(row["queued"])),
        ("NEXT", lambda row: local_time(epoch(row["next_time"])) if row["next_time"] else ""),
    ]
    ctl.out.table(rows, columns, "no entry points that you may start")


def _starts(row: Mapping[str, Any]) -> str:
    return f"graph {row['graph']} at {row['entry_node']}" if row["graph"] else str(row["agent"])


def stats(_args: argparse.Namespace, ctl: Ctl) -> None:
    values = plain(
        ctl.daemon.call("RuntimeService/GetRuntimeStats", pb.GetRuntimeStatsRequest(), pb.GetRuntimeStatsResponse)
    )
    fields: list[tuple[str, object]] = [
        ("takes work", "yes" if values["running"] else "no"),
        ("entry points", str(values["entry_points"])),
        ("queued", str(values["queued"])),
        ("free", f"{values['free']} of {values['limit']}"),
        ("executions", _counts(values["executions"])),
    ]
    fields += _engine(values["engine"])
    fields += _shared(values)
    fields += [(f"goal {row['id']}", _goal(row)) for row in values["goals"]]
    each = [(row["id"], _counts(row["executions"])) for row in values["by_entry_point"]]
    ctl.out.record(values, [*fields, *each])


def _engine(figures: dict[str, Any] | None) -> list[tuple[str, object]]:
    """Nothing of a daemon that has none."""
    if figures is None:
        return []
    return [
        ("messages", f"{figures['queued']} queued, {figures['running']} running"),
        (
            "messages before",
            ", ".join(f"{figures[name]} {name}" for name in ("sent", "published", "failed", "dropped")),
        ),
        ("instances", str(figures["instances"])),
    ]


def _shared(values: dict[str, Any]) -> list[tuple[str, object]]:
    """The shared state and the bus; a daemon that is older tells nothing of them."""
    fields: list[tuple[str, object]] = []
    if state := values["shared_state"]:
        scopes = ", ".join(f"{count} {scope}" for scope, count in state["keys_by_scope"].items())
        keys = plural(state["keys"], "key") + (f" ({scopes})" if scopes else "")
        fields.append(("shared state", f"{keys}, {size(state['bytes'])} of {size(state['max_bytes'])}"))
    if bus := values["bus"]:
        text = f"{bus['published']} published, {bus['delivered']} delivered, {bus['dropped']} dropped"
        slow = f", {bus['slow_consumers']} slow" if bus["slow_consumers"] else ""
        fields.append(("bus", f"{text}, {plural(bus['subscriptions'], 'subscription')}{slow}"))
    return fields


def _goal(row: dict[str, Any]) -> str:
    return f"{row['progress']:.0%}, {plural(row['decisions'], 'decision')}, {row['recommendation']}"


def _counts(states: dict[str, Any]) -> str:
    return ", ".join(f"{count} {state}" for state, count in states.items())

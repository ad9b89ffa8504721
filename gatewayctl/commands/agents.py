"""`gatewayctl agents`: the agents; with `--config FILE` those of a file, without a daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import argparse

    from gatewayctl.cli import Ctl
    from gatewayctl.output import Column


def arguments(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    from gatewayctl.commands.agents_state import add_verbs  # noqa: PLC0415 - as late as this module itself

    parser.add_argument("--config", metavar="FILE", help="list what this file configures; asks no daemon")
    parser.set_defaults(run=run)
    add_verbs(parser.add_subparsers(metavar="VERB"), common)


def run(args: argparse.Namespace, ctl: Ctl) -> None:
    if args.config:
        _configured(args.config, ctl)
        return
    from gateway.v1 import admin_service_pb2 as pb  # noqa: PLC0415 - not needed offline

    from gatewayctl.nouns import listed  # noqa: PLC0415

    rows = listed(
        ctl,
        "AdminService/ListAgents",
        lambda token, size: pb.ListAgentsRequest(page_token=token, page_size=size),
        pb.ListAgentsResponse,
        "agents",
    )
    columns: list[Column] = [
        ("AGENT", "id"),
        ("KIND", "kind"),
        ("STATE", "state"),
        ("MODEL", "model"),
        ("FALLBACK", lambda row: ", ".join(row["fallback_models"])),
        ("TOOLS", lambda row: ", ".join(row["tools"])),
        ("ROLE", "role"),
        ("RUNNING", lambda row: str(row["running"])),
        ("QUEUED", lambda row: str(row["queued"])),
        ("WORKERS", lambda row: str(row["workers"]) if row["kind"] == "remote" else ""),
        ("REASON", "reason"),
    ]
    ctl.out.table(rows, columns, "no agents are configured")


def _configured(path: str, ctl: Ctl) -> None:
    from gatewayctl.checker import checked, rows  # noqa: PLC0415 - needs no daemon

    columns: list[Column] = [
        ("AGENT", "id"),
        ("KIND", lambda row: "python" if row.get("class") else "remote" if row.get("remote") else "model"),
        ("MODEL", "model"),
        ("TOOLS", lambda row: ", ".join(row.get("tools") or ())),
        ("ROLE", "role"),
    ]
    ctl.out.table(rows(checked(path)["agents"], "id"), columns, "no agents are configured")

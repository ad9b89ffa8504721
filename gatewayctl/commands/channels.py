"""`gatewayctl channels`: the channels and how they are; with `--config FILE` those of a file, without a daemon."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatewayctl.system import SystemClock
from gatewayctl.words import age

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from gatewayctl.cli import Ctl
    from gatewayctl.output import Column, Row


def arguments(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    parser.add_argument("--config", metavar="FILE", help="list what this file configures; asks no daemon")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, ctl: Ctl) -> None:
    if args.config:
        _configured(args.config, ctl)
        return
    from gateway.v1 import admin_service_pb2 as pb  # noqa: PLC0415 - not needed offline

    from gatewayctl.nouns import listed  # noqa: PLC0415

    rows = listed(
        ctl,
        "AdminService/ListChannels",
        lambda token, size: pb.ListChannelsRequest(page_token=token, page_size=size),
        pb.ListChannelsResponse,
        "channels",
    )
    now = SystemClock().now()

    def ago(key: str) -> Callable[[Row], str]:
        return lambda row: age(row[key], now)

    columns: list[Column] = [
        ("CHANNEL", "name"),
        ("PLATFORM", "platform"),
        ("STATE", "state"),
        ("SINCE", ago("state_time")),
        ("TRANSPORT", ago("last_transport_time")),
        ("HEARTBEAT", ago("last_heartbeat_time")),
        ("MESSAGE", ago("last_message_time")),
        ("IN", lambda row: str(row["messages_in"])),
        ("OUT", lambda row: str(row["messages_out"])),
        ("WAITING", lambda row: str(row["outbox_pending"])),
        ("DEAD", lambda row: str(row["dead_letters"])),
        ("REASON", lambda row: _reason(row, now)),
    ]
    ctl.out.table(rows, columns, "no channels are configured")


def _reason(row: Row, now: float) -> str:
    retry = f" (next try {age(row['retry_time'], now)})" if row["retry_time"] else ""
    return f"{row['reason']}{retry}".strip()


def _configured(path: str, ctl: Ctl) -> None:
    from gatewayctl.checker import checked, rows  # noqa: PLC0415 - needs no daemon

    def routes(row: Row) -> str:
        routing = row.get("routing") or {}
        return ", ".join(f"{context} → {agent}" for context, agent in routing.items() if agent)

    columns: list[Column] = [
        ("CHANNEL", "name"),
        ("PLATFORM", "platform"),
        ("ENABLED", lambda row: "yes" if row.get("enabled", True) else "no"),
        ("ROUTING", routes),
    ]
    ctl.out.table(rows(checked(path)["channels"], "name"), columns, "no channels are configured")

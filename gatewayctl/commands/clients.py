"""`gatewayctl clients`: who is connected, or expected back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.v1 import admin_service_pb2 as pb

from gatewayctl.nouns import listed
from gatewayctl.system import SystemClock
from gatewayctl.words import age, epoch, plural, size, span

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from gatewayctl.cli import Ctl
    from gatewayctl.output import Column


def arguments(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--queues", action="store_true", help="a line for each queue: what waits, and what if it is full"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, ctl: Ctl) -> None:
    rows = listed(
        ctl,
        "AdminService/ListClients",
        lambda token, count: pb.ListClientsRequest(page_token=token, page_size=count),
        pb.ListClientsResponse,
        "clients",
    )
    now = SystemClock().now()
    if args.queues:
        _queues(ctl, rows, now)
        return
    columns: list[Column] = [
        ("CLIENT", "client_id"),
        ("PRINCIPAL", "principal"),
        ("STATE", "state"),
        ("PEER", "peer"),
        ("VERSION", "client_version"),
        ("CONNECTED", lambda row: age(row["connect_time"], now)),
        ("ACTIVE", lambda row: age(row["active_time"], now)),
        ("SUBSCRIPTIONS", lambda row: str(row["subscriptions"])),
        ("WAITING", lambda row: size(row["queued_bytes"])),
        ("LAG", lambda row: _lag(row, now)),
        ("POLICY", _policies),
        ("SLOW", lambda row: str(sum(queue["state"] in _SLOW for queue in row["queues"]) or "-")),
        ("DROPPED", lambda row: str(row["dropped"])),
        ("DELIVERED", lambda row: str(row["delivered"])),
        ("REPLIES", lambda row: str(row["pending_replies"])),
    ]
    ctl.out.table(rows, columns, "no clients are connected")


_SLOW = ("slow", "ended")


def _queues(ctl: Ctl, clients: list[dict[str, Any]], now: float) -> None:
    rows = [
        {"client_id": client["client_id"], "principal": client["principal"], **queue}
        for client in clients
        for queue in client["queues"]
    ]
    columns: list[Column] = [
        ("CLIENT", "client_id"),
        ("PRINCIPAL", "principal"),
        ("SUBSCRIPTION", lambda row: row["subscription_id"] or "(the client itself)"),
        ("STATE", lambda row: row["state"].replace("_", " ")),
        ("POLICY", lambda row: _policy(row["overflow"])),
        ("WAITING", lambda row: f"{size(row['queued_bytes'])} of {size(row['limit_bytes'])}"),
        ("LAG", lambda row: _lag(row, now)),
        ("BEHIND", lambda row: str(row["behind"])),
        ("DROPPED", lambda row: str(row["dropped"])),
    ]
    ctl.out.table(rows, columns, "no clients are connected")


def _lag(row: Mapping[str, Any], now: float) -> str:
    """`12 events, 3s`: how many wait, and how long the oldest has."""
    if not row["queued_events"]:
        return "-"
    oldest = row["oldest_queued_time"]
    return plural(row["queued_events"], "event") + (f", {span(now - epoch(oldest))}" if oldest else "")


def _policies(row: Mapping[str, Any]) -> str:
    """Of its subscriptions; what is addressed to the client itself always drops the oldest."""
    return ", ".join(sorted({_policy(queue["overflow"]) for queue in row["queues"] if queue["subscription_id"]})) or "-"


def _policy(overflow: str) -> str:
    return overflow.replace("_", " ")

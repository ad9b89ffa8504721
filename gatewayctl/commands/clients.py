"""`gatewayctl clients`: who is connected, or expected back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.v1 import admin_service_pb2 as pb

from gatewayctl.nouns import listed
from gatewayctl.system import SystemClock
from gatewayctl.words import age, size

if TYPE_CHECKING:
    import argparse

    from gatewayctl.cli import Ctl
    from gatewayctl.output import Column


def arguments(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    parser.set_defaults(run=run)


def run(_args: argparse.Namespace, ctl: Ctl) -> None:
    rows = listed(
        ctl,
        "AdminService/ListClients",
        lambda token, count: pb.ListClientsRequest(page_token=token, page_size=count),
        pb.ListClientsResponse,
        "clients",
    )
    now = SystemClock().now()
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
        ("DELIVERED", lambda row: str(row["delivered"])),
        ("REPLIES", lambda row: str(row["pending_replies"])),
    ]
    ctl.out.table(rows, columns, "no clients are connected")

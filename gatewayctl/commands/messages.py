"""`gatewayctl messages`: the ledger: what was accepted and how far it has come."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.v1 import admin_service_pb2 as pb
from gateway.v1.message_pb2 import LedgerState

from gatewayctl.nouns import add_limit, listed
from gatewayctl.plain import enum_names, enum_number
from gatewayctl.system import SystemClock
from gatewayctl.words import age, shorten

if TYPE_CHECKING:
    import argparse

    from gatewayctl.cli import Ctl
    from gatewayctl.output import Column


def arguments(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    parser.add_argument("--state", choices=enum_names(LedgerState.DESCRIPTOR), help="only those in this state")
    parser.add_argument("--channel", default="", metavar="NAME", help="only those of this channel")
    parser.add_argument("--session", default="", metavar="ID", help="only those of this session")
    add_limit(parser)
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, ctl: Ctl) -> None:
    state = enum_number(LedgerState.DESCRIPTOR, args.state) if args.state else None

    def page(token: str, count: int) -> pb.ListMessagesRequest:
        return pb.ListMessagesRequest(
            page_token=token,
            page_size=count,
            state=state,  # type: ignore[arg-type]
            channel=args.channel,
            session_id=args.session,
        )

    rows = listed(ctl, "AdminService/ListMessages", page, pb.ListMessagesResponse, "messages", limit=args.limit)
    now = SystemClock().now()
    columns: list[Column] = [
        ("MESSAGE", "id"),
        ("STATE", "state"),
        ("FROM", lambda row: "/".join(part for part in (row["channel"], row["chat"], row["peer"]) if part)),
        ("AGENT", "agent"),
        ("RECEIVED", lambda row: age(row["receive_time"], now)),
        ("REASON", lambda row: shorten(row["reason"], 60)),
    ]
    ctl.out.table(rows, columns, "no messages")

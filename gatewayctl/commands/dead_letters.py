"""`gatewayctl dead-letters`: what could not be delivered and waits for an operator."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.v1 import admin_service_pb2 as pb

from gatewayctl.nouns import add_limit, add_verb, listed
from gatewayctl.plain import plain
from gatewayctl.system import SystemClock
from gatewayctl.words import age, shorten

if TYPE_CHECKING:
    import argparse

    from gatewayctl.cli import Ctl
    from gatewayctl.output import Column


def arguments(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    _selection(parser)
    parser.set_defaults(run=list_)
    verbs = parser.add_subparsers(metavar="VERB")
    _selection(add_verb(verbs, "list", common, list_, "list the dead letters, the oldest first"), again=True)
    retry = add_verb(verbs, "retry", common, retry_, "send one again; an ambiguous one may arrive twice")
    retry.add_argument("id", metavar="ID")


def _selection(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    import argparse  # noqa: PLC0415 - only while parsing

    default: Any = argparse.SUPPRESS if again else ""
    parser.add_argument("--channel", default=default, metavar="NAME", help="only those of this channel")
    add_limit(parser, **({"default": argparse.SUPPRESS} if again else {}))


def list_(args: argparse.Namespace, ctl: Ctl) -> None:
    def page(token: str, count: int) -> pb.ListDeadLettersRequest:
        return pb.ListDeadLettersRequest(page_token=token, page_size=count, channel=args.channel)

    rows = listed(
        ctl, "AdminService/ListDeadLetters", page, pb.ListDeadLettersResponse, "dead_letters", limit=args.limit
    )
    now = SystemClock().now()
    columns: list[Column] = [
        ("DEAD LETTER", "id"),
        ("MESSAGE", "message_id"),
        ("TO", lambda row: "/".join(part for part in (row["channel"], row["chat"]) if part)),
        ("REASON", "reason"),
        ("TRIES", lambda row: str(row["attempts"])),
        ("SINCE", lambda row: age(row["create_time"], now)),
        ("ERROR", lambda row: shorten(row["error"], 40)),
        ("TEXT", lambda row: shorten(row["preview"], 30)),
    ]
    ctl.out.table(rows, columns, "no dead letters")


def retry_(args: argparse.Namespace, ctl: Ctl) -> None:
    request = pb.RetryDeadLetterRequest(dead_letter_id=args.id)
    answer = plain(ctl.daemon.call("AdminService/RetryDeadLetter", request, pb.RetryDeadLetterResponse))
    ctl.out.record(answer, [("queued again", args.id), ("message", answer["message_id"])])

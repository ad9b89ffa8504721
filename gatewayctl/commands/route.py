"""`gatewayctl route explain`: which agent a message would go to, by which rule, and what was looked at before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gatewayctl.commands.send import CONTEXTS
from gatewayctl.failures import FAILED, OK, USAGE, Failure
from gatewayctl.nouns import add_verb

if TYPE_CHECKING:
    import argparse

    from gatewayctl.cli import Ctl


def arguments(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    verbs = parser.add_subparsers(metavar="VERB", required=True)
    explain = add_verb(verbs, "explain", common, run, "say which rule matches and why")
    explain.add_argument("channel", metavar="CHANNEL")
    explain.add_argument("context", metavar="CONTEXT", choices=CONTEXTS, help="dm, group or channel")
    explain.add_argument("peer", nargs="?", default="", metavar="PEER", help="the platform's id of the person")
    explain.add_argument("--chat", default="", metavar="ID", help="the platform's id of the room")
    explain.add_argument("--role", action="append", default=[], metavar="NAME", help="a role of the person; repeat")
    explain.add_argument("--config", metavar="FILE", help="by this file; asks no daemon")


def run(args: argparse.Namespace, ctl: Ctl) -> int:
    answer = _offline(args) if args.config else _live(args, ctl)
    if ctl.out.for_people:
        for step in answer.get("steps") or ():
            mark = "→" if step.get("matched") else " "
            ctl.out.text(f"{mark} {step.get('rule', '')}: {step.get('detail', '')}")
        for line in answer.get("considered") or ():
            ctl.out.text(f"  {line}")
        rule = answer.get("rule", "")
        ctl.out.say(f"{answer['agent']} ({rule})" if answer.get("agent") else "no rule matches: nobody would answer")
    else:
        ctl.out.values(answer)
    return OK if answer.get("agent") else FAILED


def _live(args: argparse.Namespace, ctl: Ctl) -> dict[str, Any]:
    from gateway.v1 import admin_service_pb2 as pb  # noqa: PLC0415 - not needed offline
    from gateway.v1.channel_pb2 import ChatContext  # noqa: PLC0415

    from gatewayctl.plain import enum_number, plain  # noqa: PLC0415

    request = pb.ExplainRouteRequest(channel=args.channel, peer=args.peer, chat=args.chat, roles=args.role)
    request.context = enum_number(ChatContext.DESCRIPTOR, args.context)  # type: ignore[assignment]
    return plain(ctl.daemon.call("AdminService/ExplainRoute", request, pb.ExplainRouteResponse))


def _offline(args: argparse.Namespace) -> dict[str, Any]:
    from gatewayctl.checker import answered, config_option, gatewayd  # noqa: PLC0415 - needs no daemon

    if args.chat or args.role:
        raise Failure("--chat and --role ask the running daemon: leave out --config", USAGE)
    question = ("--explain-route", args.channel, args.context, args.peer)
    return answered(gatewayd("--json", *question, *config_option(args.config)))

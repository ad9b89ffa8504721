"""`gatewayctl trace`: the story of one message, from its coming in to its one end."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.v1 import admin_service_pb2 as pb

from gatewayctl.plain import plain
from gatewayctl.system import local_time
from gatewayctl.words import epoch

if TYPE_CHECKING:
    import argparse

    from gatewayctl.cli import Ctl


def arguments(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    parser.add_argument("id", metavar="ID", help="of the message, of its execution, or with --channel the platform's")
    parser.add_argument("--channel", default="", metavar="NAME", help="ID is the platform's id on this channel")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, ctl: Ctl) -> None:
    request = pb.TraceMessageRequest(message_id=args.id, channel=args.channel)
    story = plain(ctl.daemon.call("AdminService/TraceMessage", request, pb.TraceMessageResponse))
    message = story["message"] or {}
    ctl.out.record(story, [(name.removesuffix("_id"), message.get(name)) for name in _NAMES])
    if not ctl.out.for_people:
        return
    ctl.out.say()
    began: float | None = None
    for step in story["steps"]:
        at = epoch(step["time"]) if step["time"] else None
        began = began if began is not None else at
        ctl.out.text(_line(step, at, began))
    for part in story["parts"]:
        ctl.out.text(_part(part))


_NAMES = (
    "id",
    "state",
    "reason",
    "origin",
    "channel",
    "platform_id",
    "chat",
    "peer",
    "principal",
    "agent",
    "rule",
    "session_id",
    "execution_id",
)


def _line(step: dict[str, Any], at: float | None, began: float | None) -> str:
    """When, how long after the beginning, what. A step without a time shared the commit of the one before."""
    when = local_time(at) if at is not None else " " * 23
    after = f"+{at - began:.3f} s" if at is not None and began is not None else ""
    return f"{when}  {after:>11}  {step['stage']:<10} {step['detail']}".rstrip()


def _part(part: dict[str, Any]) -> str:
    to = "/".join(each for each in (part["channel"], part["chat"]) if each)
    tries = f", {part['attempts']} tries" if part["attempts"] > 1 else ""
    error = f": {part['error']}" if part["error"] else ""
    known = f" as {part['platform_id']}" if part["platform_id"] else ""
    return f"part {part['id']} to {to}: {part['state']}{known}{tries}{error}"

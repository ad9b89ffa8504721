"""`gatewayctl publish`: one event, from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gateway.v1 import event_service_pb2 as pb

from gatewayctl.events import event_type, event_types, new_event
from gatewayctl.failures import USAGE, Failure
from gatewayctl.nouns import json_object
from gatewayctl.sdk.pace import Ids
from gatewayctl.system import SystemChance, SystemClock
from gatewayctl.words import plural

if TYPE_CHECKING:
    import argparse

    from gatewayctl.cli import Ctl


def arguments(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    parser.usage = "gatewayctl publish [options] TYPE | publish --custom NAME [options]"
    parser.add_argument(
        "type", nargs="?", metavar="TYPE", help="message, error, broadcast, or another that clients may publish"
    )
    parser.add_argument("--custom", default="", metavar="NAME", help="a type of your own")
    parser.add_argument("--data", default="{}", metavar="JSON", help="what the event carries ({})")
    parser.add_argument("--topic", default="", metavar="TOPIC", help="routing key, such as orders.eu.created")
    parser.add_argument("--session", default="", metavar="ID", help="the session it belongs to")
    parser.add_argument("--target", default="", metavar="NAME", help="the client or agent that alone shall get it")
    parser.add_argument("--correlation", default="", metavar="ID", help="its correlation id")
    parser.add_argument("--id", default="", metavar="ID", help="its id; publishing it again changes nothing")
    parser.add_argument("--ephemeral", action="store_true", help="with --custom: keep it off the disk")
    parser.epilog = f"Types: {', '.join(event_types())}. Some of them only the daemon publishes."
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, ctl: Ctl) -> None:
    if bool(args.type) == bool(args.custom):
        raise Failure("give one type: gatewayctl publish TYPE, or publish --custom NAME", USAGE)
    if args.ephemeral and not args.custom:
        raise Failure("--ephemeral needs --custom: the durability of other types is fixed", USAGE)
    try:
        event_type(args.type or "custom")
    except ValueError as error:
        raise Failure(
            f"{error} (gatewayctl publish --help lists the types; --custom NAME is your own)", USAGE
        ) from None
    try:
        event = new_event(
            args.type or "custom",
            json_object(args.data, "--data"),
            custom_type=args.custom,
            ephemeral=args.ephemeral,
            topic=args.topic,
            session_id=args.session,
            target=args.target,
            correlation_id=args.correlation,
        )
    except ValueError as error:
        raise Failure(str(error), USAGE) from None
    event.id = args.id or Ids(SystemClock(), SystemChance()).new()
    answer = ctl.daemon.call("EventService/Publish", pb.PublishRequest(events=[event]), pb.PublishResponse)
    values = {
        "event_id": answer.event_ids[0] if answer.event_ids else event.id,
        "cursor": answer.cursor,
        "count": answer.count,
    }
    lines = [("published", values["event_id"]), ("cursor", answer.cursor)]
    if args.target or args.type == "broadcast":
        # Only an agent is known without a client that gets it now.
        nobody = "; it waits for a worker, or is for entry points alone" if args.target and not answer.count else ""
        lines.append(("addressed to", plural(answer.count, "client") + nobody))
    ctl.out.record(values, lines)

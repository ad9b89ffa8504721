"""`gatewayctl events`: history, newest last, and what happens now."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gateway.v1 import event_service_pb2 as pb

from gatewayctl.events import event_filter, event_type, event_types, event_values, type_name
from gatewayctl.failures import FAILED, USAGE, Failure
from gatewayctl.system import local_time
from gatewayctl.words import shorten

if TYPE_CHECKING:
    import argparse

    from gateway.v1.event_pb2 import Event, EventFilter

    from gatewayctl.cli import Ctl
    from gatewayctl.client import Gap

DEFAULT_LIMIT = 20
_BUSY = ("heartbeat",)
"""Types that a person sees only by asking for them."""
_CURSOR = re.compile(r".+:[0-9]{1,18}\Z")


def arguments(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    parser.add_argument("--follow", "-f", action="store_true", help="go on with what happens now")
    parser.add_argument("--since", default="", metavar="CURSOR", help="begin behind this cursor")
    parser.add_argument("--type", action="append", default=[], metavar="TYPE", help="only this type; repeat for more")
    parser.add_argument(
        "--topic", default="", metavar="PATTERN", help="only topics that match; * is a word, > the rest"
    )
    parser.add_argument("--session", default="", metavar="ID", help="only this session")
    parser.add_argument("--execution", default="", metavar="ID", help="only this execution")
    parser.add_argument("--stream", default="", metavar="ID", help="only this stream")
    parser.add_argument("--node", default="", metavar="ID", help="only this node of a graph")
    parser.add_argument("--correlation", default="", metavar="ID", help="only this correlation id")
    parser.add_argument("--limit", type=int, metavar="N", help=f"at most so many of the past ({DEFAULT_LIMIT})")
    parser.epilog = f"Types: {', '.join(event_types())}."
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, ctl: Ctl) -> int | None:
    if args.limit is not None and args.limit < 0:
        raise Failure("--limit must not be negative", USAGE)
    if args.since and not _CURSOR.match(args.since):
        raise Failure(
            f"--since {args.since!r} is no cursor: give the EPOCH:SEQ that `gatewayctl events` prints at its end", USAGE
        )
    wanted = _filter(args)
    if args.follow:
        return _follow(args, wanted, ctl)
    limit = DEFAULT_LIMIT if args.limit is None else args.limit
    events = _list(ctl, wanted, limit, args.since)
    if not args.since:
        events.reverse()
    shown, cursor = 0, args.since
    for event in events:
        _show(ctl, event)
        shown, cursor = shown + 1, _cursor(event) or cursor
    if not shown:
        ctl.out.say("no events")
    if cursor and ctl.out.for_people:
        ctl.out.note(f"to go on: gatewayctl events --since {cursor} --follow{_conditions(args)}")
    return None


def _cursor(event: Event) -> str:
    """Where to go on behind this event; empty for one that is not kept."""
    return f"{event.epoch}:{event.seq}" if event.epoch and event.HasField("seq") else ""


def _conditions(args: argparse.Namespace) -> str:
    """The options that chose these events, to choose the next by."""
    import shlex  # noqa: PLC0415 - for people only

    words = [word for each in args.type for word in ("--type", each)]
    for name in ("topic", "session", "execution", "stream", "node", "correlation"):
        if value := getattr(args, name):
            words += [f"--{name}", value]
    return f" {shlex.join(words)}" if words else ""


def _filter(args: argparse.Namespace) -> EventFilter:
    names = [name for each in args.type for name in each.split(",") if name and name != "*"]
    for name in names:
        try:
            event_type(name)
        except ValueError as error:
            raise Failure(f"{error} (gatewayctl events --help lists the types)", USAGE) from None
    return event_filter(
        names,
        topic=args.topic,
        session_id=args.session,
        execution_id=args.execution,
        stream_id=args.stream,
        node_id=args.node,
        correlation_id=args.correlation,
    )


def _list(ctl: Ctl, wanted: EventFilter, limit: int, since: str = "") -> list[Event]:
    """The newest events, newest first; behind a cursor the first ones, oldest first."""

    def page(token: str, size: int) -> tuple[list[Event], str]:
        request = pb.ListEventsRequest(page_size=size, page_token=token, filter=wanted, since=since)
        answer = ctl.daemon.call("EventService/ListEvents", request, pb.ListEventsResponse)
        return list(answer.events), answer.next_page_token

    return list(ctl.daemon.pages(page, limit)) if limit else []


def _follow(args: argparse.Namespace, wanted: EventFilter, ctl: Ctl) -> int | None:
    from gatewayctl.live import Live  # noqa: PLC0415 - only following needs a loop

    def told(gap: Gap) -> None:
        count = "some" if gap.dropped is None else f"at least {gap.dropped}"
        ctl.out.note(f"gatewayctl: {count} events are missing here ({gap.reason.replace('_', ' ')})")

    with Live(ctl) as live:

        async def subscribe() -> Any:
            return await live.client.subscribe(wanted, since=args.since, on_gap=told).started()

        subscription = live.call(subscribe())
        seen = set()
        if args.limit and not args.since:
            for event in reversed(_list(ctl, wanted, args.limit)):
                seen.add((event.epoch, event.seq))
                _show(ctl, event)
        try:
            for event in live.each(subscription):
                if type_name(event) in _BUSY and not args.type:
                    continue
                if not event.HasField("seq") or (event.epoch, event.seq) not in seen:
                    _show(ctl, event)
        except KeyboardInterrupt:
            if subscription.cursor:
                ctl.out.note(f"to go on from here: --since {subscription.cursor}")
            return None
    return FAILED


def _show(ctl: Ctl, event: Event) -> None:
    if not ctl.out.for_people:
        ctl.out.item(event_values(event) | ({"cursor": cursor} if (cursor := _cursor(event)) else {}))
        return
    values = event_values(event)
    when = local_time(event.time) if event.HasField("time") else "-"
    about = [f"{key}={values[name]}" for key, name in _ABOUT if name in values]
    data = " ".join(
        f"{key}={shorten(_text(value), 80)}" for key, value in values["data"].items() if value not in ("", None, {}, [])
    )
    ctl.out.text(" ".join([when, f"{type_name(event):<22}", *about, data]).rstrip())


_ABOUT = (("stream", "stream_id"), ("topic", "topic"), ("exec", "execution_id"), ("session", "session_id"))


def _text(value: object) -> str:
    if isinstance(value, dict | list):
        import json  # noqa: PLC0415 - rare

        return json.dumps(value, ensure_ascii=False)
    return str(value)

"""`gatewayctl state`: the shared state of executions, streams and the gateway."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from gateway.v1 import state_pb2 as pb
from google.protobuf import json_format
from google.protobuf.duration_pb2 import Duration

from gatewayctl.failures import FAILED, UNKNOWN, USAGE, Failure
from gatewayctl.nouns import add_limit, add_verb, json_value, listed
from gatewayctl.plain import plain
from gatewayctl.system import SystemClock, local_time
from gatewayctl.words import age, epoch, shorten

if TYPE_CHECKING:
    import argparse

    from gatewayctl.cli import Ctl
    from gatewayctl.client import StateKey
    from gatewayctl.output import Column, Row

MAX_TTL = 100 * 365 * 86_400.0
"""Seconds."""


def arguments(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    _selection(parser)
    parser.set_defaults(run=list_)
    verbs = parser.add_subparsers(metavar="VERB")
    _selection(add_verb(verbs, "list", common, list_, "list the keys of a place, by name"), again=True)
    get = add_verb(verbs, "get", common, get_, "show one key")
    get.add_argument("key", metavar="KEY")
    get.add_argument("--seen-by", default="", metavar="EXECUTION", help="as this execution sees it: its own or shared")
    _place_options(get, again=True)
    set_ = add_verb(verbs, "set", common, set__, "write one key")
    set_.add_argument("key", metavar="KEY")
    set_.add_argument("value", metavar="JSON", help="the value, such as 3, '\"text\"' or '{\"n\": 1}'")
    set_.add_argument("--ttl", type=float, metavar="SECONDS", help="it goes by itself after this time")
    _change_options(set_)
    delete = add_verb(verbs, "delete", common, delete_, "delete one key")
    delete.add_argument("key", metavar="KEY")
    _change_options(delete)
    watch = add_verb(verbs, "watch", common, watch_, "print what is there, and every change as it comes")
    _pattern_option(watch, again=True)
    _place_options(watch, again=True)


def _selection(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    import argparse  # noqa: PLC0415 - only while parsing

    _pattern_option(parser, again=again)
    _place_options(parser, again=again)
    add_limit(parser, **({"default": argparse.SUPPRESS} if again else {}))


def _pattern_option(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    import argparse  # noqa: PLC0415

    default: Any = argparse.SUPPRESS if again else ""
    help_ = "only keys that match; * is a word, > the rest"
    parser.add_argument("--pattern", default=default, metavar="PATTERN", help=help_)


def _place_options(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    import argparse  # noqa: PLC0415

    default: Any = argparse.SUPPRESS if again else ""
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--execution", default=default, metavar="ID", help="the state of this execution")
    place.add_argument("--stream", default=default, metavar="ID", help="the state of this stream (an agent's id)")


def _change_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--expect", type=int, metavar="VERSION", help="only if it is at this version; 0: if it is not there"
    )
    _place_options(parser, again=True)


def _place(args: argparse.Namespace) -> dict[str, Any]:
    if args.execution:
        return {"scope": pb.STATE_SCOPE_EXECUTION, "scope_id": args.execution}
    if args.stream:
        return {"scope": pb.STATE_SCOPE_STREAM, "scope_id": args.stream}
    return {"scope": pb.STATE_SCOPE_GLOBAL}


def list_(args: argparse.Namespace, ctl: Ctl) -> None:
    def page(token: str, count: int) -> pb.ListStateRequest:
        return pb.ListStateRequest(page_token=token, page_size=count, key_pattern=args.pattern, **_place(args))

    rows = listed(ctl, "RuntimeService/ListState", page, pb.ListStateResponse, "entries", limit=args.limit)
    now = SystemClock().now()
    columns: list[Column] = [
        ("KEY", "key"),
        ("VALUE", lambda row: _json(row["value"], 60)),
        ("VERSION", lambda row: str(row["version"])),
        ("BY", "principal"),
        ("WRITTEN", lambda row: age(row["update_time"], now)),
        ("EXPIRES", lambda row: local_time(epoch(row["expire_time"])) if row["expire_time"] else ""),
    ]
    ctl.out.table(rows, columns, "no keys")


def get_(args: argparse.Namespace, ctl: Ctl) -> int | None:
    if args.seen_by and (args.execution or args.stream):
        raise Failure("--seen-by looks in all places: leave --execution and --stream out", USAGE)
    place = {"scope_id": args.seen_by} if args.seen_by else _place(args)
    request = pb.GetStateRequest(key=args.key, **place)
    answer = ctl.daemon.call("RuntimeService/GetState", request, pb.GetStateResponse)
    if not answer.HasField("entry"):
        raise Failure(f"there is no key {args.key!r}", UNKNOWN)
    _show(plain(answer.entry), ctl)
    return None


def set__(args: argparse.Namespace, ctl: Ctl) -> None:
    try:
        value = json_value(args.value, "the value")
    except Failure as failure:
        raise Failure(failure.message, failure.code, ["a text is written '\"text\"'"]) from None
    write = pb.StateWrite(key=args.key, expected_version=args.expect, **_place(args))
    try:
        json_format.ParseDict(value, write.value)
    except json_format.ParseError as error:
        raise Failure(f"the value is no JSON: {error}", USAGE) from None
    if args.ttl is not None:
        if not 0 < args.ttl <= MAX_TTL:
            raise Failure("the time to live is above 0 seconds and at most 100 years", USAGE)
        write.ttl.CopyFrom(Duration(seconds=int(args.ttl), nanos=round(args.ttl % 1 * 1e9)))
    _write(write, ctl)


def delete_(args: argparse.Namespace, ctl: Ctl) -> None:
    _write(pb.StateWrite(key=args.key, expected_version=args.expect, delete=True, **_place(args)), ctl)


def _write(write: pb.StateWrite, ctl: Ctl) -> None:
    answer = ctl.daemon.call("RuntimeService/SetState", pb.SetStateRequest(writes=[write]), pb.SetStateResponse)
    entry = plain(answer.entries[0])
    if not ctl.out.for_people:
        ctl.out.values(entry)
    elif write.delete:
        ctl.out.record(entry, [("deleted", write.key if entry["version"] else "nothing: it was not there")])
    else:
        _show(entry, ctl)


def _show(entry: Row, ctl: Ctl) -> None:
    expires = entry["expire_time"]
    fields = [
        ("key", entry["key"]),
        ("value", _json(entry["value"], 4000)),
        ("version", str(entry["version"])),
        ("scope", " ".join(part for part in (entry["scope"], entry["scope_id"]) if part)),
        ("by", entry["principal"]),
        ("written", local_time(epoch(entry["update_time"])) if entry["update_time"] else ""),
        ("expires", local_time(epoch(expires)) if expires else ""),
    ]
    ctl.out.record(entry, fields)


def watch_(args: argparse.Namespace, ctl: Ctl) -> int | None:
    from gatewayctl.live import Live  # noqa: PLC0415 - only watching needs a loop

    with Live(ctl) as live:
        news = live.client.state.watch(args.pattern, execution=args.execution, stream=args.stream)
        try:
            for change in live.each(news):
                _tell(ctl, change)
        except KeyboardInterrupt:
            return None
    return FAILED


def _tell(ctl: Ctl, change: StateKey) -> None:
    if ctl.out.for_people:
        held = "(deleted)" if change.deleted else _json(change.value, 4000)
        ctl.out.text(f"{change.key} {held}")
        return
    values = {"key": change.key, "value": change.value, "version": change.version, "deleted": change.deleted}
    ctl.out.item(values | {"scope": change.scope, "scope_id": change.scope_id})


def _json(held: Any, width: int) -> str:
    return "" if held is None else shorten(json.dumps(held, ensure_ascii=False), width)

"""`gatewayctl sessions`: conversations: list, show, reset, export, erase."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from gateway.v1 import session_service_pb2 as pb

from gatewayctl.failures import USAGE, Failure
from gatewayctl.nouns import add_limit, add_verb, listed
from gatewayctl.plain import plain
from gatewayctl.system import SystemClock, local_time
from gatewayctl.words import age, epoch, plural, size

if TYPE_CHECKING:
    import argparse

    from gatewayctl.cli import Ctl
    from gatewayctl.output import Column, Row


def arguments(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    _selection(parser)
    parser.set_defaults(run=list_)
    verbs = parser.add_subparsers(metavar="VERB")
    _selection(add_verb(verbs, "list", common, list_, "list the sessions, the last active first"), again=True)
    show = add_verb(verbs, "show", common, show_, "show a session and the end of its history")
    show.add_argument("id", metavar="ID")
    show.add_argument("--history", type=int, default=20, metavar="N", help="so many messages of its history (20)")
    reset = add_verb(verbs, "reset", common, reset_, "end a session; the next message begins a new one")
    reset.add_argument("id", metavar="ID")
    export = add_verb(verbs, "export", common, export_, "print everything that is kept of a session")
    export.add_argument("id", metavar="ID")
    erase = add_verb(verbs, "erase", common, erase_, "delete everything that is kept of a session or a person")
    erase.add_argument("id", nargs="?", default="", metavar="ID")
    erase.add_argument("--channel", default="", metavar="NAME", help="with --peer: the person's channel")
    erase.add_argument("--peer", default="", metavar="ID", help="everything of this person on the channel")
    erase.add_argument("--yes", action="store_true", help="do not ask")


def _selection(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    import argparse  # noqa: PLC0415 - only while parsing

    default: Any = argparse.SUPPRESS if again else ""
    parser.add_argument("--channel", default=default, metavar="NAME", help="only those on this channel")
    parser.add_argument("--agent", default=default, metavar="ID", help="only those with this agent")
    parser.add_argument("--principal", default=default, metavar="NAME", help="only those of this principal")
    add_limit(parser, **({"default": argparse.SUPPRESS} if again else {}))


def list_(args: argparse.Namespace, ctl: Ctl) -> None:
    def page(token: str, count: int) -> pb.ListSessionsRequest:
        return pb.ListSessionsRequest(
            page_token=token, page_size=count, channel=args.channel, agent=args.agent, principal=args.principal
        )

    rows = listed(ctl, "SessionService/ListSessions", page, pb.ListSessionsResponse, "sessions", limit=args.limit)
    now = SystemClock().now()
    columns: list[Column] = [
        ("SESSION", "id"),
        ("AGENT", "agent"),
        ("WHO", _who),
        ("MESSAGES", lambda row: str(row["message_count"])),
        ("SIZE", lambda row: size(row["history_bytes"])),
        ("ACTIVE", lambda row: age(row["active_time"], now)),
        ("RUNNING", "execution_id"),
    ]
    ctl.out.table(rows, columns, "no sessions")


def _who(row: Row) -> str:
    if row["channel"]:
        return "/".join(part for part in (row["channel"], row["chat"], row["peer"], row["thread"]) if part)
    return "/".join(part for part in (row["principal"], row["client_id"]) if part)


def show_(args: argparse.Namespace, ctl: Ctl) -> None:
    request = pb.GetSessionRequest(session_id=args.id, history_size=max(0, args.history) or -1)
    answer = plain(ctl.daemon.call("SessionService/GetSession", request, pb.GetSessionResponse))
    session = answer["session"] or {}
    now = SystemClock().now()
    fields = [
        ("session", session.get("id")),
        ("agent", session.get("agent")),
        ("who", _who(session) if session else ""),
        ("rule", session.get("rule")),
        ("begun", age(session.get("create_time"), now)),
        ("active", age(session.get("active_time"), now)),
        ("history", f"{plural(session.get('message_count', 0), 'message')}, {size(session.get('history_bytes', 0))}"),
        ("running", session.get("execution_id")),
        ("queued", session.get("queued") or ""),
    ]
    ctl.out.record(answer, fields)
    for message in answer["history"] if ctl.out.for_people else ():
        when = local_time(epoch(message["time"])) if message["time"] else "-"
        ctl.out.text(f"{when} {message['role']}: {message['content']}")


def reset_(args: argparse.Namespace, ctl: Ctl) -> None:
    request = pb.ResetSessionRequest(session_id=args.id)
    answer = plain(ctl.daemon.call("SessionService/ResetSession", request, pb.ResetSessionResponse))
    cancelled = plural(answer["cancelled_executions"], "execution")
    ctl.out.record(answer, [("reset", answer["session_id"]), ("cancelled", cancelled)])


def export_(args: argparse.Namespace, ctl: Ctl) -> None:
    """Always for programs: JSON, or YAML where that is asked for."""
    session: Any = None

    def page(token: str, count: int) -> tuple[list[Any], str]:
        nonlocal session
        request = pb.ExportSessionRequest(session_id=args.id, page_token=token, page_size=count)
        answer = ctl.daemon.call("SessionService/ExportSession", request, pb.ExportSessionResponse)
        session = plain(answer.session)
        return list(answer.messages), answer.next_page_token

    messages = [plain(each) for each in ctl.daemon.pages(page, 0)]
    ctl.out.values({"session": session, "messages": messages})


def erase_(args: argparse.Namespace, ctl: Ctl) -> None:
    if bool(args.id) == bool(args.peer) or bool(args.channel) != bool(args.peer):
        raise Failure("say what to erase: gatewayctl sessions erase ID, or erase --channel NAME --peer ID", USAGE)
    what = f"session {args.id}" if args.id else f"{args.peer} on {args.channel}"
    if not args.yes and not _confirmed(f"Erase everything of {what}? It cannot be undone. [y/N] "):
        raise Failure("nothing was erased: confirm with y, or with --yes")
    if args.id:
        request = pb.EraseSessionRequest(session_id=args.id)
    else:
        request = pb.EraseSessionRequest(peer=pb.PeerRef(channel=args.channel, peer=args.peer))
    answer = plain(ctl.daemon.call("SessionService/EraseSession", request, pb.EraseSessionResponse))
    ctl.out.record(answer, [(name, str(count)) for name, count in answer.items()])


def _confirmed(question: str) -> bool:
    if not sys.stdin.isatty():
        return False
    try:
        return input(question).strip().lower() in ("y", "yes")
    except EOFError:
        return False

"""`gatewayctl chat`: a conversation with an agent at the terminal, or over a pipe.

Ctrl-C cancels the answer that is being given, Ctrl-D leaves. A lost connection is taken up again, answer included.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gateway.v1 import admin_service_pb2, agent_service_pb2

from gatewayctl.failures import OK, UNKNOWN, USAGE, Failure
from gatewayctl.live import Live

if TYPE_CHECKING:
    import argparse

    from gatewayctl.cli import Ctl
    from gatewayctl.client import Answer

PROMPT = "you> "


def arguments(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    parser.add_argument("agent", nargs="?", default="", metavar="AGENT", help="whom to talk to")
    parser.add_argument(
        "--channel", default="", metavar="NAME", help="let the routing of this channel choose the agent"
    )
    parser.add_argument("--session", default="", metavar="ID", help="go on with this session")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, ctl: Ctl) -> int:
    if bool(args.agent) == bool(args.channel):
        raise Failure("say whom to talk to: gatewayctl chat AGENT, or chat --channel NAME", USAGE)
    terminal = sys.stdin.isatty()
    with Live(ctl) as live:
        _greet(live, ctl, args.agent, terminal=terminal)
        worst = OK
        while (line := _read(ctl, terminal=terminal)) is not None:
            if not line.strip():
                continue
            request = agent_service_pb2.SendMessageRequest(
                agent=args.agent, channel=args.channel, session_id=args.session, text=line
            )
            try:
                _answer(live, ctl, live.call(live.ask(request, ctl.timeout)))
            except Failure as failure:
                if failure.code == UNKNOWN or not terminal:
                    worst = failure.code
                    raise
                ctl.out.note(f"gatewayctl: {failure.message}")
        return worst


def _greet(live: Live, ctl: Ctl, agent: str, *, terminal: bool) -> None:
    """Show what the agent begins with. A token that may not list agents still may talk."""
    if terminal:
        _edit_lines()
        ctl.out.note(f"connected to {live.address.text}; Ctrl-C cancels an answer, Ctrl-D leaves")
    if not agent:
        return
    request = admin_service_pb2.ListAgentsRequest(page_size=1000)
    try:
        known = live.call(live.client.call("AdminService/ListAgents", request, admin_service_pb2.ListAgentsResponse))
    except Failure:
        return
    found = next((each for each in known.agents if each.id == agent), None)
    if found is None and known.agents and not known.next_page_token:
        names = ", ".join(each.id for each in known.agents)
        raise Failure(f"there is no agent {agent!r}: there are {names}", UNKNOWN)
    if found is not None and found.greeting:
        ctl.out.text(found.greeting)


def _edit_lines() -> None:
    """Arrow keys and history for `input`."""
    try:
        import readline  # noqa: F401, PLC0415 - importing it is what does it; some builds have none
    except ImportError:
        return


def _read(ctl: Ctl, *, terminal: bool) -> str | None:
    """The next line; None at the end."""
    if not terminal:
        line = sys.stdin.readline()
        return line.rstrip("\n") if line else None
    while True:
        try:
            return input(PROMPT)
        except KeyboardInterrupt:
            ctl.out.text("")  # the prompt's line was left open; like a shell, begin a new one
        except EOFError:
            ctl.out.text("")
            return None


def _answer(live: Live, ctl: Ctl, answer: Answer) -> None:
    """Print the answer as it comes; an interrupt cancels the execution."""
    try:
        for text in live.each(answer):
            ctl.out.text(text, end="")
        ctl.out.text("")
    except KeyboardInterrupt:
        ctl.out.text("")
        execution = live.call(answer.accepted())
        answer.abandon()
        live.call(live.client.cancel(execution))
        ctl.out.note("cancelled")

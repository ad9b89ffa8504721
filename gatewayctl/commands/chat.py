"""`gatewayctl chat`: a conversation with an agent at the terminal, or over a pipe.

Ctrl-C cancels the answer that is being given, Ctrl-D leaves. When the agent asks for something, the next line is its
input; a session that is gone on with may wait for some already. A lost connection is taken up again, answer included.
"""

from __future__ import annotations

import threading
from functools import partial
from typing import TYPE_CHECKING

from gateway.v1 import admin_service_pb2, agent_service_pb2

from gatewayctl.allowed import QUESTIONS, allows, not_shown
from gatewayctl.asked import how_to_answer, it_asks
from gatewayctl.failures import FAILED, OK, UNKNOWN, USAGE, Failure
from gatewayctl.lines import CalledOff, lines_of_stdin
from gatewayctl.live import Live
from gatewayctl.questions import Dialogue, Question, Questions
from gatewayctl.waiting import Waiting, asked_last

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from gatewayctl.cli import Ctl

PROMPT = "you> "
ANSWER = "answer> "
"""The prompt while the agent waits for input."""
GREETING, EXECUTIONS = "admin.read", "sessions:own"
"""The scopes that show what an agent begins with, and what waits in a session."""


def arguments(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    parser.add_argument("agent", nargs="?", default="", metavar="AGENT", help="whom to talk to")
    parser.add_argument(
        "--channel", default="", metavar="NAME", help="let the routing of this channel choose the agent"
    )
    parser.add_argument(
        "--session", default="", metavar="ID", help="go on with this session, and with what it waits for"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, ctl: Ctl) -> int:
    if bool(args.agent) == bool(args.channel):
        raise Failure("say whom to talk to: gatewayctl chat AGENT, or chat --channel NAME", USAGE)
    with Live(ctl) as live:
        chat = Chat(live, ctl)
        try:
            _greet(live, ctl, args.agent, terminal=chat.terminal)
            chat.begin(args.agent, args.session)
            while (line := chat.line()) is not None:
                request = agent_service_pb2.SendMessageRequest(
                    agent=args.agent, channel=args.channel, session_id=args.session, text=line
                )
                chat.turn(partial(chat.say, request))
        except _Left as left:
            asked = left.question
            command = how_to_answer(asked.execution_id, asked.node_id)
            waits = f"execution {asked.execution_id} waits on; answer with: {command}"
            if not chat.terminal:
                raise Failure(f"the input has ended, and {waits}", FAILED) from None
            ctl.out.note(waits)
        finally:
            live.call(chat.questions.close())
    return OK


def _greet(live: Live, ctl: Ctl, agent: str, *, terminal: bool) -> None:
    """Show what the agent begins with. A client that may not list agents still may talk."""
    if terminal:
        ctl.out.note(f"connected to {live.address.text}; Ctrl-C cancels an answer, Ctrl-D leaves")
    if not agent or not allows(live.client, GREETING):
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


class _Left(Exception):
    """The input has ended before the answer to this question."""

    def __init__(self, question: Question) -> None:
        self.question = question


class Chat:
    """Turns and questions, one after another."""

    def __init__(self, live: Live, ctl: Ctl) -> None:
        self._live = live
        self._ctl = ctl
        self._lines, self.terminal = lines_of_stdin()
        self.questions = Questions(live.client)

    def begin(self, agent: str, session: str) -> None:
        """From here on nothing that is asked is missed; what waits in the session already is answered first."""
        parts = {"what agents ask": QUESTIONS}
        parts |= {"what the agent begins with": GREETING} if agent else {}
        parts |= {"what waits in the session": EXECUTIONS} if session else {}
        client = self._live.client
        if line := not_shown(client, parts):
            self._ctl.out.note(line)
        if allows(client, QUESTIONS):
            self._live.call(self.questions.open())
        if session and allows(client, EXECUTIONS):
            while execution := self._live.call(asked_last(client, session)):
                self.turn(partial(Waiting, client, execution))

    def say(self, request: agent_service_pb2.SendMessageRequest) -> Dialogue:
        """Begin a turn of one's own."""
        return Dialogue(self._live.call(self._live.ask(request, self._ctl.timeout)), self.questions)

    def line(self) -> str | None:
        """The next line that says something; None at the end."""
        while True:
            try:
                line = self._lines.read(PROMPT)
            except KeyboardInterrupt:
                if not self.terminal:
                    raise
                self._ctl.out.text("")  # the prompt's line was left open; like a shell, begin a new one
                continue
            if line is None and self.terminal:
                self._ctl.out.text("")
            if line is None or line.strip():
                return line

    def turn(self, begin: Callable[[], Dialogue | Waiting]) -> None:
        """A turn to its end. On a terminal what went wrong is told, and the chat goes on."""
        try:
            self._follow(begin())
        except Failure as failure:
            if failure.code == UNKNOWN or not self.terminal:
                raise
            self._ctl.out.note(f"gatewayctl: {failure.message}")

    def _follow(self, dialogue: Dialogue | Waiting) -> None:
        """Print the answer as it comes, and have the questions on the way answered; an interrupt cancels it."""
        out, open_line = self._ctl.out, False
        try:
            for piece in self._live.each(dialogue):
                if isinstance(piece, Question):
                    if open_line:
                        out.text("")
                    self._ask(piece, dialogue)
                    open_line = False
                else:
                    out.text(piece, end="")
                    open_line = True
            out.text("")
        except KeyboardInterrupt:
            out.text("")
            execution = self._live.call(dialogue.execution_id())
            dialogue.abandon()
            self._live.call(self._live.client.cancel(execution))
            out.note("cancelled")

    def _ask(self, question: Question, dialogue: Dialogue | Waiting) -> None:
        """Show it and give its answer, unless it is out of date before there is one."""
        out = self._ctl.out
        out.text(it_asks(question.prompt))
        off = threading.Event()

        async def watch() -> None:
            await dialogue.moot()
            off.set()
            self._lines.call_off()

        watching = self._live.beside(watch())
        try:
            while not self._answered(question, off):
                pass
        except CalledOff:
            if self.terminal:
                out.text("")
            out.note("it waits for this no longer")
        finally:
            watching.cancel()

    def _answered(self, question: Question, off: threading.Event) -> bool:
        """Read a line and give it; False if there is to be another."""
        line = self._lines.read(ANSWER, off)
        if line is None:
            if self.terminal:
                self._ctl.out.text("")
            raise _Left(question)
        if not line.strip():
            return False
        try:
            given = self._live.call(question.give(self._live.client, line))
        except Failure as failure:
            if not self.terminal:
                raise
            self._ctl.out.note(f"gatewayctl: {failure.message}")
            return False
        if not given:
            lost = "it waits for this no longer, so the line was not given to it"
            if not self.terminal:
                raise Failure(lost, FAILED)
            self._ctl.out.note(lost)
        return True

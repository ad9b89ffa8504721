"""`gatewayctl send`: one message to an agent, and its answer."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from gatewayctl.asked import LOOK, how_to_answer, interrupted, it_asks
from gatewayctl.failures import FAILED, USAGE, Failure

if TYPE_CHECKING:
    import argparse

    from gateway.v1 import agent_service_pb2

    from gatewayctl.cli import Ctl

CONTEXTS = ("dm", "group", "channel")
PATIENCE = 120.0
"""Seconds to wait for the answer, unless `--timeout` says otherwise."""
MAX_STDIN = 1 << 20
_OF_QUESTIONS = ("prompt", "node_id")
"""Fields that an answer has nothing in."""


def arguments(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    parser.usage = "gatewayctl send [options] AGENT TEXT | send --channel NAME [options] TEXT"
    parser.add_argument("words", nargs="+", metavar="AGENT TEXT", help="the agent and the text; - reads standard input")
    parser.add_argument("--channel", metavar="NAME", help="let the routing of this channel choose the agent")
    parser.add_argument("--context", choices=CONTEXTS, help="with --channel: the kind of room to assume (dm)")
    parser.add_argument("--stream", action="store_true", help="print the answer while it is produced")
    parser.add_argument("--session", default="", metavar="ID", help="go on with this session")
    parser.add_argument(
        "--idempotency-key", default="", metavar="KEY", help="sending again with it returns the first answer"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, ctl: Ctl) -> None:
    agent, text = _addressee(args)
    from gateway.v1 import agent_service_pb2, execution_pb2  # noqa: PLC0415 - usage errors come first, and fast
    from gateway.v1.channel_pb2 import ChatContext  # noqa: PLC0415

    from gatewayctl.plain import enum_number, plain  # noqa: PLC0415

    patience = ctl.timeout or PATIENCE
    request = agent_service_pb2.SendMessageRequest(
        agent=agent,
        channel=args.channel or "",
        context=enum_number(ChatContext.DESCRIPTOR, args.context) if args.context else None,  # type: ignore[arg-type]
        text=text,
        session_id=args.session,
        idempotency_key=args.idempotency_key or ctl.new_id(),
        until_asked=True,  # nobody answers it here
    )
    request.timeout.FromMilliseconds(int(patience * 1000))
    if args.stream and ctl.out.for_people:
        _stream(request, patience, ctl)
        return
    answer_type = agent_service_pb2.SendMessageResponse
    try:
        answer = ctl.daemon.call("AgentService/SendMessage", request, answer_type, patience + 2)
    except KeyboardInterrupt:
        raise interrupted(lambda: _started(request, ctl)) from None
    if answer.state == execution_pb2.EXECUTION_STATE_INPUT_REQUIRED:
        raise _asks(answer.prompt, answer.execution_id, answer.node_id)
    if ctl.out.for_people:
        ctl.out.text(answer.content)
    else:
        ctl.out.values({name: each for name, each in plain(answer).items() if name not in _OF_QUESTIONS})


def _started(request: agent_service_pb2.SendMessageRequest, ctl: Ctl) -> tuple[str, bool]:
    """What answers it, and that it has: the same key runs nothing more. Failure while it goes on."""
    from gateway.v1 import agent_service_pb2, execution_pb2  # noqa: PLC0415

    request.timeout.FromMilliseconds(1)
    answer = ctl.daemon.call("AgentService/SendMessage", request, agent_service_pb2.SendMessageResponse, LOOK)
    return answer.execution_id, answer.state != execution_pb2.EXECUTION_STATE_INPUT_REQUIRED


def _addressee(args: argparse.Namespace) -> tuple[str, str]:
    words = list(args.words)
    if args.context and not args.channel:
        raise Failure("--context needs --channel", USAGE)
    if not args.channel and len(words) < 2:
        raise Failure("say to whom and what: gatewayctl send AGENT TEXT", USAGE)
    agent = "" if args.channel else words.pop(0)
    text = " ".join(words)
    if text == "-":
        text = sys.stdin.read(MAX_STDIN + 1)
        if len(text) > MAX_STDIN:
            raise Failure("the text on standard input is longer than 1 MiB: send less", FAILED)
    if not text.strip():
        raise Failure("there is nothing to send: the text is empty", USAGE)
    return agent, text


def _asks(prompt: str, execution_id: str, node_id: str) -> Failure:
    return Failure(
        it_asks(prompt),
        FAILED,
        [
            f"answer with: {how_to_answer(execution_id, node_id)}",
            f"and read on with: gatewayctl executions watch {execution_id}",
        ],
    )


def _stream(request: agent_service_pb2.SendMessageRequest, patience: float, ctl: Ctl) -> None:
    from gatewayctl.allowed import QUESTIONS, not_shown  # noqa: PLC0415
    from gatewayctl.live import Live  # noqa: PLC0415 - only streaming needs a loop
    from gatewayctl.questions import Dialogue, Question, Questions  # noqa: PLC0415

    with Live(ctl) as live:
        questions, dialogue = Questions(live.client), None
        if line := not_shown(live.client, {"what the agent asks": QUESTIONS}):
            ctl.out.note(line)
        else:
            live.call(questions.open())
        try:
            dialogue = Dialogue(live.call(live.ask(request, patience)), questions)
            for piece in live.each(dialogue):
                if isinstance(piece, Question):
                    raise _asks(piece.prompt, piece.execution_id, piece.node_id)
                ctl.out.text(piece, end="")
        except KeyboardInterrupt:
            raise interrupted(lambda: live.begun(dialogue)) from None
        finally:
            ctl.out.say()
            live.call(questions.close())

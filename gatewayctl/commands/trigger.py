"""`gatewayctl trigger`: start an entry point, and if asked to wait for the result.

Without --wait the answer is the execution's id, alone on its line, for `$(…)`; every verb that asks about executions,
`trace` too, takes it.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from gatewayctl.asked import LOOK, how_to_wait, interrupted
from gatewayctl.failures import FAILED, USAGE, Failure
from gatewayctl.nouns import json_object

if TYPE_CHECKING:
    import argparse

    from gateway.v1 import runtime_service_pb2 as pb

    from gatewayctl.cli import Ctl

MAX_STDIN = 1 << 20
SLICE = 2.0
"""Seconds of waiting after which there is a look at how far it is."""
REPORT = 10.0
"""Seconds between two remarks while nothing changes."""
RESTING = ("paused", "input_required")


def arguments(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    parser.add_argument("entry_point", metavar="ENTRY_POINT", help="what to start")
    parser.add_argument(
        "--input",
        default=None,
        metavar="TEXT|JSON",
        help="what the agent is given; {…} is JSON, - reads standard input",
    )
    parser.add_argument("--wait", action="store_true", help="wait for the result and print it; --timeout bounds it")
    parser.add_argument(
        "--key", default="", metavar="KEY", help="idempotency key: triggering again gives the first run"
    )
    parser.add_argument("--correlation", default="", metavar="ID", help="correlation id of its events")
    parser.add_argument("--memory", default="", metavar="JSON", help="a JSON object that the agent begins with")
    parser.add_argument("--paused-at", default="", metavar="NODE", help="the node that it begins at")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, ctl: Ctl) -> int | None:
    given = _input(args.input)
    from gateway.v1 import runtime_service_pb2 as pb  # noqa: PLC0415 - usage errors come first, and fast

    from gatewayctl.plain import plain  # noqa: PLC0415
    from gatewayctl.sdk.errors import InvalidArgument  # noqa: PLC0415
    from gatewayctl.sdk.triggers import trigger_request  # noqa: PLC0415

    key = args.key or (ctl.new_id() if args.wait else "")
    memory = _memory(args.memory)
    try:
        request = trigger_request(
            args.entry_point, given, args.correlation, key, memory=memory, paused_at=args.paused_at
        )
    except InvalidArgument as error:
        raise Failure(error.message, USAGE) from None
    if args.wait:
        try:
            return _wait(request, ctl)
        except KeyboardInterrupt:
            raise interrupted(lambda: _started(request, ctl)) from None
    values = plain(ctl.daemon.call("RuntimeService/Trigger", request, pb.TriggerResponse))
    if not ctl.out.for_people:
        ctl.out.values(values)
        return None
    ctl.out.text(values["execution_id"])
    if values["duplicate"]:
        ctl.out.note("it was started before, under the same key")
    return None


def _wait(request: pb.TriggerRequest, ctl: Ctl) -> int | None:
    """Wait in slices, each under the same key, and say how far it is."""
    from gateway.v1 import runtime_service_pb2 as pb  # noqa: PLC0415

    from gatewayctl.plain import plain  # noqa: PLC0415
    from gatewayctl.system import SystemClock  # noqa: PLC0415

    clock = SystemClock()
    began = reported = clock.monotonic()
    last = started = ""
    while True:
        spent = clock.monotonic() - began
        left = SLICE if ctl.timeout is None else min(SLICE, ctl.timeout - spent)
        wanted = pb.TriggerAndWaitRequest(trigger=request)
        wanted.timeout.FromMilliseconds(max(1, int(left * 1000)))
        patience = max(0.0, left) + 10.0
        try:
            answer = ctl.daemon.call("RuntimeService/TriggerAndWait", wanted, pb.TriggerAndWaitResponse, patience)
        except Failure as failure:
            if not started or failure.lines:
                raise
            raise Failure(failure.message, failure.code, [how_to_wait(started)]) from None
        values = plain(answer)
        execution = values["execution"]
        started = execution["id"]
        if answer.outcome != pb.TRIGGER_OUTCOME_TIMED_OUT:
            return _tell(values, execution, ctl)
        now = clock.monotonic()
        if execution["state"] != last or now - reported >= REPORT:
            last, reported = execution["state"], now
            ctl.out.note(f"execution {execution['id']} is {last} ({now - began:.0f} s)")
            if last in RESTING:
                ctl.out.note(f"how it goes on: gatewayctl executions show {execution['id']}")
        if ctl.timeout is not None and now - began >= ctl.timeout:
            if not ctl.out.for_people:
                ctl.out.values(values)
            resting = f"is {last}" if last in RESTING else "goes on"
            tells = "how to go on with it" if last in RESTING else "its result"
            raise Failure(
                f"timed out: execution {execution['id']} {resting}; gatewayctl executions show {execution['id']} tells "
                f"{tells}",
                FAILED,
            )


def _started(request: pb.TriggerRequest, ctl: Ctl) -> tuple[str, bool]:
    """What was started, and whether it has ended: the same key starts nothing more."""
    from gateway.v1 import runtime_service_pb2 as pb  # noqa: PLC0415

    look = pb.TriggerAndWaitRequest(trigger=request)
    look.timeout.FromMilliseconds(1)
    answer = ctl.daemon.call("RuntimeService/TriggerAndWait", look, pb.TriggerAndWaitResponse, LOOK)
    return answer.execution.id, answer.outcome == pb.TRIGGER_OUTCOME_ENDED


def _tell(values: dict[str, Any], execution: dict[str, Any], ctl: Ctl) -> int | None:
    if not ctl.out.for_people:
        ctl.out.values(values)
    if execution["state"] == "succeeded":
        if ctl.out.for_people:
            ctl.out.text(execution["output"])
        return None
    why = execution["error"] or execution["reason"]
    raise Failure(f"execution {execution['id']} {execution['state']}: {why}", FAILED)


def _input(text: str | None) -> str | dict[str, Any] | None:
    if text == "-":
        text = sys.stdin.read(MAX_STDIN + 1)
        if len(text) > MAX_STDIN:
            raise Failure("the input on standard input is longer than 1 MiB: send less", FAILED)
    if text is None:
        return None
    if not text.strip():
        raise Failure("the input is blank: leave --input out instead", USAGE)
    return json_object(text, "--input, which begins with {,") if text.lstrip().startswith("{") else text


def _memory(text: str) -> dict[str, Any] | None:
    return json_object(text, "--memory") if text else None

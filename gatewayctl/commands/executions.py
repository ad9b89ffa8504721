"""`gatewayctl executions`: runs of agents: list, show, cancel, pause, resume, input, watch."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from gateway.v1 import runtime_service_pb2 as pb
from gateway.v1.execution_pb2 import ExecutionState

from gatewayctl.asked import how_to_answer, it_asks
from gatewayctl.failures import FAILED, Failure
from gatewayctl.nouns import add_limit, add_verb, listed
from gatewayctl.plain import enum_names, enum_number, plain
from gatewayctl.system import SystemClock, local_time, pause
from gatewayctl.words import age, epoch, span

if TYPE_CHECKING:
    import argparse

    from gatewayctl.cli import Ctl
    from gatewayctl.output import Column, Row


def arguments(parser: argparse.ArgumentParser, common: argparse.ArgumentParser) -> None:
    _selection(parser)
    parser.set_defaults(run=list_)
    verbs = parser.add_subparsers(metavar="VERB")
    _selection(add_verb(verbs, "list", common, list_, "list executions, the newest first"), again=True)
    show = add_verb(verbs, "show", common, show_, "show one execution and its answer")
    show.add_argument("id", metavar="ID")
    cancel = add_verb(verbs, "cancel", common, cancel_, "cancel an execution that has not ended")
    cancel.add_argument("id", metavar="ID")
    pausing = add_verb(verbs, "pause", common, pause_, "have one leave at its next step, to go on when it is resumed")
    pausing.add_argument("id", metavar="ID")
    resume = add_verb(verbs, "resume", common, resume_, "let a paused execution go on")
    resume.add_argument("id", metavar="ID")
    for verb in (pausing, resume):
        verb.add_argument("--reason", default="", metavar="TEXT", help="why, for its events")
    given = add_verb(verbs, "input", common, input_, "give input to an execution that waits for it")
    given.add_argument("id", metavar="ID")
    given.add_argument("text", metavar="TEXT", help="what is said to it; - reads standard input")
    given.add_argument("--node", default="", metavar="ID", help="the node that waits; none for an agent without nodes")
    watch = add_verb(verbs, "watch", common, watch_, "follow one execution until it ends; --timeout bounds it")
    watch.add_argument("id", metavar="ID")
    cancel.add_argument("--reason", default="", metavar="TEXT", help="why, for its events and the ledger")


def _selection(parser: argparse.ArgumentParser, *, again: bool = False) -> None:
    import argparse  # noqa: PLC0415 - only while parsing

    nothing: Any = argparse.SUPPRESS if again else None
    states = enum_names(ExecutionState.DESCRIPTOR)
    parser.add_argument("--state", action="append", choices=states, default=nothing, help="only in this state; repeat")
    parser.add_argument("--session", default=nothing, metavar="ID", help="only those of this session")
    parser.add_argument("--agent", default=nothing, metavar="ID", help="only those of this agent")
    parser.add_argument("--entry-point", default=nothing, metavar="ID", help="only those that it started")
    add_limit(parser, **({"default": argparse.SUPPRESS} if again else {}))


def list_(args: argparse.Namespace, ctl: Ctl) -> None:
    states: list[Any] = [enum_number(ExecutionState.DESCRIPTOR, name) for name in args.state or ()]

    def page(token: str, count: int) -> pb.ListExecutionsRequest:
        return pb.ListExecutionsRequest(
            page_token=token,
            page_size=count,
            states=states,
            session_id=args.session or "",
            agent=args.agent or "",
            entry_point=args.entry_point or "",
        )

    rows = listed(ctl, "RuntimeService/ListExecutions", page, pb.ListExecutionsResponse, "executions", limit=args.limit)
    now = SystemClock().now()
    columns: list[Column] = [
        ("EXECUTION", "id"),
        ("STATE", "state"),
        ("AGENT", "agent"),
        ("ORIGIN", lambda row: f"{row['origin']} {row['entry_point']}".rstrip()),
        ("PRINCIPAL", "principal"),
        ("CREATED", lambda row: age(row["create_time"], now)),
        ("TOOK", lambda row: _took(row, now)),
        ("REASON", lambda row: row["error"] or row["reason"]),
    ]
    ctl.out.table(rows, columns, "no executions")


def _took(row: Row, now: float) -> str:
    if not row["start_time"] or not (row["end_time"] or row["state"] == "running"):
        return ""
    if not row["end_time"]:
        return f"{span(max(0.0, now - epoch(row['start_time'])))} so far"
    seconds = epoch(row["end_time"]) - epoch(row["start_time"])
    return f"{seconds:.3f} s" if seconds < 60 else span(seconds)


def show_(args: argparse.Namespace, ctl: Ctl) -> None:
    request = pb.GetExecutionRequest(execution_id=args.id)
    _tell(plain(ctl.daemon.call("RuntimeService/GetExecution", request, pb.GetExecutionResponse)), ctl)


def cancel_(args: argparse.Namespace, ctl: Ctl) -> None:
    request = pb.CancelExecutionRequest(execution_id=args.id, reason=args.reason)
    _tell(plain(ctl.daemon.call("RuntimeService/CancelExecution", request, pb.CancelExecutionResponse)), ctl)


def pause_(args: argparse.Namespace, ctl: Ctl) -> None:
    request = pb.PauseExecutionRequest(execution_id=args.id, reason=args.reason)
    wait = PATIENCE if ctl.timeout is None else ctl.timeout
    request.timeout.FromMilliseconds(max(1, int(1000 * wait)))
    answer = plain(ctl.daemon.call("RuntimeService/PauseExecution", request, pb.PauseExecutionResponse, wait + GRACE))
    _tell(answer, ctl)
    if answer["execution"]["state"] not in _RESTING:
        raise Failure(f"execution {args.id} has not come to a step yet; it pauses when it does")


def resume_(args: argparse.Namespace, ctl: Ctl) -> None:
    request = pb.ResumeExecutionRequest(execution_id=args.id, reason=args.reason)
    _tell(plain(ctl.daemon.call("RuntimeService/ResumeExecution", request, pb.ResumeExecutionResponse)), ctl)


def input_(args: argparse.Namespace, ctl: Ctl) -> None:
    text = sys.stdin.read(MAX_STDIN + 1) if args.text == "-" else args.text
    request = pb.InjectInputRequest(execution_id=args.id, node_id=args.node, content=text)
    _tell(plain(ctl.daemon.call("RuntimeService/InjectInput", request, pb.InjectInputResponse)), ctl)


def watch_(args: argparse.Namespace, ctl: Ctl) -> int | None:
    """Look, less and less often; what it is at is told when that changes, the whole when it has ended."""
    clock = SystemClock()
    request, began, wait = pb.GetExecutionRequest(execution_id=args.id), clock.monotonic(), 0.1
    last: tuple[str, ...] = ()
    while True:
        answer = plain(ctl.daemon.call("RuntimeService/GetExecution", request, pb.GetExecutionResponse))
        state = answer["execution"]["state"]
        if state in _ENDED:
            _tell(answer, ctl)
            return None if state == "succeeded" else FAILED
        # It may have gone on between two looks, and rest again at another step: it asks for something else then.
        rests_at = [one["id"] for one in answer["checkpoints"][-1:]] if state in _RESTING else []
        if (state, *rests_at) != last:
            last = (state, *rests_at)
            ctl.out.note(f"{args.id} is {state}")
            _go_on(answer, ctl)
        if ctl.timeout is not None and clock.monotonic() - began >= ctl.timeout:
            raise Failure(f"execution {args.id} is still {state}; it goes on")
        pause(wait)
        wait = min(wait * 1.5, 2.0)


def _counted(row: Row) -> bool:
    return bool(int(row["input_tokens"]) or int(row["output_tokens"]))


def _tell(answer: dict[str, Any], ctl: Ctl) -> None:
    execution = answer["execution"] or {}
    fields = [(name.removesuffix("_id"), execution.get(name)) for name in _NAMES]
    times = [(title, local_time(epoch(execution[name]))) for title, name in _TIMES if execution.get(name)]
    more = {name: answer[name] for name in ("checkpoints", "log") if answer.get(name)}
    took = ("took", f"{_took(execution, SystemClock().now())}{_lives(answer)}".removeprefix(", ") if execution else "")
    ctl.out.record(execution | more, [*fields, *times, took, *_graph(execution.get("graph") or {})])
    if ctl.out.for_people and (log := answer.get("log")):
        ctl.out.say()
        ctl.out.table(log, _LOG, "")
    if ctl.out.for_people and execution.get("output"):
        ctl.out.say()
        ctl.out.text(execution["output"])
    _go_on(answer, ctl)


def _go_on(answer: dict[str, Any], ctl: Ctl) -> None:
    """What there is to do about it, behind everything else."""
    execution = answer["execution"] or {}
    match execution.get("state"):
        case "input_required" if kept := answer.get("checkpoints"):
            ctl.out.note(it_asks(kept[-1]["prompt"]))
            ctl.out.note(f"answer with: {how_to_answer(execution['id'], kept[-1]['node_id'])}")
        case "paused":
            ctl.out.note(f"go on with: gatewayctl executions resume {execution['id']}")
        case "failed":
            ctl.out.note(f"its story: gatewayctl trace {execution['id']}; the daemon's log may say more under this id")


def _lives(answer: dict[str, Any]) -> str:
    """How often it has come back, as far as its log says."""
    if not answer["execution"]["start_time"]:
        return ""
    back = sum(entry["kind"] == "came_back" for entry in answer.get("log") or ())
    return f", in {back + 1} runs" if back else ""


def _graph(result: dict[str, Any]) -> list[tuple[str, object]]:
    """What it came to, where a graph ran."""
    if not result:
        return []
    failures = ", ".join(f"{node} {count}" for node, count in result["failures"].items())
    left_out = int(result["steps"]) - len(result["path"])
    path = " ".join([*(["…"] if left_out > 0 else []), *result["path"]])
    return [
        ("quality", result["quality"]),
        ("path", path),
        ("steps", str(result["steps"])),
        ("retries", str(result["retries"])),
        ("failed nodes", failures or "none"),
        ("tokens", str(result["tokens"] or "not known")),
    ]


MAX_STDIN = 64 * 1024
PATIENCE = 10.0
"""Seconds that a pause is waited for, unless --timeout says otherwise."""
GRACE = 2.0
_RESTING = ("paused", "input_required")
_LOG: list[Column] = [
    ("TIME", lambda row: local_time(epoch(row["time"]))),
    ("WHAT", "kind"),
    ("NODE", "node_id"),
    ("TEXT", "text"),
    ("TOKENS", lambda row: f"{row['input_tokens']} in, {row['output_tokens']} out" if _counted(row) else ""),
]
_ENDED = ("succeeded", "failed", "cancelled")
_NAMES = (
    "id",
    "state",
    "entry_point",
    "agent",
    "session_id",
    "message_id",
    "principal",
    "origin",
    "correlation_id",
    "reason",
    "error",
)
_TIMES = (("created", "create_time"), ("started", "start_time"), ("ended", "end_time"))

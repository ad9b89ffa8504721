"""`gatewayctl goals`: how far the goals are, and what shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.v1 import goal_pb2 as pb

from gatewayctl.nouns import listed
from gatewayctl.plain import plain
from gatewayctl.system import SystemClock
from gatewayctl.words import age

if TYPE_CHECKING:
    import argparse

    from gatewayctl.cli import Ctl
    from gatewayctl.output import Column


def arguments(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    parser.add_argument("goal", nargs="?", metavar="ID", help="this one, with its criteria and their evidence")
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, ctl: Ctl) -> None:
    if args.goal is None:
        _list(ctl)
    else:
        _show(args.goal, ctl)


def _list(ctl: Ctl) -> None:
    rows = listed(
        ctl,
        "RuntimeService/ListGoals",
        lambda token, size: pb.ListGoalsRequest(page_token=token, page_size=size),
        pb.ListGoalsResponse,
        "goals",
    )
    columns: list[Column] = [
        ("GOAL", "id"),
        ("PROGRESS", lambda row: _percent(row["progress"])),
        ("CRITERIA MET", lambda row: f"{sum(one['met'] for one in row['criteria'])}/{len(row['criteria'])}"),
        ("VIOLATIONS", lambda row: str(sum(one["violations"] for one in row["constraints"]))),
        ("DECISIONS", lambda row: str(row["metrics"]["decisions"])),
        ("RECOMMENDATION", "recommendation"),
        ("DESCRIPTION", "description"),
    ]
    ctl.out.table(rows, columns, "no goals that you may see")


def _show(goal_id: str, ctl: Ctl) -> None:
    request = pb.GetGoalProgressRequest(goal_id=goal_id)
    answer = plain(ctl.daemon.call("RuntimeService/GetGoalProgress", request, pb.GetGoalProgressResponse))
    goal, now = answer["goal"], SystemClock().now()
    metrics = goal["metrics"]
    rate = f" ({_percent(metrics['success_rate'])})" if metrics["decisions"] else ""
    ctl.out.record(
        goal,
        [
            ("goal", goal["id"]),
            ("description", goal["description"]),
            ("progress", _percent(goal["progress"])),
            ("recommendation", goal["recommendation"]),
            ("reached", age(goal["achieve_time"], now)),
            ("decisions", str(metrics["decisions"])),
            ("outcomes", f"{metrics['successful_outcomes']} good, {metrics['failed_outcomes']} bad{rate}"),
            ("executions", f"{metrics['executions']} ended, {metrics['running']} running"),
            ("entry points", _entry_points(metrics)),
        ],
    )
    if not ctl.out.for_people:
        return
    ctl.out.say()
    criteria: list[Column] = [
        ("CRITERION", "id"),
        ("MET", lambda row: "yes" if row["met"] else "no"),
        ("PROGRESS", lambda row: _percent(row["progress"])),
        ("TARGET", "target"),
        ("WEIGHT", lambda row: f"{row['weight']:g}"),
        ("MEASURE", "measure"),
        ("OUTCOMES", lambda row: str(row["outcomes"])),
    ]
    ctl.out.table(goal["criteria"], criteria, "")
    if goal["constraints"]:
        ctl.out.say()
        constraints: list[Column] = [
            ("CONSTRAINT", "id"),
            ("KIND", lambda row: "hard" if row["hard"] else "soft"),
            ("VIOLATIONS", lambda row: str(row["violations"])),
            ("ACTIVE", lambda row: "yes" if row["active"] else "no"),
        ]
        ctl.out.table(goal["constraints"], constraints, "")
    for one in [*goal["criteria"], *goal["constraints"]]:
        _evidence(one, ctl, now)


def _entry_points(metrics: dict[str, Any]) -> str:
    """Those that one may start; of the others, how many there are."""
    names, others = ", ".join(metrics["entry_points"]), metrics["other_entry_points"]
    return f"{names} and {others} more that you may not start".removeprefix(" and ") if others else names


def _evidence(one: dict[str, Any], ctl: Ctl, now: float) -> None:
    if not one["evidence"]:
        return
    ctl.out.say()
    ctl.out.say(f"{one['id']}, newest first:")
    for each in one["evidence"]:
        score = f"{each['score']:g}  " if "met" in one else ""
        ctl.out.text(f"  {score}{each['text'] or '-'}  ({each['execution_id']}, {age(each['time'], now)})")


def _percent(share: float) -> str:
    return f"{share * 100:.1f}%".replace(".0%", "%")

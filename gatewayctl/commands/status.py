"""`gatewayctl status`: the daemon at a glance. Imports only what the quick form needs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gatewayctl import __version__
from gatewayctl.system import SystemClock
from gatewayctl.words import age, plural, span

if TYPE_CHECKING:
    import argparse
    from typing import Any

    from gatewayctl.cli import Ctl
    from gatewayctl.output import Column


def arguments(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    depth = parser.add_mutually_exclusive_group()
    depth.add_argument(
        "--deep",
        action="store_true",
        help="try out every part, from the store to each agent and channel; exit code 0 healthy, 6 degraded, 7 broken",
    )
    depth.add_argument(
        "--daemon-only", action="store_true", help="only the process and its configuration; asks no channel or session"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, ctl: Ctl) -> int | None:
    if args.deep:
        from gatewayctl import deep  # noqa: PLC0415 - only the deep form

        return deep.run(ctl)
    status = _quick(ctl) if args.daemon_only else _full(ctl)
    ctl.out.record(status, [*_daemon(status), *([] if args.daemon_only else _work(status))])
    for sentence in status.get("degraded", ()):
        ctl.out.say(f"degraded: {sentence}")
    if status.get("channels") and ctl.out.for_people:
        ctl.out.say()
        columns: list[Column] = [
            ("CHANNEL", "name"),
            ("PLATFORM", "platform"),
            ("STATE", "state"),
            ("REASON", "reason"),
        ]
        ctl.out.table(status["channels"], columns, "")
    if status.get("webhooks") and ctl.out.for_people:
        ctl.out.say()
        columns = [
            ("WEBHOOK", "source_id"),
            ("PATH", "path"),
            ("ACCEPTED", "accepted"),
            ("DUPLICATES", "duplicates"),
            ("REFUSED", "refused"),
            ("PUT OFF", "put_off"),
        ]
        ctl.out.table(status["webhooks"], columns, "")
    if status["version"] != __version__:
        ctl.out.note(f"note: the daemon is gatewayd {status['version']}, this is gatewayctl {__version__}")
    return None


def _quick(ctl: Ctl) -> dict[str, Any]:
    from gatewayctl import quick  # noqa: PLC0415 - only the quick form

    return quick.read(ctl.daemon.call_bytes("AdminService/GetStatus", quick.DAEMON_ONLY))


def _full(ctl: Ctl) -> dict[str, Any]:
    from gateway.v1 import status_pb2  # noqa: PLC0415 - the protobuf runtime is a quarter of a cold start

    from gatewayctl.plain import plain  # noqa: PLC0415

    request = status_pb2.GetStatusRequest()
    return plain(ctl.daemon.call("AdminService/GetStatus", request, status_pb2.GetStatusResponse))


def _daemon(status: dict[str, Any]) -> list[tuple[str, object]]:
    where = f" ({status['config_path']})" if status["config_path"] else ""
    return [
        ("state", status["state"]),
        ("pid", status["pid"]),
        ("version", status["version"]),
        ("uptime", span(status["uptime"])),
        ("configuration", f"{status['config_digest'][:12] or 'none yet'}{where}"),
        ("last reload", _reload(status["last_reload"])),
    ]


def _reload(outcome: dict[str, Any] | None) -> str:
    if outcome is None:
        return ""
    when = age(outcome["time"], SystemClock().now())
    return f"ok, {when}" if outcome["ok"] else f"refused, {when}: {outcome['error']}"


def _work(status: dict[str, Any]) -> list[tuple[str, object]]:
    fields: list[tuple[str, object]] = []
    if streams := status["connections"]:
        text = f"{streams['open']} of {streams['limit']}, {plural(streams['subscriptions'], 'subscription')}"
        fields.append(("connections", text))
    for name in ("agents", "sessions", "executions"):
        if counts := status[name]:
            shown = {key: count for key, count in counts.items() if count} or {next(iter(counts)): 0}
            fields.append((name, ", ".join(f"{count} {key.replace('_', ' ')}" for key, count in shown.items())))
    return fields

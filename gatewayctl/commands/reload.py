"""`gatewayctl reload`: put the changed configuration file in place, or say what would change."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from gateway.v1 import admin_service_pb2 as pb

from gatewayctl.plain import plain

if TYPE_CHECKING:
    import argparse

    from gatewayctl.cli import Ctl

WAIT = 120.0
"""Seconds for `--wait`, unless `--timeout` says otherwise: longer than a reload may take."""
EVERY_PART_HAS = {"agents": ".model", "channels": ".platform", "clients": ".token_sha256"}
"""The value that every part of a section has, as the daemon writes configurations out."""


def arguments(parser: argparse.ArgumentParser, _common: argparse.ArgumentParser) -> None:
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--plan", action="store_true", help="only check the file and say what would change")
    how.add_argument("--wait", action="store_true", help=f"wait up to {WAIT:g} s for the outcome instead of 10")
    parser.add_argument(
        "--expect-digest", default="", metavar="DIGEST", help="refuse if another configuration is running by now"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace, ctl: Ctl) -> None:
    request = pb.ReloadConfigRequest(validate_only=args.plan, expected_digest=args.expect_digest)
    patience = ctl.timeout or (WAIT if args.wait else None)
    result = plain(ctl.daemon.call("AdminService/ReloadConfig", request, pb.ReloadConfigResponse, patience))
    if not ctl.out.for_people:
        ctl.out.values(result)
        return
    for mark, key in (("+", "added"), ("-", "removed"), ("~", "changed")):
        for path in folded(result[key], result) if key != "changed" else result[key]:
            restart = " (needs a restart)" if path in result["restart_required"] else ""
            ctl.out.text(f"{mark} {path}{restart}")
    for warning in result["warnings"]:
        ctl.out.note(f"warning: {warning}")
    ctl.out.say(_verdict(result, plan=args.plan))


def folded(paths: list[str], result: dict[str, Any]) -> list[str]:
    """The paths that came or went, one line for a part that did so as a whole.

    It did if the leaf that every part of its section has is among them, and nothing of it is in another list.
    """
    others = {path for key in ("added", "removed", "changed") for path in result[key]} - set(paths)
    whole: list[str] = []
    for path in paths:
        part = path.removesuffix(EVERY_PART_HAS.get(path.partition(".")[0], "/"))
        if part != path and not any(each.startswith(f"{part}.") for each in others):
            whole.append(part)
    whole.sort(key=len, reverse=True)  # a name may hold dots: `channels.a.b` is not in `channels.a`
    return list(dict.fromkeys(next((part for part in whole if path.startswith(f"{part}.")), path) for path in paths))


def _verdict(result: dict[str, Any], *, plan: bool) -> str:
    digest = result["digest"][:12]
    if result["digest"] == result["previous_digest"]:
        return f"nothing differs; configuration {digest} keeps serving"
    if not plan:
        return f"configuration {digest} now serves"
    if result["restart_required"]:
        return "a reload would be refused: these changes need a restart"
    return f"a reload would put configuration {digest} in place"

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
        for path in result[key]:
            restart = " (needs a restart)" if path in result["restart_required"] else ""
            ctl.out.text(f"{mark} {path}{restart}")
    for warning in result["warnings"]:
        ctl.out.note(f"warning: {warning}")
    ctl.out.say(_verdict(result, plan=args.plan))


def _verdict(result: dict[str, Any], *, plan: bool) -> str:
    digest = result["digest"][:12]
    if result["digest"] == result["previous_digest"]:
        return f"nothing differs; configuration {digest} keeps serving"
    if not plan:
        return f"configuration {digest} now serves"
    if result["restart_required"]:
        return "a reload would be refused: these changes need a restart"
    return f"a reload would put configuration {digest} in place"

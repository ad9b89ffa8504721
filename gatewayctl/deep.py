"""`gatewayctl status --deep`: the daemon tries out its parts, one kind after the other, and each gets a line."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from gateway.v1 import admin_service_pb2 as pb

from gatewayctl.failures import BROKEN, DEGRADED, OK
from gatewayctl.plain import enum_names, enum_number, plain

if TYPE_CHECKING:
    from typing import TextIO

    from gatewayctl.cli import Ctl
    from gatewayctl.output import Column

PATIENCE = 30.0
"""Seconds for one kind; the daemon itself gives each kind a few."""
_CODES = {"healthy": OK, "degraded": DEGRADED, "broken": BROKEN}


def run(ctl: Ctl, stderr: TextIO | None = None) -> int:
    """Print what was found; the exit code is that of the worst."""
    progress = _Progress(stderr or sys.stderr)
    checks: list[dict[str, Any]] = []
    try:
        for kind in enum_names(pb.CheckKind.DESCRIPTOR):
            progress.show(kind)
            checks += _checked(ctl, kind)
    finally:
        progress.clear()
    worst = max((one["state"] for one in checks), key=lambda state: _CODES.get(state, BROKEN), default="healthy")
    if ctl.out.for_people:
        columns: list[Column] = [
            ("PART", lambda row: f"{row['kind']} {row['name']}".rstrip()),
            ("STATE", "state"),
            ("TOOK", lambda row: f"{row['duration'] * 1000:.0f} ms"),
            ("FOUND", "summary"),
        ]
        ctl.out.table(checks, columns, "nothing was tried out")
        ctl.out.say()
        ctl.out.say(ctl.out.paint(worst))
    else:
        ctl.out.values({"state": worst, "checks": checks})
    return _CODES.get(worst, BROKEN)


def _checked(ctl: Ctl, kind: str) -> list[dict[str, Any]]:
    number = enum_number(pb.CheckKind.DESCRIPTOR, kind)
    request = pb.RunChecksRequest()
    request.kinds.append(pb.CheckKind.ValueType(number or 0))
    answer = ctl.daemon.call("AdminService/RunChecks", request, pb.RunChecksResponse, timeout=ctl.timeout or PATIENCE)
    return [plain(one) for one in answer.checks]


class _Progress:
    """What is being tried out now, on a terminal alone."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream if stream.isatty() else None

    def show(self, kind: str) -> None:
        if self._stream is not None:
            self._stream.write(f"\r\x1b[Kchecking {kind} …")
            self._stream.flush()

    def clear(self) -> None:
        if self._stream is not None:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

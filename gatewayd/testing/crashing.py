"""The real daemon, made to die: `python -m gatewayd.testing.crashing [what shall go wrong] -- [gatewayd's arguments]`.

    python -m gatewayd.testing.crashing --crash-at outbox.after_send:3 --armed-by /tmp/now -- --config gateway.yaml

It is `gatewayd` from the first line to the last, with failpoints that end the process by SIGKILL, as nothing in it
can prevent or clean up after. `--plant` breaks one promise on purpose, so that a checker can prove that it would
notice. Nothing of this is reachable from `gatewayd` itself.
"""

import argparse
import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, NoReturn

from gatewayd import cli
from gatewayd.core.errors import GatewayError
from gatewayd.core.failpoints import NO_FAILPOINTS, POINTS, Failpoints
from gatewayd.core.value import value
from gatewayd.daemon import process
from gatewayd.daemon.options import Options, Parts, RunningGateway
from gatewayd.storage.records import OutboxRow

ANY: Final = "any"
"""Stands for every point: the n-th hit of whichever."""
EARLY: Final = 0.02
"""Seconds by which the planted bug acknowledges too early: enough for the answer to reach its client."""


@value(frozen=True, slots=True)
class CrashAt:
    """Where to die."""

    point: str
    hits: int

    @classmethod
    def parse(cls, text: str) -> "CrashAt":
        """`POINT:N`, or `any:N`."""
        point, _, hits = text.partition(":")
        if point not in (*POINTS, ANY) or not (hits.isascii() and hits.isdigit()) or int(hits) < 1:
            raise argparse.ArgumentTypeError(f"{text!r} is not POINT:N; the points are {', '.join((*POINTS, ANY))}")
        return cls(point, int(hits))


class Crash:
    """Failpoints that kill this process at a chosen hit."""

    def __init__(self, at: CrashAt, armed_by: Path | None, die: Callable[[], None]) -> None:
        """`armed_by`: hits count from the moment when this file is there; None counts from the start."""
        self._at = at
        self._armed_by = armed_by
        self._die = die
        self._left = at.hits
        self._lock = threading.Lock()

    def hit(self, point: str) -> None:
        if self._at.point not in (ANY, point):
            return
        if self._armed_by is not None:
            if not self._armed_by.exists():
                return
            self._armed_by = None
        with self._lock:
            self._left -= 1
            dying = self._left == 0
        if dying:
            self._die()


def die() -> None:
    """End this process now, as `kill -9` does."""
    os.kill(os.getpid(), signal.SIGKILL)
    threading.Event().wait()  # the signal is on its way; not a line more runs in this thread


def plant_ack_before_commit() -> None:
    """Break the store: whoever waits for a write hears of it a moment before it is committed."""
    from gatewayd.storage.sqlite import writer  # noqa: PLC0415 - imported only to be broken
    from gatewayd.storage.sqlite.group import run_group as honest  # noqa: PLC0415

    class Early:
        """Settles the units of a group where their commit is about to begin."""

        def __init__(self, units: Sequence[Any], then: Failpoints) -> None:
            self._units = units
            self._then = then

        def hit(self, point: str) -> None:
            if point == "store.before_commit":
                for unit in self._units:
                    unit.receipt.get_loop().call_soon_threadsafe(_settle, unit.receipt, unit.result, unit.error)
                threading.Event().wait(EARLY)
            self._then.hit(point)

    def run_group(connection: Any, units: Sequence[Any], *rest: Any, failpoints: Failpoints, **more: Any) -> Any:
        return honest(connection, units, *rest, failpoints=Early(units, failpoints), **more)

    vars(writer)["run_group"] = run_group


def _settle(receipt: "asyncio.Future[Any]", result: Any, error: Exception | None) -> None:
    """Say that the unit is on disk; the writer finds the receipt done and leaves it."""
    if receipt.done():
        return
    if error is None:
        receipt.set_result(result)
    elif isinstance(error, GatewayError):
        receipt.set_exception(error)


def plant_resend() -> None:
    """Break the outbox: it forgets that a row may have been sent before the crash."""
    from gatewayd.channels import channel  # noqa: PLC0415 - imported only to be broken
    from gatewayd.channels.outbox import Outbox  # noqa: PLC0415

    class Forgetful(Outbox):
        """Takes every row for one that was never tried."""

        def _admit(self, row: OutboxRow) -> bool:  # noqa: ARG002 - the shape of what it replaces
            return True

    vars(channel)["Outbox"] = Forgetful


PLANTS: Final = {"ack-before-commit": plant_ack_before_commit, "resend": plant_resend}
"""Bugs by name; each breaks this process only."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the daemon; returns its exit code, if it lives to have one."""
    parser = argparse.ArgumentParser(prog="python -m gatewayd.testing.crashing", description=__doc__)
    parser.add_argument("--crash-at", type=CrashAt.parse, metavar="POINT:N", help="die at this hit of a failpoint")
    parser.add_argument("--armed-by", type=Path, metavar="FILE", help="count hits only once this file is there")
    parser.add_argument("--plant", choices=sorted(PLANTS), help="break this promise")
    parser.add_argument("rest", nargs="*", metavar="ARGUMENT", help="gatewayd's own arguments, after --")
    flags = parser.parse_args(argv)
    if flags.plant:
        PLANTS[flags.plant]()
    failpoints: Failpoints = Crash(flags.crash_at, flags.armed_by, die) if flags.crash_at else NO_FAILPOINTS

    def gateway(options: Options, parts: Parts) -> RunningGateway:
        from gatewayd.daemon.gateway import Gateway  # noqa: PLC0415 - imports grpc, as late as the daemon does

        return Gateway(options, replace(parts, failpoints=failpoints))

    return cli.main(flags.rest, run=lambda options: process.main(options, gateway))


def _run() -> NoReturn:
    sys.exit(main())


if __name__ == "__main__":
    _run()

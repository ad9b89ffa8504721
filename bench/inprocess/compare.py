"""The message engine and the event bus in one process, beside those of others, from one run.

    python bench/inprocess/compare.py [--quick]

Parts: a call and its reply, one at a time and 64 at once; a message published to 100 agents, one at a time and 16 at
once, beside AutoGen's runtime and agentopera's engine; an event to 100 handlers, one at a time and 64 at once, beside
Hive's algorithm. Every arm is a process on uvloop that is ordered to do the same; rounds alternate, the ratio is the
median of the ratios of the rounds. Replies are compared, deliveries counted, and the bus must keep the order.

Exit code 0: all is right, whether or not every target is met. 1: an answer was wrong. 2: a peer is not there.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.processes import ROOT, WrongAnswer
from bench.report import Row, text

AGENTS = 100
_END = 60.0
"""Seconds that an arm may take to end."""


@dataclass(frozen=True, slots=True)
class Command:
    """What runs an arm."""

    module: str
    environment: str = ""
    """A peer's own; '' for that of the benchmarks."""
    library: str = ""

    def line(self) -> list[str] | None:
        """The command; None if its environment is not there."""
        python = ROOT / ".build/peers" / self.environment / "bin/python" if self.environment else Path(sys.executable)
        command = [str(python), "-m", f"bench.inprocess.{self.module}", *filter(None, [self.library])]
        return command if python.exists() else None


ENGINE, BUS = Command("gatewayd_arm"), Command("gatewayd_bus_arm")
ENGINES = {
    "AutoGen": Command("autogen_arm", "autogen", "autogen_core"),
    "agentopera": Command("autogen_arm", "agentopera", "agentopera.core"),
}
BUSES = {"Hive's algorithm": Command("hive_bus_arm")}


@dataclass(frozen=True, slots=True)
class Part:
    """One kind of load. The counts are of messages in a round; a peer's is smaller, since its rounds last longer."""

    name: str
    order: str
    in_flight: int
    ours: int
    theirs: int
    target: float
    aim: float

    @property
    def fan(self) -> int:
        """How many handle one message."""
        return 1 if self.order == "send" else AGENTS


OF_ENGINES = (
    Part("send, in process", "send", 1, 40_000, 8_000, 3, 8),
    Part("send, in process", "send", 64, 64_000, 8_000, 3, 8),
    Part("publish to 100 agents, in process", "publish", 1, 1_000, 200, 3, 8),
    Part("publish to 100 agents, in process", "publish", 16, 1_000, 200, 3, 8),
)
OF_BUSES = (
    Part("bus to 100 handlers, in process", "bus", 1, 2_000, 1_000, 3, 10),
    Part("bus to 100 handlers, in process", "bus", 64, 12_800, 1_280, 3, 10),
)


class Process:
    """One arm."""

    def __init__(self, command: list[str]) -> None:
        self._command = " ".join(command)
        self._log = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self._log, text=True
        )
        self._answer()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._process.wait(_END)
            self._log.seek(0)
            raise WrongAnswer(f"{self._command} gave no answer:\n{self._log.read()[-2000:]}")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def rate(self, part: Part, count: int) -> tuple[float, float]:
        """Messages a second, and microseconds of the processor for each."""
        assert self._process.stdin is not None
        order = {"part": part.order, "count": count, "in_flight": part.in_flight}
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        wanted = count * part.fan
        if answer["handled"] != wanted:
            raise WrongAnswer(f"{part.name}: {answer['handled']} of {wanted} were handled")
        return count / answer["seconds"], answer["cpu"] / count * 1e6

    def close(self) -> None:
        """Let it end by itself."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(_END)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._log.close()


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer and shorter rounds")
    arguments = parser.parse_args()
    try:
        rows = measure(quick=arguments.quick)
    except WrongAnswer as error:
        print(f"WRONG: {error}", file=sys.stderr)
        return 1
    print(text(rows))
    print(f"\n{sum(row.met is True for row in rows)} of {len(rows)} targets met")
    return 2 if any(row.met is None for row in rows) else 0


def measure(*, quick: bool, with_peers: bool = True) -> list[Row]:
    """Each part against each peer; one round more, uncounted, warms up."""
    return [
        *_compare(ENGINE, ENGINES if with_peers else {}, OF_ENGINES, quick),
        *_compare(BUS, BUSES, OF_BUSES, quick),
    ]


def _compare(own: Command, others: dict[str, Command], parts: tuple[Part, ...], quick: bool) -> list[Row]:
    rounds, share = (2, 4) if quick else (5, 1)
    rows = []
    with ExitStack() as stack:
        arms: dict[str, Process | None] = {}
        for name, command in {"": own, **others}.items():
            line = command.line()
            arm = arms[name] = Process(line) if line is not None else None
            if arm is not None:
                stack.callback(arm.close)
        ours = arms.pop("")
        assert ours is not None
        for part in parts:
            found: dict[str, list[tuple[float, float]]] = {name: [] for name in arms}
            mine: list[tuple[float, float]] = []
            for _ in range(rounds + 1):
                mine.append(ours.rate(part, part.ours // share))
                for name, peer in arms.items():
                    if peer is not None:
                        found[name].append(peer.rate(part, part.theirs // share))
            rows += [_row(part, mine[1:], name, theirs[1:]) for name, theirs in found.items()]
            rows += [] if arms else [_row(part, mine[1:], "no peer", [])]
    return rows


def _row(part: Part, ours: list[tuple[float, float]], peer: str, theirs: list[tuple[float, float]]) -> Row:
    ratio = statistics.median(a[0] / b[0] for a, b in zip(ours, theirs, strict=True)) if theirs else 0.0
    return Row(
        part.name,
        _figure(ours),
        f"{peer} {_figure(theirs)}" if theirs else f"{peer}: not there (make bench-peers)",
        ratio,
        f"≥ {part.target:g}× (aim {part.aim:g}×)",
        ratio >= part.target if theirs else None,
        in_flight=str(part.in_flight),
        note=f"{len(ours)} rounds; every reply compared, every delivery counted",
    )


def _figure(rounds: list[tuple[float, float]]) -> str:
    rate, cpu = (statistics.median(column) for column in zip(*rounds, strict=True))
    return f"{rate:,.0f}/s, {cpu:.1f} µs of CPU each"


if __name__ == "__main__":
    sys.exit(main())

"""One line for each thing measured, on the terminal and in RESULTS.md."""

import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

from bench.processes import ROOT

_PACKAGES = ("grpcio", "protobuf", "uvloop", "pyyaml")


@dataclass(frozen=True, slots=True)
class Row:
    """One figure beside its reference, both from the same run."""

    what: str
    figure: str
    reference: str
    ratio: float
    target: str
    met: bool | None
    """None: not measured."""
    durable: str = "–"
    authenticated: str = "–"
    in_flight: str = "–"
    processes: str = "1"
    note: str = ""
    bars: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """What a chart shows of it: values by group and name."""

    @property
    def verdict(self) -> str:
        """Met, not met, or not measured."""
        if self.met is None:
            return "not measured"
        return "no target" if self.target == "–" else "met" if self.met else "NOT MET"

    def cells(self) -> tuple[str, ...]:
        """What the table shows."""
        ratio = f"{self.ratio:.2f}×" if self.met is not None and self.ratio else "–"
        conditions = (self.durable, self.authenticated, self.in_flight, self.processes)
        return (self.what, self.figure, self.reference, ratio, self.target, self.verdict, *conditions)


HEAD = (
    "what",
    "figure",
    "reference",
    "ratio",
    "target",
    "verdict",
    "durable",
    "authenticated",
    "in flight",
    "processes",
)


def line(row: Row) -> str:
    """For the terminal while the others are measured."""
    return f"  {row.what}{_window(row)}: {row.figure}, {row.cells()[HEAD.index('ratio')]}, {row.verdict}"


def text(rows: Sequence[Row]) -> str:
    """For the terminal: a block for each row, since a line would not hold it."""
    blocks = []
    for row in rows:
        lines = [f"{row.what}: {row.verdict}"]
        lines += [f"  {head:14}{cell}" for head, cell in zip(HEAD[1:], row.cells()[1:], strict=True) if cell != "–"]
        if row.note:
            lines.append(f"  {'note':14}{row.note}")
        blocks.append("\n".join(lines))
    return "\n\n".join(blocks)


def markdown(
    rows: Sequence[Row],
    *,
    command: str,
    seconds: float,
    peers: Sequence[str],
    left: str,
    charts: Sequence[tuple[str, str]] = (),
) -> str:
    """RESULTS.md: the machine, the versions, the command, the table, what is left."""
    lines = ["# What the benchmarks measured", "", f"`{command}`, {seconds:.0f} s, revision {_revision()}.", ""]
    lines += [
        "Ratios are of medians of interleaved rounds of one run; figures of different runs do not compare.",
        "",
        f"- machine: {_machine()}",
        f"- versions: CPython {platform.python_version()}, "
        + ", ".join(f"{name} {version(name)}" for name in _PACKAGES),
        f"- peers: {', '.join(peers) or 'none'}",
        "",
        "| " + " | ".join(HEAD) + " |",
        "|" + "---|" * len(HEAD),
    ]
    lines += ["| " + " | ".join(row.cells()) + " |" for row in rows]
    notes = [f"- {row.what}{_window(row)}: {row.note}" for row in rows if row.note]
    pictures = [f"![{alt}]({name})\n" for name, alt in charts]
    lines += ["", *pictures, *notes, "", left.strip(), ""]
    return "\n".join(lines).rstrip() + "\n"


def _window(row: Row) -> str:
    return f" ({row.in_flight})" if row.in_flight != "–" else ""


def _machine() -> str:
    model = platform.machine()
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") >> 30
    return f"{model}, {len(os.sched_getaffinity(0))} processors, {pages} GiB, Linux {platform.release()}"


def _revision() -> str:
    found = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, check=False)
    return found.stdout.decode().strip() or "unknown"

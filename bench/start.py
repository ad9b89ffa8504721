"""Start and idle memory of the daemon beside a bare grpc.aio server, and a cold `gatewayctl` beside `import grpc`."""

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench import ctl_cold
from bench.processes import BIN, Memory, Running, WrongAnswer, bare, compile_ours, daemon, environment
from bench.report import Row

READY_TARGET, READY_AIM = 3.0, 1.7
MEMORY_TARGET, MEMORY_AIM = 70.0, 55.0
"""MB (10^6 bytes) of resident memory."""
SETTLE = 3.0
"""Seconds after ready, at which memory is read."""

Start = Callable[[Path], AbstractContextManager[Running]]


def ready_and_memory(rounds: int, *, settled: int) -> list[Row]:
    """Each round starts both; the first pair warms the disk's caches and is not counted. `settled`: in how many rounds
    memory is read."""
    compile_ours()
    for start in (daemon, bare):
        _once(start, settle=0.0)
    ours: list[tuple[float, Memory]] = []
    theirs: list[tuple[float, Memory]] = []
    for number in range(rounds):
        settle = SETTLE if number < settled else 0.0
        for start, found in ((daemon, ours), (bare, theirs)):
            found.append(_once(start, settle=settle))
    return [_ready_row(ours, theirs), _memory_row(ours[:settled], theirs[:settled])]


def _once(start: Start, *, settle: float) -> tuple[float, Memory]:
    with tempfile.TemporaryDirectory(prefix="bench-") as home, start(Path(home)) as running:
        _must_serve(running.socket)
        time.sleep(settle)
        return running.ready, running.memory()


def _must_serve(path: Path) -> None:
    """Whoever says READY answers."""
    with grpc.insecure_channel(f"unix:{path}") as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=5)
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise WrongAnswer(f"ready, but its health is {answer.status}")


def _ready_row(ours: list[tuple[float, Memory]], theirs: list[tuple[float, Memory]]) -> Row:
    figure, reference = (statistics.median(each[0] for each in found) for found in (ours, theirs))
    ratio = statistics.median(a[0] / b[0] for a, b in zip(ours, theirs, strict=True))
    return Row(
        "ready, from the start of the process",
        f"{figure * 1000:.0f} ms",
        f"bare grpc.aio + uvloop {reference * 1000:.0f} ms",
        ratio,
        f"≤ {READY_TARGET}× (aim {READY_AIM}×)",
        ratio <= READY_TARGET,
        authenticated="yes (token made, socket guarded)",
        note=f"quickstart configuration, fresh state directory, {len(ours)} pairs",
    )


def _memory_row(ours: list[tuple[float, Memory]], theirs: list[tuple[float, Memory]]) -> Row:
    figure, reference = (statistics.median(each[1].rss for each in found) * 1024 / 1e6 for found in (ours, theirs))
    ours_pss, theirs_pss = (statistics.median(each[1].pss for each in found) * 1024 / 1e6 for found in (ours, theirs))
    pss = f" (PSS {ours_pss:.1f})" if ours_pss else ""
    reference_pss = f" (PSS {theirs_pss:.1f})" if theirs_pss else ""
    return Row(
        f"idle memory, {SETTLE:.0f} s after ready",
        f"{figure:.1f} MB{pss}",
        f"bare grpc.aio + uvloop {reference:.1f} MB{reference_pss}",
        figure / reference,
        f"≤ {MEMORY_TARGET:.0f} MB (aim {MEMORY_AIM:.0f} MB)",
        figure <= MEMORY_TARGET,
        note="resident memory without LiteLLM; the target is the figure, the ratio is for comparison",
    )


def cold_ctl(pairs: int) -> Row:
    """A cold `gatewayctl status --daemon-only` against the real daemon."""
    compile_ours()
    with tempfile.TemporaryDirectory(prefix="bench-") as home, daemon(Path(home)) as running:
        command = [str(BIN / "gatewayctl"), "status", "--daemon-only", "--address", f"unix:{running.socket}"]
        answer = subprocess.run(command, capture_output=True, text=True, env=environment(Path(home)), check=False)
        if answer.returncode or str(running.process.pid) not in answer.stdout:
            raise WrongAnswer(f"gatewayctl status: exit code {answer.returncode}\n{answer.stdout}{answer.stderr}")
        reference_command = [sys.executable, "-c", "import grpc"]
        ctl_cold.seconds(reference_command)
        figures, references = [], []
        for _ in range(pairs):
            references.append(ctl_cold.seconds(reference_command))
            figures.append(ctl_cold.seconds(command))
    ratio = statistics.median(figure / base for figure, base in zip(figures, references, strict=True))
    return Row(
        "cold `gatewayctl status --daemon-only`",
        f"{statistics.median(figures) * 1000:.0f} ms",
        f"`import grpc` {statistics.median(references) * 1000:.0f} ms",
        ratio,
        f"≤ {ctl_cold.MOST}× (aim {ctl_cold.AIM}×)",
        ratio <= ctl_cold.MOST,
        authenticated="yes (unix socket)",
        processes="2",
        note=f"whole processes, {pairs} pairs; the daemon answers",
    )

"""The processes that are measured: started in a directory of their own, ready by a datagram, ended by their pid."""

import compileall
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).resolve().parent.parent
BIN = Path(sys.executable).parent
QUICKSTART = ROOT / "packaging" / "gateway.quickstart.yaml"
START = 30.0
"""Seconds that a process may take to become ready."""
PATIENCE = 0.5
"""Seconds between two looks whether it still runs."""
END = 20.0
"""Seconds that a process may take to end before it is killed."""
OURS = ("gatewayd", "gatewayctl", "proto/gen/python")


def compile_ours() -> None:
    """Compile what a start reads, as an installation does: a checkout that was updated has sources newer than that."""
    for place in OURS:
        compileall.compile_dir(ROOT / place, quiet=1)


class WrongAnswer(Exception):
    """Something that was measured did not do what it is for."""


@dataclass(frozen=True, slots=True)
class Memory:
    """Of one process, in KiB. `pss` is 0 where the kernel does not tell."""

    rss: int
    pss: int


@dataclass(frozen=True, slots=True)
class Running:
    """A process that is ready."""

    process: subprocess.Popen[bytes]
    home: Path
    ready: float
    """Seconds from its start until it said so."""
    port: int = 0
    """Where it listens on the loopback interface; 0: nowhere."""

    @property
    def socket(self) -> Path:
        """Where it listens."""
        return self.home / "run" / "gatewayd.sock"

    def memory(self) -> Memory:
        """What it takes now."""
        return Memory(_field(self.process.pid, "status", "VmRSS:"), _field(self.process.pid, "smaps_rollup", "Pss:"))

    def cpu(self) -> float:
        """Seconds of processor time so far, threads included."""
        # The process's clock by Linux's numbering (clock_getcpuclockid(3)): /proc counts in steps of 10 ms only.
        return time.clock_gettime(~self.process.pid << 3 | 2)


@contextmanager
def daemon(home: Path, config: Path = QUICKSTART) -> Iterator[Running]:
    """The real daemon on a fresh state directory."""
    port = free_port()
    command = [str(BIN / "gatewayd"), "--config", str(config), "--port", str(port)]
    places = {"STATE_DIRECTORY": str(home / "state"), "RUNTIME_DIRECTORY": str(home / "run")}
    with _started(command, home, places) as running:
        yield replace(running, port=port)


@contextmanager
def peer(command: Sequence[str], home: Path, port: int) -> Iterator[Running]:
    """A server to measure against, ready once it listens on `port`; at the end it is not waited for."""
    with (home / "log").open("wb") as log:
        began = time.perf_counter()
        process = subprocess.Popen(
            command, env=environment(home), cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log
        )
        try:
            while not _listens(port):
                if process.poll() is not None or time.perf_counter() - began > START:
                    raise WrongAnswer(f"{command[0]} does not listen:\n{(home / 'log').read_text()[-2000:]}")
                time.sleep(0.02)
            yield Running(process, home, time.perf_counter() - began, port)
            if process.poll() is not None:
                raise WrongAnswer(f"{command[0]} ended by itself:\n{(home / 'log').read_text()[-2000:]}")
        finally:
            process.kill()
            process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def bare(home: Path) -> Iterator[Running]:
    """The bare grpc.aio server on uvloop."""
    (home / "run").mkdir()
    command = [sys.executable, str(ROOT / "bench/peers/bare.py"), "--socket", str(home / "run" / "gatewayd.sock")]
    with _started(command, home, {}) as running:
        yield running


def environment(home: Path, more: Mapping[str, str] = MappingProxyType({})) -> dict[str, str]:
    """Nothing of the caller's but the path."""
    return {"PATH": os.environ.get("PATH", ""), "HOME": str(home), "LANG": "C.UTF-8", **more}


def free_port() -> int:
    """A port of the loopback interface that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def _started(command: Sequence[str], home: Path, more: Mapping[str, str]) -> Iterator[Running]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager, (home / "log").open("wb") as log:
        manager.bind(str(home / "notify.sock"))
        manager.settimeout(PATIENCE)
        environ = environment(home, {**more, "NOTIFY_SOCKET": str(home / "notify.sock")})
        began = time.perf_counter()
        process = subprocess.Popen(command, env=environ, cwd=home, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            yield Running(process, home, _wait_ready(manager, process, home) - began)
        finally:
            end(process)
    if process.returncode != 0:
        raise WrongAnswer(f"{command[0]} ended with {process.returncode}:\n{(home / 'log').read_text()[-2000:]}")


def _wait_ready(manager: socket.socket, process: subprocess.Popen[bytes], home: Path) -> float:
    until = time.monotonic() + START
    while True:
        try:
            said = manager.recv(4096)
        except TimeoutError:
            if process.poll() is None and time.monotonic() < until:
                continue
            raise WrongAnswer(f"not ready after {START} s, or ended:\n{(home / 'log').read_text()[-2000:]}") from None
        if b"READY=1" in said:
            return time.perf_counter()


def end(process: subprocess.Popen[bytes]) -> None:
    """Ask it to end; kill it when it does not."""
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        process.wait(END)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _field(pid: int, file: str, name: str) -> int:
    try:
        lines = Path(f"/proc/{pid}/{file}").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith(name)), 0)

"""What a subscriber that stops reading costs the others, and whether it finds its way back; `make bench-stall`.

    python bench/stall.py [--pairs 5] [--seconds 5]

Durable events at a fixed rate go to subscribers of this process and to one in a process of its own. In turn, that one
reads, or is stopped with SIGSTOP until the others have been measured. When it wakes it must learn that it was cut, with
its cursor, and go on from there without a gap. Exit code 0: it does, whether or not the target is met; 1: it does not.
"""

import argparse
import asyncio
import json
import signal
import statistics
import sys
import time
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import uvloop

from bench.events.arms import Look
from bench.events.envelope import entry, event, event_filter
from bench.events.gateway import Gateway, GatewayClients, GatewaySubscriber
from bench.events.load import trouble
from bench.events.payload import Inspector, opened, payload
from bench.events.talk import Talk
from bench.load import percentile
from bench.processes import ROOT, Running, WrongAnswer, environment
from bench.report import Row, text

RATE, SIZE, SUBSCRIBERS = 500, 4096, 20
"""Events in a second, bytes of each, and who gets them: enough that what nobody reads fills every buffer in three
seconds, little enough that the daemon is not busy."""
BUFFER = 4 << 20
"""Bytes that may wait for each of the load's own: on a busy machine the load, too, stands still for a moment."""
TARGET = 1.2
ANSWER = 60.0
"""Seconds that the stopped one may take to find its way back."""
WARM = 0.5
TICK = 0.002


class Load:
    """One publisher, and subscribers that time what they get."""

    def __init__(self, clients: GatewayClients) -> None:
        self._clients = clients
        self._published = 0
        self._waits: list[float] = []
        self._since = float("inf")
        self._got = [0] * SUBSCRIBERS
        self._inspector = Inspector("gatewayd", SUBSCRIBERS, 1, ordered=True)

    async def join(self) -> None:
        """Connect all."""
        for index in range(SUBSCRIBERS):
            talk = await self._clients.talk(f"subscriber-{index}")
            await talk.subscribe("all", event_filter(""), buffer_bytes=BUFFER)
            GatewaySubscriber(talk).inspect(lambda _events: None, self._look_for(index))
        self._talk: Talk = await self._clients.talk("publisher")

    def _look_for(self, index: int) -> Look:
        return lambda data: self._look(index, data)

    def _look(self, index: int, data: bytes) -> None:
        self._inspector.look(index, data)
        _, _, when = opened(data)
        self._got[index] += 1
        if when >= self._since:
            self._waits.append(time.perf_counter() - when)

    async def run(self, seconds: float) -> float:
        """Publish for so long; the 99th percentile of the time to everybody, in seconds."""
        self._waits = []
        began = time.perf_counter()
        self._since = began + WARM
        first, last = self._published, self._published + int(RATE * seconds)
        while self._published < last:
            ready = []
            while (due := began + (self._published - first) / RATE) <= time.perf_counter() and self._published < last:
                number = self._published
                ready.append(entry(event(payload(SIZE, number, 0, due), number, 0, durable=True)))
                self._published += 1
            if ready:
                self._talk.publish(ready)
            await asyncio.sleep(TICK)
        async with asyncio.timeout(ANSWER):
            while min(self._got) < self._published:
                await asyncio.sleep(0.01)
        return percentile(self._waits, 0.99)

    @property
    def last(self) -> int:
        """Number of the last event."""
        return self._published - 1


class Stalled:
    """The subscriber that is stopped."""

    def __init__(self, process: Process) -> None:
        self._process = process
        self.told: list[dict[str, Any]] = []

    async def hear(self, key: str) -> dict[str, Any]:
        """The next line with that key; what else it says is kept."""
        assert self._process.stdout is not None
        async with asyncio.timeout(ANSWER):
            while line := await self._process.stdout.readline():
                said: dict[str, Any] = json.loads(line)
                if "wrong" in said:
                    raise WrongAnswer(f"the subscriber that was stopped {said['wrong']}")
                if key in said:
                    return said
                self.told.append(said)
        raise WrongAnswer("the subscriber that was stopped has ended")

    async def until(self, number: int) -> None:
        """Wait until it has everything up to there."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{number}\n".encode())
        await self.hear("reached")

    def signal(self, number: int) -> None:
        """Stop or wake it."""
        self._process.send_signal(number)


@asynccontextmanager
async def _stalled(running: Running) -> AsyncIterator[Stalled]:
    token = str(running.home / "state" / "token")
    command = ["-m", "bench.events.stall_reader", "--port", str(running.port), "--token-file", token]
    environ = environment(running.home, {"PYTHONPATH": str(ROOT)})
    process = await asyncio.create_subprocess_exec(sys.executable, *command, stdin=PIPE, stdout=PIPE, env=environ)
    try:
        stalled = Stalled(process)
        await stalled.hear("ready")
        yield stalled
    finally:
        process.kill()
        await process.wait()


async def measure(pairs: int, seconds: float) -> Row:
    """With and without it, in turn."""
    with TemporaryDirectory(prefix="bench-") as home:
        server = Gateway().start(Path(home))
        running = await asyncio.to_thread(server.__enter__)
        clients = Gateway().clients(running)
        try:
            async with _stalled(running) as stalled:
                return await _pairs(Load(clients), stalled, pairs, seconds)
        finally:
            clients.close()
            await asyncio.to_thread(server.__exit__, None, None, None)


async def _pairs(load: Load, stalled: Stalled, pairs: int, seconds: float) -> Row:
    without, with_it, cuts = [], [], []
    with trouble():
        await load.join()
        await load.run(1.0)
        await stalled.until(load.last)
        for _ in range(pairs):
            without.append(await load.run(seconds))
            await stalled.until(load.last)
            stalled.told.clear()
            stalled.signal(signal.SIGSTOP)
            try:
                with_it.append(await load.run(seconds))
            finally:
                stalled.signal(signal.SIGCONT)
            await stalled.until(load.last)
            cuts.append(_cut(stalled.told))
    ratio = statistics.median(b / a for a, b in zip(without, with_it, strict=True))
    return Row(
        "the others' p99 while one subscriber is stopped",
        f"{statistics.median(with_it) * 1000:.2f} ms",
        f"while it reads {statistics.median(without) * 1000:.2f} ms",
        ratio,
        f"≤ {TARGET}×",
        ratio <= TARGET,
        durable="yes, fsync",
        authenticated="yes (token)",
        in_flight="paced",
        processes="1 + load + the subscriber",
        note=f"{pairs} pairs of {seconds:g} s, {RATE} events/s of {SIZE >> 10} KiB to {SUBSCRIBERS}; it was cut each "
        f"time, told by {', '.join(sorted(set(cuts)))}, and went on from its cursor without a gap",
    )


def _cut(told: list[dict[str, Any]]) -> str:
    """How it was told that it was cut: it must have been, and with a cursor."""
    cuts = [one for one in told if "cut" in one]
    if not cuts:
        raise WrongAnswer(f"the subscriber that was stopped was not cut; it was told {told}")
    if cuts[0]["reason"] != "END_REASON_SLOW_CONSUMER" or not cuts[0]["cursor"]:
        raise WrongAnswer(f"the subscriber that was stopped was told {cuts[0]}")
    return f"`{cuts[0]['cut']}`"


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each half of a pair; at least 3")
    arguments = parser.parse_args()
    try:
        row = uvloop.run(measure(arguments.pairs, max(3.0, arguments.seconds)))
    except (WrongAnswer, TimeoutError) as error:
        print(f"WRONG: {error or 'no answer in time'}", file=sys.stderr)
        return 1
    print(text([row]))
    return 0


if __name__ == "__main__":
    sys.exit(main())

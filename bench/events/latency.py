"""Paced latency: events at a fixed rate to many subscribers, and the time from when each was due until it arrived.

An event counts from the moment it was due, not from when the load got round to sending it: a server that stalls the
load does not thereby hide its own delay. Every delivery to every subscriber is timed.
"""

import asyncio
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.events.arms import Arm
from bench.events.fanout import CHECKED
from bench.events.load import Session, Shape, trouble
from bench.events.payload import payload
from bench.events.sessions import Sessions
from bench.report import Row

RATE = 2000
"""Events in a second."""
SUBSCRIBERS = 100
TICK = 0.001
"""Seconds between two looks at the clock: the events that were due go out then."""
WARM = 0.5
PATIENCE = 3.0
"""Seconds after the last event was due that are given to what has not arrived."""
TARGET, AIM = 10.0, 3.0
"""Milliseconds, at the 99th percentile."""
KEPT_UP = 0.99
"""Part of what was due that must have arrived by the end; a server below it does not keep up, and has no latency."""

_WHEN = struct.Struct(">d")
_WHEN_PLACE = 10
"""Where the time stands in a payload."""


@dataclass(slots=True)
class Waits:
    """Seconds from due to arrival of each delivery, sorted."""

    seconds: list[float]
    due: int
    """Deliveries that were due."""
    cpu: float
    """Seconds of the server's processor time per second."""
    load_cpu: float
    """The same of the load."""

    @property
    def kept_up(self) -> bool:
        """Whether the server kept up with the rate."""
        return len(self.seconds) >= self.due * KEPT_UP

    def at(self, part: float) -> float:
        """A percentile, in milliseconds."""
        return self.seconds[min(len(self.seconds) - 1, int(len(self.seconds) * part))] * 1000


class _Timed:
    """Looks at payloads of one phase."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        self.since = float("inf")
        self.until = float("-inf")

    def glance(self, data: bytes, place: int) -> None:
        now = time.perf_counter()
        (when,) = _WHEN.unpack_from(data, place + _WHEN_PLACE)
        if self.since <= when < self.until:
            self.waits.append(now - when)


async def paced(current: Session, seconds: float) -> Waits:
    """Publish at the rate for so long."""
    timed = _Timed()
    for subscriber in current.subscribers:
        subscriber.glance(timed.glance)
    publisher = current.publishers[0]
    began = time.perf_counter() + 0.01
    # Half an event earlier, so that no rounding moves one over the border.
    timed.since = began + WARM - 0.5 / RATE
    timed.until = timed.since + seconds
    number, events = 0, int((WARM + seconds) * RATE)
    with trouble():
        used, own = current.running.cpu(), time.process_time()
        while number < events:
            now = time.perf_counter()
            ready = []
            while number < events and (due := began + number / RATE) <= now:
                ready.append(payload(current.clients.payload_bytes, number, 0, due))
                number += 1
            if ready:
                publisher.publish_payloads(ready)
            await asyncio.sleep(TICK)
        used, own = current.running.cpu() - used, time.process_time() - own
        due_deliveries = int(seconds * RATE) * len(current.subscribers)
        patience = time.perf_counter() + PATIENCE
        while len(timed.waits) < due_deliveries and time.perf_counter() < patience:
            await asyncio.sleep(0.01)
            if time.perf_counter() > timed.until + 0.5 and len(timed.waits) < due_deliveries * 0.7:
                break
    current.dirty = len(timed.waits) < due_deliveries * KEPT_UP
    return Waits(sorted(timed.waits) or [float("inf")], due_deliveries, used / (seconds + WARM), own / (seconds + WARM))


Figures = dict[str, list[Waits]]


async def rounds(arms: Sequence[Arm], *, number: int, seconds: float) -> Figures:
    """Check every arm, then measure them in turn; one that does not keep up is measured once."""
    found: Figures = {arm.name: [] for arm in arms}
    async with Sessions(Shape([""] * SUBSCRIBERS)) as sessions:
        for arm in arms:
            await sessions.use(arm, lambda current: current.check(CHECKED // SUBSCRIBERS, 32))
        for _ in range(number):
            for arm in arms:
                if all(each.kept_up for each in found[arm.name]):
                    found[arm.name].append(await sessions.use(arm, lambda current: paced(current, seconds)))
    return found


def figure(waits: Sequence[Waits]) -> str:
    """Median percentiles of the rounds."""
    if not all(each.kept_up for each in waits):
        return f"does not keep up ({min(len(each.seconds) / each.due for each in waits) * 100:.0f} % arrived)"
    cpu = median(waits, lambda each: each.cpu)
    return f"p50 {at(waits, 0.5):.2f} ms, p99 {at(waits, 0.99):.2f} ms, {cpu * 100:.0f} % of a processor"


def at(waits: Sequence[Waits], part: float) -> float:
    """Median over the rounds of a percentile, in milliseconds."""
    return median(waits, lambda each: each.at(part))


def median(waits: Sequence[Waits], of: Callable[[Waits], float]) -> float:
    """Of a figure over the rounds."""
    return sorted(of(each) for each in waits)[len(waits) // 2]


def row(found: Figures, ours: Arm) -> Row:
    """The daemon beside the peers that keep up."""
    waits = found[ours.name]
    others = [name for name in found if name != ours.name]
    kept_up = [name for name in others if all(each.kept_up for each in found[name])]
    value = at(waits, 0.99)
    ratio = value / at(found[kept_up[0]], 0.99) if kept_up else 0.0
    ratios = ", ".join(f"{value / at(found[name], 0.99):.2f}× {name}" for name in kept_up)
    return Row(
        f"{RATE:,} events/s to {SUBSCRIBERS}",
        figure(waits),
        "; ".join(f"{name} {figure(found[name])}" for name in others) or "no peer",
        ratio,
        f"p99 ≤ {TARGET:g} ms (aim {AIM:g} ms)",
        all(each.kept_up for each in waits) and value <= TARGET,
        durable="no",
        authenticated="yes (peers: no)",
        in_flight="paced",
        processes=ours.processes,
        bars={
            part: {name: at(found[name], quantile) for name in (ours.name, *kept_up)}
            for part, quantile in (("p50", 0.5), ("p99", 0.99))
        },
        note=f"{len(waits)} rounds; from the moment an event was due; the target is the figure; p99: {ratios or '–'}; "
        f"the load's processor {median(waits, lambda each: each.load_cpu) * 100:.0f} %",
    )

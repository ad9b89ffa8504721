"""Fan-out: one publisher, or several, to many subscribers, each on a connection of its own."""

import statistics
from collections.abc import Mapping, Sequence

from bench.events.arms import Arm
from bench.events.load import Round, Shape
from bench.events.sessions import Sessions
from bench.report import Row

CHECKED = 50_000
"""Deliveries of the check before a measurement, about."""

Found = Mapping[str, Sequence[Round]]
"""The rounds of each arm."""


async def rounds(arms: Sequence[Arm], shape: Shape, *, window: int, number: int, seconds: float) -> Found:
    """Check every arm, then measure them in turn."""
    found: dict[str, list[Round]] = {arm.name: [] for arm in arms}
    cycle = len(shape.places)
    events = max(cycle, min(2000, CHECKED // len(shape.subscribers)) // cycle * cycle)
    async with Sessions(shape) as sessions:
        for arm in arms:
            await sessions.use(arm, lambda current: current.check(events, window))
        for _ in range(number):
            for arm in arms:
                found[arm.name].append(await sessions.use(arm, lambda current: current.measure(seconds, window)))
    return found


def ratio(found: Found, ours: str, theirs: str) -> float:
    """Median of the rounds' ratios of deliveries in a second; 0 when the peer was not measured."""
    if not found.get(theirs):
        return 0.0
    return statistics.median(a.rate / b.rate for a, b in zip(found[ours], found[theirs], strict=True))


def figure(rounds_: Sequence[Round]) -> str:
    """Deliveries in a second and what one costs the server."""
    rate = statistics.median(each.rate for each in rounds_)
    cost = statistics.median(each.cost for each in rounds_)
    return f"{rate:,.0f} deliveries/s, {cost * 1e6:.2f} µs of CPU each"


def cost(rounds_: Sequence[Round]) -> float:
    """Median of what a delivery costs the server, in microseconds."""
    return statistics.median(each.cost for each in rounds_) * 1e6


def load_note(found: Found) -> str:
    """How busy the load itself was: near 100 % it would be what is measured."""
    parts = [
        f"{name} {statistics.median(each.load_busy for each in rounds_) * 100:.0f} %"
        for name, rounds_ in found.items()
        if rounds_
    ]
    return "the load's processor: " + ", ".join(parts)


TARGETS: Mapping[tuple[int, int], tuple[str, float, float]] = {
    (100, 1024): ("AutoGen host", 30.0, 60.0),
    (100, 32): ("AutoGen host", 8.0, 15.0),
    (1000, 1024): ("plain grpc.aio", 30.0, 100.0),
}
"""By subscribers and window: against whom, at least, aim."""


def row(
    found: Found, ours: Arm, *, subscribers: int, window: int, what: str = "", against: str = "", note: str = ""
) -> Row:
    """One fan-out beside all peers. With `what` it is another than the plain one, and has no target of its own."""
    peer, least, aim = TARGETS.get((subscribers, window), ("AutoGen host", 0.0, 0.0))
    if what:
        peer, least = against or peer, 0.0
    value = ratio(found, ours.name, peer)
    others = [name for name, each in found.items() if each and name != ours.name]
    ratios = ", ".join(f"{ratio(found, ours.name, name):.2f}× {name}" for name in others)
    return Row(
        what or f"fan-out to {subscribers:,}",
        figure(found[ours.name]),
        "; ".join(f"{name} {figure(found[name])}" for name in others) or "no peer",
        value,
        f"≥ {least:g}× {peer} (aim {aim:g}×)" if least else "–",
        (value >= least if value else None) if least else True,
        durable="no",
        authenticated="yes (peers: no)",
        in_flight=f"window {window}",
        processes=ours.processes,
        bars={}
        if what
        else {
            f"{subscribers:,}, window {window}": {
                name: statistics.median(each.rate for each in rounds_) for name, rounds_ in found.items() if rounds_
            }
        },
        note="; ".join(part for part in (note, f"{len(found[ours.name])} rounds", ratios, load_note(found)) if part),
    )

"""The parts of the benchmarks of events: each a list of rows."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from bench.events import durable, fanout, filters, growth, latency, memory, requests
from bench.events.arms import Arm
from bench.events.autogen import Autogen
from bench.events.gateway import Gateway
from bench.events.load import Shape
from bench.events.nats import Nats
from bench.events.plain import Cpp, Plain
from bench.report import Row

Part = Callable[[bool, bool], Coroutine[Any, Any, list[Row]]]
"""Told whether to be quick, and whether to measure peers."""


def _arms(quick: bool, with_peers: bool, *quick_peers: str) -> list[Arm]:
    """The daemon first, then the peers that can be measured here; a quick run has only those that are named."""
    peers: tuple[Arm, ...] = (Autogen(), Plain(), Cpp(), Nats())
    wanted = [arm for arm in peers if with_peers and not arm.missing() and (not quick or arm.name in quick_peers)]
    return [Gateway(), *wanted]


async def _fanout(quick: bool, with_peers: bool) -> list[Row]:
    found = []
    for subscribers in (100, 1000) if quick else (1, 10, 100, 1000):
        for window in (32, 1024):
            if quick and (subscribers, window) not in fanout.TARGETS:
                continue
            against = fanout.TARGETS[subscribers, window][0] if quick else ""
            arms = _arms(quick, with_peers, against)
            many = subscribers >= 1000
            number, seconds = (2 if many else 3, 0.7) if quick else (5, 1.0)
            shape = Shape([""] * subscribers)
            measured = await fanout.rounds(
                arms, shape, window=window, number=number, seconds=seconds * 2 if many else seconds
            )
            found.append(fanout.row(measured, arms[0], subscribers=subscribers, window=window))
    return found


async def _latency(quick: bool, with_peers: bool) -> list[Row]:
    arms = _arms(quick, with_peers, "nats-server")
    found = await latency.rounds(arms, number=3 if quick else 5, seconds=1.0 if quick else 3.0)
    return [latency.row(found, arms[0])]


async def _durable(quick: bool, with_peers: bool) -> list[Row]:
    return await durable.rows(rounds=3 if quick else 5, seconds=1.0 if quick else 2.0, with_peers=with_peers)


async def _requests(quick: bool, with_peers: bool) -> list[Row]:
    return await requests.rows(rounds=2 if quick else 5, seconds=0.7 if quick else 2.0, with_peers=with_peers)


async def _memory(quick: bool, with_peers: bool) -> list[Row]:
    return await memory.rows(connections=500 if quick else 2000, streams=1000 if quick else 5000, with_peers=with_peers)


async def _growth(quick: bool, _with_peers: bool) -> list[Row]:
    many = 30_000 if quick else 100_000
    return await growth.rows(many=many, rounds=2 if quick else 5, seconds=0.4 if quick else 1.5)


async def _publishers(quick: bool, with_peers: bool) -> list[Row]:
    arms = _arms(quick, with_peers)
    found = []
    for count in (16,) if quick else (1, 4, 16):
        shape = Shape([""] * 100, publishers=count)
        number, seconds = (2, 0.7) if quick else (5, 1.0)
        measured = await fanout.rounds(arms, shape, window=1024, number=number, seconds=seconds)
        what = f"{count} publisher{'s' if count > 1 else ''} to 100"
        note = "one window for all publishers together"
        found.append(fanout.row(measured, arms[0], subscribers=100, window=1024, what=what, note=note))
    return found


async def _filters(quick: bool, with_peers: bool) -> list[Row]:
    return await filters.rows(rounds=3 if quick else 5, seconds=0.7 if quick else 1.0, with_peers=with_peers)


PARTS: Mapping[str, Part] = {
    "fanout": _fanout,
    "latency": _latency,
    "requests": _requests,
    "durable": _durable,
    "memory": _memory,
    "growth": _growth,
    "publishers": _publishers,
    "filters": _filters,
}

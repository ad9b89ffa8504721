"""The parts of the benchmarks of events: each a list of rows."""

from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from report import Row

from events import durable, fanout, filters, growth, latency, memory, requests
from events.arms import Arm
from events.autogen import Autogen
from events.gateway import Gateway
from events.load import Shape
from events.nats import Nats
from events.plain import Cpp, Plain

Part = Callable[[bool, bool], Coroutine[Any, Any, list[Row]]]
"""Told whether to be quick, and whether to measure peers."""


def peers() -> list[Arm]:
    """Those that can be measured here."""
    arms: tuple[Arm, ...] = (Autogen(), Plain(), Cpp(), Nats())
    return [arm for arm in arms if not arm.missing()]


async def _fanout(quick: bool, with_peers: bool) -> list[Row]:
    ours = Gateway()
    arms: list[Arm] = [ours, *(peers() if with_peers else [])]
    found = []
    for subscribers in (100, 1000) if quick else (1, 10, 100, 1000):
        for window in (32, 1024):
            if quick and (subscribers, window) not in fanout.TARGETS:
                continue
            number, seconds = (3, 0.7) if quick else (5, 1.0)
            if subscribers >= 1000:
                seconds *= 2
            measured = await fanout.rounds(
                arms, Shape([""] * subscribers), window=window, number=number, seconds=seconds
            )
            found.append(fanout.row(measured, ours, subscribers=subscribers, window=window))
    return found


async def _latency(quick: bool, with_peers: bool) -> list[Row]:
    ours = Gateway()
    arms: list[Arm] = [ours, *(peers() if with_peers else [])]
    found = await latency.rounds(arms, number=3 if quick else 5, seconds=1.5 if quick else 3.0)
    return [latency.row(found, ours)]


async def _durable(quick: bool, with_peers: bool) -> list[Row]:
    return await durable.rows(rounds=3 if quick else 5, seconds=1.0 if quick else 2.0, with_peers=with_peers)


async def _requests(quick: bool, with_peers: bool) -> list[Row]:
    return await requests.rows(rounds=3 if quick else 5, seconds=0.7 if quick else 2.0, with_peers=with_peers)


async def _memory(quick: bool, with_peers: bool) -> list[Row]:
    return await memory.rows(connections=500 if quick else 2000, streams=1000 if quick else 5000, with_peers=with_peers)


async def _growth(quick: bool, _with_peers: bool) -> list[Row]:
    return await growth.rows(rounds=3 if quick else 5, seconds=0.7 if quick else 1.5)


async def _publishers(quick: bool, with_peers: bool) -> list[Row]:
    ours = Gateway()
    arms: list[Arm] = [ours, *(peers() if with_peers and not quick else [])]
    found = []
    for count in (4, 16) if quick else (1, 4, 16):
        shape = Shape([""] * 100, publishers=count)
        number, seconds = (2, 0.7) if quick else (5, 1.0)
        measured = await fanout.rounds(arms, shape, window=1024, number=number, seconds=seconds)
        what = f"{count} publisher{'s' if count > 1 else ''} to 100"
        note = "one window for all publishers together"
        found.append(fanout.row(measured, ours, subscribers=100, window=1024, what=what, note=note))
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

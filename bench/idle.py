"""Ten thousand idle clients: what each costs in memory, and whether a new one is still served; `make bench-idle`.

    python bench/idle.py [--connections 10000]

Each client has a TCP connection of its own, has made a call and holds a conversation with a subscription. As many as
the limit of open files allows are opened. Exit code 0: all were served; 1: one was not.
"""

import argparse
import asyncio
import sys
import time

import uvloop
from gateway.v1 import event_service_pb2

from bench.events import memory
from bench.events.envelope import entry, event, event_filter
from bench.events.gateway import Gateway, GatewayClients
from bench.events.payload import opened, payload
from bench.processes import Running, WrongAnswer
from bench.report import Row, text

SPARE = 200
"""Descriptors that are left for everything else."""
SERVED = 10.0
"""Seconds within which a new client must be served."""
NEWCOMERS = 10
PAYLOAD = 128


async def measure(wanted: int) -> tuple[list[Row], str]:
    """The rows, and a word on what was opened."""
    limit = memory.descriptors()
    count = min(wanted, limit - SPARE)
    async with memory.serving(Gateway()) as (running, clients):
        assert isinstance(clients, GatewayClients)
        empty = running.memory().rss
        began = time.perf_counter()
        connections = await memory.connect_many(clients, count)
        connecting = time.perf_counter() - began
        await asyncio.sleep(memory.SETTLE)
        connected = running.memory().rss
        began = time.perf_counter()
        await memory.streams_on(clients, connections, count)
        greeting = time.perf_counter() - began
        await asyncio.sleep(memory.SETTLE)
        full = running.memory().rss
        used = running.cpu()
        await asyncio.sleep(memory.SETTLE)
        idle = (running.cpu() - used) / memory.SETTLE
        waits = [await _newcomer(clients, number) for number in range(NEWCOMERS)]
        _alive(running)
    note = (
        f"{count:,} clients opened"
        + ("" if count == wanted else f" of {wanted:,}: the limit of open files is {limit:,}")
        + f"; connecting took {connecting:.1f} s, hello and subscribe {greeting:.1f} s; idle they take "
        f"{idle * 100:.0f} % of a processor; a newcomer published and got its event back within "
        f"{max(waits) * 1000:.0f} ms"
    )
    figures = (
        ("connection", (connected - empty) / count, memory.CONNECTION_TARGET, memory.CONNECTION_AIM),
        ("stream, one to a connection", (full - connected) / count, memory.STREAM_TARGET, memory.STREAM_AIM),
    )
    rows = [
        Row(
            f"memory of an idle {what}, {count:,} clients",
            f"{figure:.1f} KiB",
            "–",
            0.0,
            f"≤ {target:g} KiB (aim {aim:g} KiB)",
            figure <= target,
            authenticated="yes (token)",
            processes="1 + load",
        )
        for what, figure, target, aim in figures
    ]
    return rows, note


async def _newcomer(clients: GatewayClients, number: int) -> float:
    """A new client that subscribes to its own stream, publishes and gets the event back; seconds that it took."""
    got = asyncio.get_running_loop().create_future()
    began = time.perf_counter()
    async with asyncio.timeout(SERVED):
        talk = await clients.talk(f"newcomer-{number}")
        talk.on_delivery = lambda message: got.set_result(message) if b"newcomer" in message else None
        place = f"newcomer-{number}|"
        await talk.subscribe("mine", event_filter(place))
        await talk.publish([entry(event(payload(PAYLOAD, number), number, 9, place))])
        message = await got
    took = time.perf_counter() - began
    if opened(_content(message))[0] != number:
        raise WrongAnswer(f"newcomer {number} got another event than its own")
    return took


def _content(message: bytes) -> bytes:
    return bytes(event_service_pb2.ConnectResponse.FromString(message).delivery.events[0].custom.content)


def _alive(running: Running) -> None:
    if running.process.poll() is not None:
        raise WrongAnswer("the daemon ended under idle connections")


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--connections", type=int, default=10_000)
    arguments = parser.parse_args()
    try:
        rows, note = uvloop.run(measure(arguments.connections))
    except (WrongAnswer, TimeoutError, OSError) as error:
        print(f"WRONG: {error or 'no answer in time'}", file=sys.stderr)
        return 1
    print(f"{text(rows)}\n\n{note}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

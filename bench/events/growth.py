"""What an event costs when more and more subscriptions that it does not match are held."""

import asyncio
import statistics
from collections.abc import Sequence
from contextlib import AsyncExitStack

from gateway.v1 import event_service_pb2

from bench.events.envelope import event_filter
from bench.events.gateway import Gateway, GatewayClients
from bench.events.load import Round, Session, Shape, session
from bench.events.talk import Talk
from bench.report import Row

FEW = 100
TARGET = 1.2
HELD_BY = 1000
"""Subscriptions of one connection: the most that the daemon allows."""
SUBSCRIBERS, WINDOW = 10, 256
KINDS = ("stream-{0}|", "|other.{0}.created", "|other.{0}.*", "stream-{0}|other.*.created")
"""Filters by stream, by topic, by pattern, and by both, in turn."""
AT_ONCE = 200
"""Subscribe requests in one frame."""
HOLDERS = 4
"""Connections that subscribe at a time, so that neither the daemon nor the load waits for the other."""


async def rows(*, many: int, rounds: int, seconds: float) -> list[Row]:
    """Two daemons, measured in turn; one holds `many` subscriptions that do not match."""
    shape = Shape([""] * SUBSCRIBERS)
    found: dict[int, list[Round]] = {FEW: [], many: []}
    async with AsyncExitStack() as stack:
        sessions: dict[int, Session] = {}
        for count in found:
            current = sessions[count] = await stack.enter_async_context(session(Gateway(), shape))
            await _hold(current, count)
            await current.check(1000, WINDOW)
        for _ in range(rounds):
            for count, current in sessions.items():
                found[count].append(await current.measure(seconds, WINDOW))
    return [_row(many, found[FEW], found[many])]


async def _hold(current: Session, count: int) -> None:
    clients = current.clients
    assert isinstance(clients, GatewayClients)
    gate = asyncio.Semaphore(HOLDERS)

    async def hold(start: int) -> None:
        async with gate:
            talk = await clients.talk(f"holder-{start}")
            numbers = range(start, min(count, start + HELD_BY))
            for part in range(0, len(numbers), AT_ONCE):
                await _subscribe(talk, numbers[part : part + AT_ONCE])

    await asyncio.gather(*(hold(start) for start in range(0, count, HELD_BY)))


async def _subscribe(talk: Talk, numbers: Sequence[int]) -> None:
    await talk.together(
        [
            {
                "subscribe": event_service_pb2.Subscribe(
                    subscription_id=str(number), filter=event_filter(KINDS[number % len(KINDS)].format(number))
                )
            }
            for number in numbers
        ]
    )


def _row(count: int, few: Sequence[Round], many: Sequence[Round]) -> Row:
    ratio = statistics.median(_cost(b) / _cost(a) for a, b in zip(few, many, strict=True))

    def figure(rounds_: Sequence[Round]) -> str:
        cost = statistics.median(_cost(each) for each in rounds_)
        rate = statistics.median(each.published / each.seconds for each in rounds_)
        return f"{cost * 1e6:.2f} µs of CPU an event, {rate:,.0f} events/s"

    return Row(
        f"growth, {FEW} to {count:,} subscriptions that do not match",
        figure(many),
        f"with {FEW} {figure(few)}",
        ratio,
        f"≤ {TARGET}× (aim: flat)",
        ratio <= TARGET,
        durable="no",
        authenticated="yes",
        in_flight=f"window {WINDOW}",
        processes="1 + load",
        note=f"{len(few)} rounds; {SUBSCRIBERS} subscribers that match; others by stream, topic, pattern and both, "
        f"{HELD_BY} to a connection",
    )


def _cost(one: Round) -> float:
    """Seconds of processor time for an event, its deliveries included."""
    return one.cpu / max(1, one.published)

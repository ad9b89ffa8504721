"""What an idle connection and an idle stream cost the server in memory.

A connection is a TCP connection on which HTTP/2 has settled and one call was made. A stream is a conversation on one of
few connections: it has said hello and subscribes to a stream of events. A client that stays connected costs both.
"""

import asyncio
import contextlib
import resource
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.events.envelope import event_filter
from bench.events.gateway import Gateway, GatewayClients
from bench.events.h2 import CONNECT, Connection
from bench.events.plain import METHOD, Plain, PlainClients
from bench.processes import Running, WrongAnswer
from bench.report import Row

CONNECTION_TARGET, CONNECTION_AIM = 60.0, 40.0
STREAM_TARGET, STREAM_AIM = 30.0, 15.0
"""KiB."""
HEALTH = "/grpc.health.v1.Health/Check"
SHARING = 100
"""Streams on one connection."""
AT_ONCE = 50
SETTLE = 1.0
"""Seconds before memory is read."""
WARM = 100
"""Connections that are opened and closed before, so that what is only needed once is not counted."""


def descriptors() -> int:
    """Raise the limit of open files as far as it goes; how many may be open."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


async def connect_many(clients: GatewayClients | PlainClients, count: int) -> list[Connection]:
    """So many connections, each of which has made a call."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one() -> Connection:
        async with gate:
            connection = await clients.connect()
            if isinstance(clients, GatewayClients):
                await connection.call(HEALTH, clients.metadata, b"")
            else:
                stream = connection.open(METHOD, (("role", "publisher"),), lambda _message: None)
                stream.finish()
                async with asyncio.timeout(CONNECT):
                    await stream.ended
            return connection

    return await asyncio.gather(*(one() for _ in range(count)))


async def streams_on(
    clients: GatewayClients | PlainClients, connections: list[Connection], count: int, first: int = 0
) -> None:
    """So many idle streams in all, spread over the connections."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(number: int) -> None:
        connection = connections[number % len(connections)]
        async with gate:
            if isinstance(clients, GatewayClients):
                talk = await clients.talk(f"idle-{first + number}", connection)
                await talk.subscribe("mine", event_filter(f"idle-{first + number}|"))
                return
            stream = connection.open(METHOD, (("role", "subscriber"),), lambda _message: None)
            async with asyncio.timeout(CONNECT):
                await stream.opened

    await asyncio.gather(*(one(number) for number in range(count)))


@asynccontextmanager
async def serving(arm: Gateway | Plain) -> AsyncIterator[tuple[Running, GatewayClients | PlainClients]]:
    """The server, warm, and clients of it."""
    with TemporaryDirectory(prefix="bench-") as home:
        server = arm.start(Path(home))
        running = await asyncio.to_thread(server.__enter__)
        try:
            warming = arm.clients(running)
            warm = await connect_many(warming, WARM)
            await streams_on(warming, warm, WARM, first=1_000_000)
            warming.close()
            await asyncio.sleep(SETTLE)
            clients = arm.clients(running)
            yield running, clients
            clients.close()
            await asyncio.sleep(0.1)
        finally:
            await asyncio.to_thread(server.__exit__, None, None, None)


async def measure(arm: Gateway | Plain, connections: int, streams: int) -> tuple[float, float]:
    """KiB for each connection and for each stream."""
    async with serving(arm) as (running, clients):
        empty = running.memory().rss
        opened = await connect_many(clients, connections)
        await asyncio.sleep(SETTLE)
        connected = running.memory().rss
        await streams_on(clients, opened[: max(1, streams // SHARING)], streams)
        await asyncio.sleep(SETTLE)
        if running.process.poll() is not None:
            raise WrongAnswer(f"{arm.name} ended under idle connections")
        return (connected - empty) / connections, (running.memory().rss - connected) / streams


async def rows(*, connections: int, streams: int, with_peers: bool) -> list[Row]:
    """A row for each of the two."""
    descriptors()
    ours = await measure(Gateway(), connections, streams)
    theirs = await measure(Plain(), connections, streams) if with_peers else None
    targets = ((CONNECTION_TARGET, CONNECTION_AIM), (STREAM_TARGET, STREAM_AIM))
    notes = (
        f"{connections} TCP connections, each of which made one call",
        f"{streams} conversations with a subscription, {SHARING} to a connection",
    )
    return [
        Row(
            f"memory of an idle {what}",
            f"{ours[place]:.1f} KiB",
            f"plain grpc.aio {theirs[place]:.1f} KiB" if theirs else "no peer",
            ours[place] / theirs[place] if theirs and theirs[place] > 0 else 0.0,
            f"≤ {targets[place][0]:g} KiB (aim {targets[place][1]:g} KiB)",
            ours[place] <= targets[place][0],
            authenticated="yes (peer: no)",
            processes="1 + load",
            note=f"resident memory, {notes[place]}; the target is the figure",
        )
        for place, what in enumerate(("connection", "stream"))
    ]

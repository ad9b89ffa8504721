"""A storm of calls that are cut off, or closed, as soon as they are under way.

    python tests/faults/loss_storm.py [--count 1000000]

prints what the daemon holds after each part of it, and fails if that grows (figure G9; grpc/grpc#43360 is what happens
when a handler keeps its cancellation to itself).
"""

import argparse
import asyncio
import re
import signal
import tempfile
from pathlib import Path

from gateway.v1 import event_service_pb2 as pb
from stream_rig import (
    DATA,
    END_HEADERS,
    END_STREAM,
    HEADERS,
    MIB,
    PATIENCE,
    PING,
    RST_STREAM,
    descriptors,
    frame,
    hello,
    log_lines,
    message,
    only,
    request_headers,
    resident,
    subscribe,
    wire,
)

from gatewayctl.client import GatewayError, event_filter
from tests.rigs.house import House, eventually, house
from tests.rigs.stream import METHOD

CONFIG = """
gateway: {limits: {streams_per_client: 1000}}
agents: {echo: {model: offline/echo}}
"""
CANCEL = (8).to_bytes(4, "big")
_WAIT = pb.WaitForEventRequest(filter=event_filter(topic="never")).SerializeToString()


async def cancelled_calls(rig: House, count: int, batch: int = 200) -> None:
    """Calls that wait for an event, each reset while it does."""
    block = request_headers("/gateway.v1.EventService/WaitForEvent", rig.daemon.token)
    async with wire(rig) as one:
        await one.greet()
        for start in range(0, count, batch):
            streams = [2 * number + 1 for number in range(start, start + batch)]
            for make in (
                lambda each: frame(HEADERS, END_HEADERS, each, block) + frame(DATA, END_STREAM, each, message(_WAIT)),
                lambda each: frame(RST_STREAM, 0, each, CANCEL),
            ):
                await one.push(b"".join(make(each) for each in streams) + frame(PING, 0, 0, b"all sent"))
                await one.until(lambda: one.count(PING) > 0)
                one.frames.clear()
            assert not one.closed


async def taken_in(rig: House) -> None:
    """Until the daemon has looked at every call that was made: gRPC refuses new ones while thousands wait for it."""

    async def answered() -> bool:
        try:
            await rig.client.status(daemon_only=True)
        except GatewayError:
            return False
        return True

    await eventually(answered, timeout=PATIENCE)


async def ended_conversations(rig: House, count: int, *, closed: bool, batch: int = 50) -> None:
    """Conversations with a subscription, each reset, or closed by the client in order, once it is welcomed."""
    block = request_headers(METHOD, rig.daemon.token)
    async with wire(rig) as one:
        await one.greet()
        for start in range(0, count, batch):
            streams = {2 * (start + number) + 1: f"storm-{number}" for number in range(batch)}

            def heard(streams: dict[int, str] = streams) -> int:
                return len({stream for kind, _, stream, _ in one.frames if kind == DATA and stream in streams})

            def over(streams: dict[int, str] = streams) -> int:
                return sum(
                    1 for kind, flags, stream, _ in one.frames if flags & 1 and kind == HEADERS and stream in streams
                )

            for stream, name in streams.items():
                said = message(hello(name).SerializeToString()) + message(subscribe("never").SerializeToString())
                await one.push(frame(HEADERS, END_HEADERS, stream, block) + frame(DATA, 0, stream, said))
            await one.until(lambda heard=heard: heard() == batch)
            for stream in streams:
                await one.push(frame(DATA, END_STREAM, stream) if closed else frame(RST_STREAM, 0, stream, CANCEL))
            if closed:
                await one.until(lambda over=over: over() == batch)
            one.frames.clear()
            assert not one.closed


async def tasks(rig: House) -> int:
    """How many tasks the daemon has, by its own dump."""
    lines = len(log_lines(rig))
    rig.daemon.signal(signal.SIGUSR1)

    async def told() -> int | None:
        found = re.search(r'tasks: (\d+)"', "\n".join(log_lines(rig)[lines:]))
        return int(found[1]) if found else None

    return await eventually(told, timeout=PATIENCE)


async def holdings(rig: House) -> tuple[int, int, int]:
    """Resident bytes, descriptors and tasks, once all connections have ended."""
    await only(rig)
    return resident(rig), descriptors(rig), await tasks(rig)


async def storm(rig: House, calls: int, conversations: int) -> None:
    """A part of the storm: all kinds of it."""
    await cancelled_calls(rig, calls)
    await taken_in(rig)
    await ended_conversations(rig, conversations, closed=False)
    await ended_conversations(rig, conversations, closed=True)


async def _measure(count: int, parts: int = 10) -> None:
    held: list[tuple[int, int, int]] = []
    with tempfile.TemporaryDirectory() as place:
        async with house(Path(place), CONFIG) as rig:
            for part in range(1, parts + 1):
                await storm(rig, count // parts * 8 // 10 // 200 * 200, count // parts // 10 // 50 * 50)
                held.append(await holdings(rig))
                memory, files, running = held[-1]
                print(f"{part * count // parts:>9} calls: {memory // MIB} MiB, {files} descriptors, {running} tasks")
    # What is lost and may still come back, pools and garbage fill up first, to about 60 MiB.
    warm, last = held[parts // 2 - 1], held[-1]
    grown = last[0] - warm[0]
    print(f"{grown / MIB:.1f} MiB in the second half")
    # A leak of 140 bytes for each call would be 67 MiB of a million.
    assert grown < max(16 * MIB, count // 2 * 70)
    assert last[1] <= warm[1]
    assert last[2] < warm[2] + 20


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="calls that are cut off as soon as they are under way")
    parser.add_argument("--count", type=int, default=1_000_000, metavar="N")
    asyncio.run(_measure(parser.parse_args().count))

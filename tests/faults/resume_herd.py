"""A herd: many clients that come back in one instant, each from a place of its own in the log.

    python tests/faults/resume_herd.py [--clients 1000] [--events 500]

prints how long it took until the last of them had everything that it had missed (figure G12: 1,000 within 5 s on two
cores, clients included), and fails if one of them has got an event twice, out of order or not at all. The clients of
the herd do not jitter, as the SDK would: they are the worst case.
"""

import argparse
import asyncio
import tempfile
import time
from pathlib import Path

from gateway.v1 import event_service_pb2 as pb
from stream_rig import PATIENCE, note, number_of

from gatewayctl.client import event_filter
from tests.rigs.house import House, house
from tests.rigs.stream import RawStream

CONFIG = """
gateway:
  max_connections: 2000
  drain_timeout: 5s
agents: {echo: {model: offline/echo}}
bus: {history: {max_events: 100000}}
"""


async def fill(rig: House, events: int) -> list[str]:
    """Publish so many numbered events; the cursor before each of them."""
    cursors: list[str] = []
    at = await rig.client.publish(note(-1, "other"))
    for start in range(0, events, 500):
        batch = [note(number, "herd", text="x" * 120) for number in range(start, min(start + 500, events))]
        epoch, _, last = (await rig.client.publish(batch)).partition(":")
        cursors += [at, *(f"{epoch}:{int(last) - len(batch) + each}" for each in range(1, len(batch)))]
        at = f"{epoch}:{last}"
    return cursors


class Returning:
    """One client: connected once, then lost, then back from its place."""

    def __init__(self, rig: House, number: int, first: int, cursor: str, last: int) -> None:
        self._rig = rig
        self._name = f"herd-{number}"
        self._first = first
        self._cursor = cursor
        self._last = last
        self.seen: list[int] = []

    async def resume(self) -> None:
        """Connect, subscribe from the cursor, and read to the last event."""
        async with RawStream(self._rig.daemon.address) as stream:
            hello = pb.Hello(client_id=self._name, protocol_min=1, protocol_max=1)
            await stream.write(pb.ConnectRequest(hello=hello))
            subscribe = pb.Subscribe(subscription_id="s", filter=event_filter(topic="herd"), since=self._cursor)
            await stream.ask(pb.ConnectRequest(subscribe=subscribe))
            while not self.seen or self.seen[-1] < self._last:
                frame = await stream.take("delivery", "ended", "rejected", "refused", timeout=PATIENCE)
                assert frame.HasField("delivery"), frame
                self.seen += [number_of(event) for event in frame.delivery.events]

    def check(self) -> None:
        """No gap, no repeat, nothing out of order."""
        assert self.seen == list(range(self._first, self._last + 1)), f"{self._name} from {self._cursor}: {self.seen}"


async def herd(rig: House, clients: int, events: int) -> float:
    """All come back at once; the seconds until the last one had everything."""
    cursors = await fill(rig, events)
    places = [number * events // clients for number in range(clients)]
    all_of_them = [Returning(rig, *each, cursors[each[1]], events - 1) for each in enumerate(places)]
    before = time.monotonic()
    async with asyncio.timeout(PATIENCE * 2), asyncio.TaskGroup() as tasks:
        for one in all_of_them:
            tasks.create_task(one.resume())
    seconds = time.monotonic() - before
    for one in all_of_them:
        one.check()
    return seconds


async def _measure(clients: int, events: int) -> None:
    with tempfile.TemporaryDirectory() as place:
        async with house(Path(place), CONFIG) as rig:
            seconds = await herd(rig, clients, events)
    print(f"{clients} clients, up to {events} events missed: all resumed gap-free in {seconds:.2f} s")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="many clients that come back in one instant")
    parser.add_argument("--clients", type=int, default=1000, metavar="N")
    parser.add_argument("--events", type=int, default=500, metavar="N", help="that the last one has missed")
    chosen = parser.parse_args()
    asyncio.run(_measure(chosen.clients, chosen.events))

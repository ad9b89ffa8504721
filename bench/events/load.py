"""One server with its subscribers and publishers, and what is done with them: checked first, then measured."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.events.arms import Arm, Clients, Publisher, Subscriber
from bench.events.payload import Inspector
from bench.events.window import Window
from bench.processes import Running, WrongAnswer

WARM = 0.3
"""Seconds of load before it counts."""
BURSTS = 20
"""Deliveries for each event of the window that a measurement should see at least, so that no burst is cut in two."""
LONGER = 4
"""Times as long as wanted that a measurement may take for that."""
CHECK = 60.0
"""Seconds that the events of a check may take to arrive."""
DRAIN = 1.0
"""Seconds that what is under way may take to arrive after a round; a server that takes longer is begun anew."""
JOINING = 50
"""Connections that are opened at a time."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one server did under one load."""

    seconds: float
    published: int
    delivered: int
    cpu: float
    """Seconds of the server's processor time."""
    load_cpu: float
    """Seconds of the load's own."""

    @property
    def rate(self) -> float:
        """Deliveries in a second."""
        return self.delivered / self.seconds

    @property
    def cost(self) -> float:
        """Processor time of the server for a delivery, in seconds."""
        return self.cpu / max(1, self.delivered)

    @property
    def load_busy(self) -> float:
        """The part of a processor that the load took."""
        return self.load_cpu / self.seconds


@dataclass(slots=True)
class Shape:
    """Who subscribes to what, and who publishes where."""

    subscribers: Sequence[str]
    """The place of each; '' is everything."""
    publishers: int = 1
    places: Sequence[str] = ("",)
    """Where a publisher's events go, in turn."""
    wants: Callable[[int, int], bool] = lambda _subscriber, _number: True
    shares: Sequence[int] = ()
    """Events that each subscriber gets of a turn through `places`."""


@dataclass(slots=True)
class Session:
    """A running server and the load's connections to it."""

    arm: Arm
    shape: Shape
    running: Running
    clients: Clients
    subscribers: list[Subscriber] = field(default_factory=list)
    publishers: list[Publisher] = field(default_factory=list)
    dirty: bool = False
    """Whether events of the last round are still under way: nothing more can be measured here."""

    async def join(self) -> None:
        """Open all connections."""
        gate = asyncio.Semaphore(JOINING)

        async def one(index: int, place: str) -> Subscriber:
            async with gate:
                return await self.clients.subscriber(index, place)

        self.subscribers = list(
            await asyncio.gather(*(one(index, place) for index, place in enumerate(self.shape.subscribers)))
        )
        for index in range(self.shape.publishers):
            self.publishers.append(await self.clients.publisher(index, self.shape.places))

    async def check(self, events: int, window: int) -> None:
        """Publish so many in all; `WrongAnswer` unless everybody gets each that is meant for it once, and intact."""
        name = self.arm.name
        inspector = Inspector(
            name, len(self.subscribers), len(self.publishers), ordered=self.arm.ordered, wants=self.shape.wants
        )
        drive = self._drive(window, most=events)
        for index, subscriber in enumerate(self.subscribers):
            subscriber.inspect(_take(drive.window, index), _look(inspector, index))
        with trouble():
            drive.begin()
            arrived = await drive.window.drain(CHECK, events)
        if not arrived:
            raise WrongAnswer(
                f"{name}: {drive.window.published} events published, {min(drive.window.counts)} to "
                f"{max(drive.window.counts)} delivered to each subscriber in {CHECK:g} s"
            )
        # Whatever comes twice comes soon.
        await asyncio.sleep(0.05)
        inspector.finish(drive.published)

    async def measure(self, seconds: float, window: int) -> Round:
        """Keep the window full for so long."""
        drive = self._drive(window)
        for index, subscriber in enumerate(self.subscribers):
            subscriber.count(_take(drive.window, index))
        with trouble():
            drive.begin()
            await asyncio.sleep(WARM)
            before = (drive.window.published, drive.window.delivered, self.running.cpu(), time.process_time())
            began = time.perf_counter()
            await asyncio.sleep(seconds)
            while (
                drive.window.delivered - before[1] < window * BURSTS and time.perf_counter() < began + seconds * LONGER
            ):
                await asyncio.sleep(seconds)
            took = time.perf_counter() - began
            after = (drive.window.published, drive.window.delivered, self.running.cpu(), time.process_time())
            drive.stop()
            left = drive.window.published * len(self.subscribers) - drive.window.delivered
            hopeless = not self.shape.shares and left > DRAIN * (after[1] - before[1]) / took
            self.dirty = hopeless or not await drive.window.drain(DRAIN)
        if after[1] == before[1]:
            raise WrongAnswer(f"{self.arm.name}: nothing was delivered in {seconds:g} s")
        difference: list[Any] = [b - a for a, b in zip(before, after, strict=True)]
        return Round(took, *difference)

    def _drive(self, window: int, most: int | None = None) -> "Drive":
        cycle = len(self.shape.places)
        return Drive(self.publishers, window, len(self.subscribers), most, cycle=cycle, shares=self.shape.shares)


class Drive:
    """Publishes whenever the window has room, the publishers in turn and each its part of the room."""

    def __init__(
        self,
        publishers: Sequence[Publisher],
        window: int,
        subscribers: int,
        most: int | None,
        *,
        cycle: int,
        shares: Sequence[int],
    ) -> None:
        self.window = Window(window, subscribers, self.pump, cycle=cycle, shares=shares)
        self.published = [0] * len(publishers)
        self._publishers = publishers
        self._left = most
        self._turn = 0
        self._going = False
        for publisher in publishers:
            publisher.more = self.pump

    def begin(self) -> None:
        """Publish from now on."""
        self._going = True
        self.pump()

    def stop(self) -> None:
        """Publish nothing more."""
        self._going = False

    def pump(self) -> None:
        """Fill the window."""
        waiting = 0
        while self._going and (room := self._room()) > 0 and waiting < len(self._publishers):
            index = self._turn % len(self._publishers)
            self._turn += 1
            part = max(1, room // (len(self._publishers) - waiting))
            taken = self._publishers[index].publish(self.published[index], part)
            self.published[index] += taken
            self.window.published += taken
            if self._left is not None:
                self._left -= taken
            waiting += 1

    def _room(self) -> int:
        return self.window.room if self._left is None else min(self.window.room, self._left)


class trouble:  # noqa: N801 - used as a statement
    """Ends its block with what goes wrong in the callbacks of connections, where nobody is to raise it to."""

    def __init__(self) -> None:
        self._error: BaseException | None = None
        self._task: asyncio.Task[Any] | None = None

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        asyncio.get_running_loop().set_exception_handler(self._handle)

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().set_exception_handler(None)
        if self._error is not None and self._task is not None:
            self._task.uncancel()
            raise self._error

    def _handle(self, _loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if self._error is None and self._task is not None:
            self._error = context.get("exception") or WrongAnswer(str(context["message"]))
            self._task.cancel()


@asynccontextmanager
async def session(arm: Arm, shape: Shape) -> AsyncIterator[Session]:
    """Start a server and join it."""
    with TemporaryDirectory(prefix="bench-") as home:
        server = arm.start(Path(home))
        running = await asyncio.to_thread(server.__enter__)
        clients = arm.clients(running)
        try:
            found = Session(arm, shape, running, clients)
            await found.join()
            yield found
        finally:
            clients.close()
            await asyncio.sleep(0)
            await asyncio.to_thread(server.__exit__, None, None, None)


def _take(window: Window, index: int) -> Callable[[int], None]:
    def take(events: int) -> None:
        window.took(index, events)

    return take


def _look(inspector: Inspector, index: int) -> Callable[[bytes], None]:
    def look(data: bytes) -> None:
        inspector.look(index, data)

    return look

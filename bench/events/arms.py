"""The servers as the load sees them: how to start one, join it as subscriber and publisher, and read what comes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from bench.processes import Running

Take = Callable[[int], None]
"""Told how many more events a subscriber has got."""
Look = Callable[[bytes], None]
"""Shown one payload."""
Glance = Callable[[bytes, int], None]
"""Shown bytes, and where in them a payload begins."""


class Subscriber(Protocol):
    """One subscriber on a connection of its own."""

    def count(self, take: Take) -> None:
        """From now on count events, at the least cost."""
        ...

    def inspect(self, take: Take, look: Look) -> None:
        """From now on show each payload, too."""
        ...

    def glance(self, glance: Glance) -> None:
        """From now on show where each payload is, at the least cost; nothing is checked."""
        ...


class Publisher(Protocol):
    """One publisher on a connection of its own."""

    def publish(self, first: int, events: int) -> int:
        """Publish that many events of the ring, the first of them at `first`; how many it took.

        It may take fewer when its own rules hold it back; then it calls `more` as soon as they no longer do.
        """
        ...

    def publish_payloads(self, payloads: Sequence[bytes]) -> None:
        """Publish an event with each of these payloads."""
        ...

    more: Callable[[], None]


class Clients(Protocol):
    """The load's connections to one running server."""

    payload_bytes: int
    """Size of the payload that makes an event of `payload.EVENT_BYTES`."""

    async def subscriber(self, index: int, place: str = "") -> Subscriber:
        """Join as a subscriber to everything, or to the part that `place` names (see `filters`)."""
        ...

    async def publisher(self, index: int, places: Sequence[str] = ("",)) -> Publisher:
        """Join as a publisher; its events go to these places in turn."""
        ...

    def close(self) -> None:
        """Cut all connections."""
        ...


class Arm(Protocol):
    """One kind of server."""

    name: str
    ordered: bool
    """Whether it promises the publisher's order."""
    authenticated: str
    processes: str

    def missing(self) -> str:
        """Why it cannot be measured here; '' if it can."""
        ...

    def start(self, home: Path) -> AbstractContextManager[Running]:
        """Start the server in an empty directory."""
        ...

    def clients(self, running: Running) -> Clients:
        """Get ready to connect to it."""
        ...


def ring(events: Sequence[bytes], first: int, count: int) -> Iterator[bytes]:
    """That many events, beginning anew at the end."""
    size = len(events)
    for number in range(first, first + count):
        yield events[number % size]


__all__ = ["Arm", "Clients", "Glance", "Look", "Publisher", "Subscriber", "Take", "ring"]

"""Members of groups, as their tests use them."""

from gatewayd.core.chunk import Chunk
from gatewayd.core.event import Event, EventType


class Member:
    """Keeps what it gets; may see what is addressed to it, and owned by it."""

    def __init__(self, name: str, room: int = 1_000_000) -> None:
        self.name = name
        self.room = room
        self.chunks: list[Chunk] = []
        self.closed = False

    def visible(self, event: Event) -> bool:
        return event.target in ("", self.name) and event.owner in ("", self.name)

    def put(self, chunk: Chunk) -> bool:
        if len(self.chunks) >= self.room:
            return False
        self.chunks.append(chunk)
        return True

    def close(self) -> None:
        self.closed = True

    @property
    def seen(self) -> list[str]:
        return [event.id for chunk in self.chunks for event in chunk.events]


def event(name: str, size: int = 10, *, target: str = "", owner: str = "") -> Event:
    return Event(name, EventType.CUSTOM, "x", "s", 0.0, target=target, owner=owner, wire=b"x" * size)

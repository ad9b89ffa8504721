"""Room for bodies: what all requests together may hold in memory, from their first byte to their answer."""

from types import TracebackType

ROOM = 64 << 20
"""Bytes; or one body of the largest size, where that is more."""


class Room:
    """One for a listener."""

    def __init__(self) -> None:
        self.held = 0
        """Bytes now."""

    def guest(self) -> "Guest":
        """For one request; what it holds is given back at the end of the `with`."""
        return Guest(self)


class Guest:
    """One request's part of the room."""

    __slots__ = ("_room", "held")

    def __init__(self, room: Room) -> None:
        self._room = room
        self.held = 0
        """Bytes of this request."""

    def __enter__(self) -> "Guest":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._room.held -= self.held
        self.held = 0

    def take(self, size: int, most: int) -> bool:
        """Hold so many bytes more; False when they are too many for the room, `most` being the largest body."""
        self.held += size
        self._room.held += size
        return self._room.held <= max(ROOM, most)

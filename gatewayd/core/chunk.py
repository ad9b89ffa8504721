"""A run of events that several readers get alike: made once, shared by all of them, and never changed."""

from collections.abc import Sequence

from gatewayd.core.event import Cursor, Event

EVENT_OVERHEAD = 128
"""Bytes that one waiting event costs beside its content; counted so that many tiny events are bounded too."""


class Chunk:
    """Consecutive events for readers that select the same, each with its `wire` filled.

    `body`, `frame` and `deep` hold what `gatewayd.wire` has made of them, so that it is made once for all readers.
    """

    __slots__ = ("body", "content_bytes", "cursor", "deep", "events", "frame", "size")

    def __init__(self, events: Sequence[Event], size: int = 0) -> None:
        self.events = events
        self.size = size or sum(len(event.wire) + EVENT_OVERHEAD for event in events)
        """Bytes that it counts in a queue."""
        self.content_bytes = self.size - len(events) * EVENT_OVERHEAD
        """Bytes of the events themselves."""
        self.cursor: Cursor | None = None
        """The place of its last durable event; None when all are ephemeral."""
        for event in reversed(events):
            if event.seq:
                self.cursor = event.cursor
                break
        self.body = b""
        """The events as one encoded repeated field."""
        self.frame: tuple[object, bytes] | None = None
        """The last frame that was made of it, and for which subscriptions."""
        self.deep: bool | None = None
        """Whether a frame of it has to come by itself; None while nobody has asked."""

    def __len__(self) -> int:
        return len(self.events)

    def split(self, max_bytes: int) -> tuple["Chunk", "Chunk"] | None:
        """The first events, at least one, up to that many bytes of content, and the rest; None if there is no rest."""
        taken = 0
        for place, event in enumerate(self.events):
            taken += len(event.wire)
            if place and taken > max_bytes:
                return Chunk(self.events[:place]), Chunk(self.events[place:])
        return None


def alone(event: Event) -> Chunk:
    """One of a single event."""
    return Chunk((event,), len(event.wire) + EVENT_OVERHEAD)


def joined(chunks: Sequence[Chunk]) -> Chunk:
    """One chunk of several, in order; what was encoded already is kept."""
    if len(chunks) == 1:
        return chunks[0]
    whole = Chunk([event for chunk in chunks for event in chunk.events], sum(chunk.size for chunk in chunks))
    if all(chunk.body for chunk in chunks):
        whole.body = b"".join(chunk.body for chunk in chunks)
    return whole

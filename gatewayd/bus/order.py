"""Keeps ephemeral events behind the durable ones of their stream that were submitted before them."""

from collections import deque
from collections.abc import Callable, Sequence

from gatewayd.core.chunk import EVENT_OVERHEAD
from gatewayd.core.event import Event

PARKED_LIMIT = 10_000
"""Ephemeral events that may wait for commits, over all streams; beyond it the oldest of the stream are dropped."""
PARKED_BYTES = 16 * 1024 * 1024
"""Bytes of them, likewise."""


class _Stream:
    __slots__ = ("done", "parked", "submitted")

    def __init__(self) -> None:
        self.submitted = 0
        self.done = 0
        self.parked: deque[tuple[int, Event]] = deque()


class StreamOrder:
    """Counts durable events in flight per stream; streams with none cost nothing."""

    def __init__(self, deliver: Callable[[Event], None]) -> None:
        self._deliver = deliver
        self._streams: dict[str, _Stream] = {}
        self._parked = 0
        self._parked_bytes = 0
        self.dropped = 0

    @property
    def idle(self) -> bool:
        """Whether no stream waits for anything: nothing is to be kept behind."""
        return not self._streams

    def expected(self, stream_ids: Sequence[str]) -> None:
        """Durable events of these streams were submitted, one entry per event."""
        for stream_id in stream_ids:
            stream = self._streams.get(stream_id)
            if stream is None:
                stream = self._streams[stream_id] = _Stream()
            stream.submitted += 1

    def publish(self, event: Event) -> None:
        """Deliver an ephemeral event now, or after what its stream waits for."""
        stream = self._streams.get(event.stream_id)
        if stream is None:
            self._deliver(event)
            return
        while stream.parked and not self._has_room(event):
            self._unpark(stream)
            self.dropped += 1
        if not self._has_room(event):  # others have taken it all
            self.dropped += 1
            return
        stream.parked.append((stream.submitted, event))
        self._parked += 1
        self._parked_bytes += size_of(event)

    def _has_room(self, event: Event) -> bool:
        return self._parked < PARKED_LIMIT and self._parked_bytes + size_of(event) <= PARKED_BYTES

    def _unpark(self, stream: _Stream) -> Event:
        event = stream.parked.popleft()[1]
        self._parked -= 1
        self._parked_bytes -= size_of(event)
        return event

    def settled(self, stream_ids: Sequence[str]) -> None:
        """As many durable events of these streams were delivered, or will never come."""
        for stream_id in stream_ids:
            stream = self._streams.get(stream_id)
            if stream is None:
                continue
            stream.done += 1
            while stream.parked and stream.parked[0][0] <= stream.done:
                self._deliver(self._unpark(stream))
            if stream.done == stream.submitted and self._streams.get(stream_id) is stream:
                del self._streams[stream_id]


def size_of(event: Event) -> int:
    """Bytes that an event takes while it waits."""
    return len(event.wire) + EVENT_OVERHEAD

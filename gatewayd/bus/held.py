"""Ephemeral events of batches that are being written: each comes where it stood among the durable ones, or none does.

A batch is taken or refused as a whole, and only the store knows which. So what never touches its disk waits for what
does, holding its place in its stream meanwhile.
"""

from asyncio import Future
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial

from gatewayd.bus.order import PARKED_BYTES, PARKED_LIMIT, StreamOrder, size_of
from gatewayd.core.event import Event


class _Batch:
    __slots__ = ("left", "rest")

    def __init__(self, events: Sequence[Event]) -> None:
        self.rest = deque(events)
        """What was not delivered yet, in order; durable events stand for their places."""
        self.left = sum(1 for event in events if event.durable)


class Held:
    """Batches without a verdict. `deliver` is called for each event whose time has come."""

    def __init__(self, order: StreamOrder, deliver: Callable[[Event], None]) -> None:
        self._order = order
        self._deliver = deliver
        self._batches: dict[tuple[str, str], _Batch] = {}
        """By source and id of each durable event that is awaited."""
        self._count = 0
        self._bytes = 0
        self.dropped = 0
        """Ephemeral events for which there was no room."""

    def hold(self, events: Sequence[Event], verdict: "Future[list[Event]]") -> None:
        """Take a whole batch whose durable events were submitted just now; `verdict` fails if it is refused."""
        kept = [event for event in events if event.durable or self._may_wait(event)]
        self._order.expected([event.stream_id for event in kept if not event.durable])
        batch = _Batch(kept)
        for event in kept:
            if event.durable:
                self._batches.setdefault((event.source, event.id), batch)
        verdict.add_done_callback(partial(self._decided, batch))

    def awaits(self, event: Event) -> bool:
        """Whether a batch waits for that durable event. Asked of every event there is, so it must cost nothing."""
        return bool(self._batches) and (event.source, event.id) in self._batches

    def before(self, event: Event) -> None:
        """That durable event is the next to be delivered: first comes what stood before it."""
        batch = self._batches.get((event.source, event.id))
        while batch is not None and batch.rest and batch.rest[0].id != event.id:
            self._release(batch, is_taken=True)

    def after(self, event: Event) -> None:
        """That durable event was delivered; behind the last one comes the rest."""
        batch = self._batches.get((event.source, event.id))
        if batch is None:
            return
        self._release(batch, is_taken=True)
        while not batch.left and batch.rest:
            self._release(batch, is_taken=True)

    def _decided(self, batch: _Batch, verdict: "Future[list[Event]]") -> None:
        """What is left now was refused, or stood behind events that were in the log before."""
        is_taken = not verdict.cancelled() and verdict.exception() is None
        while batch.rest:
            self._release(batch, is_taken=is_taken)

    def _release(self, batch: _Batch, *, is_taken: bool) -> None:
        """The first of the rest: a durable one has its place behind it now, another is delivered or forgotten."""
        event = batch.rest.popleft()
        if event.durable:
            batch.left -= 1
            if self._batches.get((event.source, event.id)) is batch:
                del self._batches[event.source, event.id]
            return
        self._count -= 1
        self._bytes -= size_of(event)
        if is_taken:
            self._deliver(event)
        self._order.settled((event.stream_id,))

    def _may_wait(self, event: Event) -> bool:
        if self._count >= PARKED_LIMIT or self._bytes + size_of(event) > PARKED_BYTES:
            self.dropped += 1
            return False
        self._count += 1
        self._bytes += size_of(event)
        return True

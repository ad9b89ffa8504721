"""What is addressed to a client itself, or to an agent that it serves: events with a target, and broadcasts."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable

from gateway.v1 import event_pb2, event_type_pb2
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.sdk.errors import EventsLost, GatewayError
from gatewayctl.sdk.subscription import Gap

__all__ = ["Addressed"]

BUFFER_BYTES = 1 << 20
"""Bytes of events that wait for whoever iterates; beyond it the oldest are dropped, which is told."""


class Addressed:
    """`async for event in client.addressed()`, without end.

    What one of the client's subscriptions brings is left out, and so are heartbeats and what a request waits for. An
    event for an agent that the client serves has the agent as its `target`. It is gathered from the moment that the
    client connects, over all its connections; what came while there was none is kept by the daemon for
    `reconnect_timeout`. An EventsLost is raised in the place of what was dropped, here or there; iterating again goes
    on behind it. Any other GatewayError is the end: ClientClosed, or why the daemon will have this client no more. Of
    several that iterate, each gets a part.
    """

    def __init__(self, is_awaited: Callable[[event_pb2.Event], bool]) -> None:
        """`is_awaited` takes an event that a request waits for."""
        self._is_awaited = is_awaited
        self._waiting: deque[tuple[event_pb2.Event | Gap, int]] = deque()
        self._bytes = 0
        self._missed = 0
        self._error: GatewayError | None = None
        self._news = asyncio.Event()

    def feed(self, frame: pb.ConnectResponse) -> None:
        """Take a delivery or a gap without a subscription."""
        if frame.HasField("gap"):
            self._put(Gap("dropped", frame.gap.dropped, ""), 0)
            return
        for event in frame.delivery.events:
            if event.type != event_type_pb2.EVENT_TYPE_HEARTBEAT and not self._is_awaited(event):
                self._put(event, event.ByteSize())

    def _put(self, item: event_pb2.Event | Gap, size: int) -> None:
        self._waiting.append((item, size))
        self._bytes += size
        while self._bytes > BUFFER_BYTES and len(self._waiting) > 1:
            dropped, less = self._waiting.popleft()
            self._bytes -= less
            self._missed += (dropped.dropped or 0) if isinstance(dropped, Gap) else 1
        self._news.set()

    def __aiter__(self) -> Addressed:
        return self

    async def __anext__(self) -> event_pb2.Event:
        while True:
            if self._missed:
                gap, self._missed = Gap("dropped", self._missed, ""), 0
                raise _lost(gap)
            if self._waiting:
                item, size = self._waiting.popleft()
                self._bytes -= size
                if isinstance(item, Gap):
                    raise _lost(item)
                return item
            if self._error is not None:
                raise self._error
            self._news.clear()
            await self._news.wait()

    def end(self, error: GatewayError) -> None:
        """Nothing will come any more: who iterates gets what waits, then the error."""
        self._error = error
        self._news.set()


def _lost(gap: Gap) -> EventsLost:
    return EventsLost(f"{gap.dropped} events that were addressed to this client were dropped", gap)

"""One subscription as its reader sees it: an endless sequence of events that outlives connections.

The buffer between the connection and the reader is bounded in bytes. When it is full the whole stream is not read
on, so everything else on it waits too (head of line). That may not last: after half a second if somebody waits for an
answer on the same stream, and after five in any case (the daemon cuts a reader that blocks it for ten), the
subscription is taken off the stream and comes back from its cursor once the reader has made room. Durable events are
not lost by that; ephemeral ones are, and the reader is told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType

from gateway.v1 import event_pb2
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.sdk.conversation import Conversation
from gatewayctl.sdk.errors import ClientClosed, EventsLost, GatewayError, HistoryLost, PermissionDenied, from_frame
from gatewayctl.sdk.link import Link, LinkLost
from gatewayctl.sdk.pace import Backoff
from gatewayctl.sdk.room import BUFFER_BYTES, Room

__all__ = ["BUFFER_BYTES", "Gap", "Subscription"]


@dataclass(frozen=True, slots=True)
class Gap:
    """Events that this subscription has missed."""

    reason: str
    """`history_lost`, `dropped` (by the daemon, as DROP_OLDEST asks) or `paused` (ephemeral, the reader was slow)."""
    dropped: int | None
    """How many, at least; None if nobody knows."""
    cursor: str
    """Where it goes on behind the gap; may be empty."""


@dataclass(slots=True)
class _Chunk:
    """One frame's worth in the buffer."""

    events: Sequence[event_pb2.Event]
    cursor: str
    size: int
    gap: GatewayError | None = None
    next: int = 0


class Subscription:
    """`async for event in subscription`; `async with` ends it at the end of the block.

    Entering the block waits until the daemon has accepted it. What happened to the events is told in three ways: an
    EventsLost (or HistoryLost) is raised in their place, and iterating again goes on behind the gap; `on_gap`, if
    given, is called instead; any other GatewayError is the end. Ephemeral events that are published while there is no
    connection are not among what is told; `connects` counts how often that may have been.
    """

    def __init__(
        self,
        conversation: Conversation,
        name: str,
        request: pb.Subscribe,
        backoff: Backoff,
        *,
        on_gap: Callable[[Gap], None] | None,
        buffer_bytes: int,
    ) -> None:
        self.cursor = request.since
        """Give it as `since` to go on later: behind the last event taken, rounded down to a whole frame, so that a
        few may come twice but none is left out. It advances only when the events are taken, not when they arrive."""
        self.connects = 0
        self._conversation = conversation
        self._name = name
        self._request = request
        self._backoff = backoff
        self._on_gap = on_gap
        self._received = request.since
        self._chunks: deque[_Chunk] = deque()
        self._ready = asyncio.Event()
        self._room = Room(buffer_bytes)
        self._started = asyncio.Event()
        self._error: GatewayError | None = None
        self._closed = False
        self._link: Link | None = None
        self._paused: asyncio.Future[None] | None = None
        self._missed = 0

    async def started(self) -> Subscription:
        """Wait until the daemon has accepted it for the first time. GatewayError if it is refused."""
        await self._started.wait()
        if self._error is not None:
            raise self._error
        return self

    def close(self) -> None:
        """End it; what is buffered is dropped and iteration stops."""
        self._closed = True
        self._chunks.clear()
        self._room.close()
        self._wake()

    async def __aenter__(self) -> Subscription:
        return await self.started()

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        self.close()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> event_pb2.Event:
        while True:
            if self._closed:
                raise StopAsyncIteration
            if self._chunks:
                event = self._next()
                if event is not None:
                    return event
                continue
            if self._error is not None:
                raise self._error
            self._ready.clear()
            await self._ready.wait()

    def _next(self) -> event_pb2.Event | None:
        """The next event; None after a gap that was only told. EventsLost for a gap."""
        chunk = self._chunks[0]
        event = chunk.events[chunk.next] if chunk.next < len(chunk.events) else None
        chunk.next += 1
        if chunk.next >= len(chunk.events):
            self._chunks.popleft()
            self.cursor = chunk.cursor or self.cursor
            self._room.free(chunk.size)
        if chunk.gap is None:
            return event
        if self._on_gap is None or not isinstance(chunk.gap, EventsLost) or not isinstance(chunk.gap.gap, Gap):
            raise chunk.gap
        self._on_gap(chunk.gap.gap)
        return event

    async def run(self) -> None:
        """Subscribe, and again after whatever ended it, until it is closed or refused. A task of the client."""
        try:
            while not self._closed:
                link = await self._conversation.link()
                try:
                    await self._follow(link)
                except LinkLost:
                    continue
        except GatewayError as error:
            self._fail(error)

    def _fail(self, error: GatewayError) -> None:
        self._error = error
        self._wake()

    def _wake(self) -> None:
        for event in (self._ready, self._started):
            event.set()
        self._pause()

    def _pause(self) -> None:
        if self._paused is not None and not self._paused.done():
            self._paused.set_result(None)

    async def _follow(self, link: Link) -> None:
        """One subscription on one link, to its end."""
        name = f"{self._name}.{self.connects}"
        self._link = link
        self._paused = asyncio.get_running_loop().create_future()
        over = link.route(name, self._feed)
        try:
            request = pb.Subscribe()
            request.CopyFrom(self._request)
            request.subscription_id, request.since = name, self._received
            try:
                accepted = await link.request(pb.ConnectRequest(subscribe=request))
            except HistoryLost as error:
                self._lost(error)
                return
            self._received = self._received or accepted.cursor
            self.cursor = self.cursor or accepted.cursor
            self.connects += 1
            self._started.set()
            await asyncio.wait((over, self._paused), return_when=asyncio.FIRST_COMPLETED)
            if over.done():
                await self._ended(over.result())
            else:
                await link.request(pb.ConnectRequest(unsubscribe=pb.Unsubscribe(subscription_id=name)))
        finally:
            link.unroute(name)
        await self._drained()

    async def _ended(self, ended: pb.Ended) -> None:
        """Decide by the last word: raises what is final, returns to subscribe again."""
        error = from_frame(ended.error) if ended.HasField("error") else None
        if ended.reason == pb.END_REASON_HISTORY_LOST or isinstance(error, HistoryLost):
            self._lost(error or HistoryLost("history was lost", code=11, reason="HISTORY_LOST"))
        elif ended.reason == pb.END_REASON_REVOKED:
            raise error or PermissionDenied("this subscription is no longer allowed", code=7)
        elif ended.reason not in (pb.END_REASON_SLOW_CONSUMER, pb.END_REASON_UNSUBSCRIBED):
            # The connection goes as well, as a rule; if it does not, do not hammer it.
            await self._conversation.pause(self._backoff.next(error.retry_after if error else None))
        self._received = self._received or ended.cursor

    def _lost(self, error: GatewayError) -> None:
        oldest = error.metadata.get("oldest_cursor", "")
        gap = Gap("history_lost", None, oldest)
        told = HistoryLost(error.message, gap, code=error.code, reason=error.reason, metadata=error.metadata)
        self._put(_Chunk((), oldest, 0, gap=told))
        # Without an oldest cursor the only place that is known to exist is now.
        self._received = oldest

    async def _drained(self) -> None:
        """After a pause: until the reader has made room for more than a drop."""
        await self._room.wait_drained()
        if self._missed:
            self._gap("paused", self._missed, "")
            self._missed = 0

    async def _feed(self, frame: pb.ConnectResponse) -> None:
        """Take what the link has read; the link reads on when this returns."""
        if self._closed or self._paused is None or self._paused.done():
            self._skip(frame)
        elif frame.HasField("progress"):
            self._progress(frame.progress.cursor)
        elif frame.HasField("gap"):
            self._gap("dropped", frame.gap.dropped, frame.gap.cursor)
            self._received = frame.gap.cursor or self._received
        elif await self._room.wait(self._link):
            delivery = frame.delivery
            self._put(_Chunk(delivery.events, delivery.cursor, frame.ByteSize()))
            self._received = delivery.cursor or self._received
        else:
            self._skip(frame)
            self._pause()

    def _skip(self, frame: pb.ConnectResponse) -> None:
        self._missed += sum(1 for event in frame.delivery.events if not event.HasField("seq"))

    def _progress(self, cursor: str) -> None:
        self._received = cursor or self._received
        if self._chunks:
            self._chunks[-1].cursor = cursor or self._chunks[-1].cursor
        else:
            self.cursor = cursor or self.cursor

    def _gap(self, reason: str, dropped: int, cursor: str) -> None:
        lost = EventsLost(f"at least {dropped} events were dropped ({reason})", Gap(reason, dropped, cursor))
        self._put(_Chunk((), cursor, 0, gap=lost))

    def _put(self, chunk: _Chunk) -> None:
        self._chunks.append(chunk)
        self._room.take(chunk.size)
        self._ready.set()

    def client_closed(self) -> None:
        """The client is closing: the reader gets what is buffered, then ClientClosed."""
        self._fail(ClientClosed("the client is closed", code=1))

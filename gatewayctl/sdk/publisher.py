"""Publishing in batches: what is ready at the same time goes out in one frame.

In Python gRPC a frame costs twenty times what an event in it costs. A few frames may be under way at once; while they
are, everything else gathers. A batch that was not answered when its link was lost goes out again on the next one with
the same ids, which the daemon recognises: nothing is lost, nothing is stored twice.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from gateway.v1 import event_pb2
from gateway.v1 import event_service_pb2 as pb
from google.protobuf.message import DecodeError

from gatewayctl.sdk.conversation import Conversation
from gatewayctl.sdk.errors import ClientClosed, GatewayError, LimitExceeded
from gatewayctl.sdk.link import Link, LinkLost
from gatewayctl.sdk.objects import too_deep
from gatewayctl.sdk.pace import Ids

MAX_EVENTS = 1000
"""Events in a batch, by the contract."""
MAX_BYTES = 512 << 10
"""Bytes in a batch, unless what one call publishes is more."""
EVENT_FRAMING = 6
"""Bytes that an event costs in a frame beside its own, at most."""
FRAME_ROOM = 256
"""Bytes of a frame beside its events, at most."""
MAX_IN_FLIGHT = 4
"""Batches without an answer."""
MAX_WAITING_BYTES = 8 << 20
"""Bytes that wait for their turn; a publish beyond it waits in its caller."""


class Outcome(Protocol):
    """Who is told what became of events; a future, for one."""

    def done(self) -> bool:
        """Whether nobody waits for it; what was not sent by then is left out."""
        ...

    def add_done_callback(self, callback: Callable[[asyncio.Future[Any]], None], /) -> None:
        """Have it called when nobody waits for it any more."""
        ...

    def set_result(self, accepted: pb.Accepted, /) -> None:
        """They were taken."""
        ...

    def set_exception(self, error: BaseException, /) -> None:
        """They were not."""
        ...


@dataclass(slots=True, eq=False)
class _Entry:
    """What one call publishes together."""

    events: Sequence[event_pb2.Event]
    size: int
    outcome: Outcome
    alone: bool = False
    """Goes in a batch of its own: what the daemon answers, a refusal or a count, is for this one alone."""


@dataclass(slots=True, eq=False)
class _Batch:
    entries: list[_Entry] = field(default_factory=list)
    events: int = 0
    size: int = 0

    def takes(self, entry: _Entry, most: int) -> bool:
        if not self.entries:
            return True
        if entry.alone or self.entries[0].alone:
            return False
        return self.events + len(entry.events) <= MAX_EVENTS and self.size + entry.size <= min(MAX_BYTES, most)

    def add(self, entry: _Entry) -> None:
        self.entries.append(entry)
        self.events += len(entry.events)
        self.size += entry.size


class Publisher:
    """One per client; `run` is its task."""

    def __init__(self, conversation: Conversation, ids: Ids) -> None:
        self._conversation = conversation
        self._ids = ids
        self._queue: deque[_Entry] = deque()
        self._waiting_bytes = 0
        self._in_flight: list[_Batch] = []
        self._work = asyncio.Event()
        self._room = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._error: GatewayError | None = None

    async def publish(self, events: Sequence[event_pb2.Event]) -> str:
        """Publish in order and return the cursor of the last durable event, empty if all were ephemeral.

        Up to 1000 events are taken as a whole or not at all; more are taken in several such parts. Ids that are
        empty are filled in place. A caller that is cancelled does not know whether its events were published.
        """
        cursor = ""
        for start in range(0, len(events), MAX_EVENTS):
            part = events[start : start + MAX_EVENTS]
            for event in part:
                if not event.id:
                    event.id = self._ids.new()
            cursor = (await self._publish(part)).cursor or cursor
        return cursor

    async def announce(self, events: Sequence[event_pb2.Event]) -> int:
        """Publish up to 1000 events together, and return how many clients they are addressed to."""
        for event in events:
            event.id = event.id or self._ids.new()
        return (await self._publish(events, alone=True)).count

    async def put(self, events: Sequence[event_pb2.Event], outcome: Outcome, *, alone: bool = False) -> None:
        """Queue up to 1000 events with ids together, once there is room."""
        if self._waiting_bytes >= MAX_WAITING_BYTES:
            outcome.add_done_callback(lambda _: self._room.set())
        while self._waiting_bytes >= MAX_WAITING_BYTES and self._error is None and not outcome.done():
            self._room.clear()
            await self._room.wait()
        if self._error is not None:
            raise self._error
        size = sum(event.ByteSize() for event in events) + EVENT_FRAMING * len(events)
        self._queue.append(_Entry(events, size, outcome, alone))
        self._waiting_bytes += size
        self._idle.clear()
        self._work.set()

    async def flush(self) -> None:
        """Return when everything that was published has its answer, but for what nobody waits for and was not sent."""
        self._queue = deque([entry for entry in self._queue if not entry.outcome.done()])
        self._waiting_bytes = sum(entry.size for entry in self._queue)
        self._settle()
        await self._idle.wait()

    async def run(self) -> None:
        """Send batches, over as many links as needed."""
        try:
            while True:
                link = await self._conversation.link()
                try:
                    await self._pump(link)
                except LinkLost:
                    continue
        except GatewayError as error:
            self.fail(error)

    def fail(self, error: GatewayError) -> None:
        """Nothing will be sent any more."""
        self._error = error
        for entry in [*(entry for batch in self._in_flight for entry in batch.entries), *self._queue]:
            if not entry.outcome.done():
                entry.outcome.set_exception(error)
        self._queue.clear()
        self._in_flight.clear()
        self._waiting_bytes = 0
        self._settle()

    async def _publish(self, events: Sequence[event_pb2.Event], *, alone: bool = False) -> pb.Accepted:
        done: asyncio.Future[pb.Accepted] = asyncio.get_running_loop().create_future()
        await self.put(events, done, alone=alone)
        return await done

    async def _pump(self, link: Link) -> None:
        most = link.max_message_bytes - FRAME_ROOM
        for batch in list(self._in_flight):
            if batch.size > most:  # the daemon that came back takes less than the one before
                self._in_flight.remove(batch)
                self._split(batch)
            else:
                await self._send(link, batch)
        while True:
            while not link.lost and (not self._queue or len(self._in_flight) >= MAX_IN_FLIGHT):
                self._work.clear()
                await self._work.wait()
            await asyncio.sleep(0)  # whoever is ready in this turn of the loop joins the batch
            if link.lost:
                raise LinkLost
            batch = self._gather(most)
            if batch.entries:
                await self._send(link, batch)

    def _gather(self, most: int) -> _Batch:
        """The next batch, which is in flight from now on: it may only be answered or fail. `most`: bytes."""
        batch = _Batch()
        while self._queue and batch.takes(self._queue[0], most):
            entry = self._queue.popleft()
            self._waiting_bytes -= entry.size
            if entry.size > most and not entry.outcome.done():
                entry.outcome.set_exception(_too_large(entry, most))
            elif not entry.outcome.done():
                batch.add(entry)
        if batch.entries:
            self._in_flight.append(batch)
        self._settle()
        return batch

    async def _send(self, link: Link, batch: _Batch) -> None:
        try:
            publish = pb.Publish(events=[event for entry in batch.entries for event in entry.events])
            frame = pb.ConnectRequest(publish=publish)
        except DecodeError:  # far beyond the depth that the daemon takes, protobuf does not even copy
            self._over(batch, too_deep("events"))
            return
        answer = await link.start(frame)
        answer.add_done_callback(lambda future: self._answered(batch, future))

    def _answered(self, batch: _Batch, answer: asyncio.Future[pb.Accepted]) -> None:
        error = answer.exception() if not answer.cancelled() else LinkLost()
        if batch not in self._in_flight or isinstance(error, LinkLost):
            self._work.set()
            return
        self._over(batch, error or answer.result())

    def _over(self, batch: _Batch, outcome: pb.Accepted | BaseException) -> None:
        self._in_flight.remove(batch)
        if isinstance(outcome, BaseException) and len(batch.entries) > 1:
            self._split(batch)
        else:
            for entry in batch.entries:
                if entry.outcome.done():
                    continue
                if isinstance(outcome, BaseException):
                    entry.outcome.set_exception(outcome)
                else:
                    entry.outcome.set_result(outcome)
        self._settle()

    def _split(self, batch: _Batch) -> None:
        """Nothing of a refused batch was taken: let each caller's part speak for itself."""
        for entry in reversed(batch.entries):
            entry.alone = True
            self._waiting_bytes += entry.size
            self._queue.appendleft(entry)

    def _settle(self) -> None:
        self._work.set()
        if self._waiting_bytes < MAX_WAITING_BYTES:
            self._room.set()
        if not self._queue and not self._in_flight:
            self._idle.set()

    def closed(self) -> None:
        """The client is closing: what is still here will not be sent."""
        self.fail(ClientClosed("the client was closed before the daemon had answered", code=1))


def _too_large(entry: _Entry, most: int) -> LimitExceeded:
    what = "the event is" if len(entry.events) == 1 else f"the {len(entry.events)} events published together are"
    return LimitExceeded(
        f"{what} {entry.size} bytes; the daemon takes {most} in one message (gateway.limits.message_bytes)",
        code=8,
        reason="LIMIT_EXCEEDED",
        metadata={"limit": "message_bytes"},
    )

"""Saying what became of deliveries: what is ready in one turn of the loop goes out in one frame.

An acknowledgement that was not answered when its link was lost goes out again on the next one: the daemon counts it
once. A refusal to take a delivery does not, since a lost connection makes the delivery come again anyway.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import islice

from gateway.v1 import event_service_pb2 as pb

from gatewayctl.sdk.conversation import Conversation
from gatewayctl.sdk.errors import ClientClosed, GatewayError, LimitExceeded, Unavailable
from gatewayctl.sdk.link import Link, LinkLost

__all__ = ["Acks"]

MAX_IDS = 1000
"""Deliveries in a frame, by the contract."""
MAX_IN_FLIGHT = 4
"""Frames without an answer."""
MAX_WAITING = 10_000
"""Deliveries whose answer is not there yet; one more waits in its caller."""
RETRY = 1.0
"""Seconds until a frame goes out again that the daemon could not take now, unless it says how long."""


class Acks:
    """One per client; `run` is its task."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        self._handled: dict[str, None] = {}
        self._failed: dict[str, None] = {}
        self._in_flight: list[tuple[str, ...]] = []
        self._hold = 0.0
        self._work = asyncio.Event()
        self._changed = asyncio.Event()
        self._error: GatewayError | None = None

    def handled(self, delivery_id: str) -> None:
        """It was handled; does not wait."""
        self._handled[delivery_id] = None
        self._work.set()

    def failed(self, delivery_id: str) -> None:
        """It failed, and is to come again; does not wait."""
        self._failed[delivery_id] = None
        self._work.set()

    async def room(self) -> None:
        """Wait while too many have no answer. GatewayError once nothing can be said any more."""
        while self._unanswered >= MAX_WAITING and self._error is None:
            await self._change()
        if self._error is not None:
            raise self._error

    async def flush(self) -> None:
        """Return when everything has its answer, or never will have one."""
        while self._unanswered and self._error is None:
            await self._change()

    async def run(self) -> None:
        """Send frames, over as many links as needed."""
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
        self._error = self._error or error
        self._changed.set()

    def closed(self) -> None:
        """The client is closing."""
        self.fail(ClientClosed("the client is closed", code=1))

    @property
    def _unanswered(self) -> int:
        return len(self._handled) + len(self._failed) + sum(len(each) for each in self._in_flight)

    async def _change(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _pump(self, link: Link) -> None:
        while True:
            idle = not (self._handled or self._failed)
            while not link.lost and (idle or len(self._in_flight) >= MAX_IN_FLIGHT):
                self._work.clear()
                await self._work.wait()
                idle = not (self._handled or self._failed)
            if self._hold:
                await self._conversation.pause(self._hold)
                self._hold = 0.0
            await asyncio.sleep(0)  # whatever is ready in this turn of the loop joins the frame
            if link.lost:
                raise LinkLost
            await self._send(link, self._handled)
            await self._send(link, self._failed)

    async def _send(self, link: Link, waiting: dict[str, None]) -> None:
        ids = tuple(islice(waiting, MAX_IDS))
        if not ids:
            return
        handled = waiting is self._handled
        frame = pb.ConnectRequest(ack=pb.Ack(delivery_ids=ids))
        if not handled:
            frame = pb.ConnectRequest(nack=pb.Nack(delivery_ids=ids))
        for each in ids:
            del waiting[each]
        self._in_flight.append(ids)
        try:
            answer = await link.start(frame)
        except LinkLost as lost:
            self._settle(ids, lost, handled=handled)
            raise
        answer.add_done_callback(partial(self._answered, ids, handled))

    def _answered(self, ids: tuple[str, ...], handled: bool, answer: asyncio.Future[pb.Accepted]) -> None:
        self._settle(ids, LinkLost() if answer.cancelled() else answer.exception(), handled=handled)

    def _settle(self, ids: tuple[str, ...], error: BaseException | None, *, handled: bool) -> None:
        self._in_flight.remove(ids)
        lost, busy = isinstance(error, LinkLost), isinstance(error, Unavailable | LimitExceeded)
        if busy and isinstance(error, GatewayError):
            self._hold = error.retry_after or RETRY
        if busy or (lost and handled):
            waiting = self._handled if handled else self._failed
            waiting |= dict.fromkeys(ids)
        self._work.set()
        self._changed.set()

"""Requests by events: a question goes to its target, and the answer comes back to the client that asked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from gateway.v1 import event_pb2

from gatewayctl.sdk.awaited import Awaited
from gatewayctl.sdk.pace import Ids
from gatewayctl.sdk.publisher import Publisher

__all__ = ["Requests"]


class _Open(Protocol):
    client_id: str
    _awaited: Awaited
    _ids: Ids
    _publisher: Publisher

    def _need_open(self) -> None: ...

    async def publish(self, events: event_pb2.Event | Iterable[event_pb2.Event]) -> str: ...


class Requests:
    """A part of `Client`."""

    async def request(self: _Open, event: event_pb2.Event, *, timeout: float | None = 30.0) -> event_pb2.Event:
        """Publish an event with a `target`, a client or an agent, and return the event that answers it.

        That is the first one with this client as its target and the same correlation id. A subscription that selects
        it brings it, too; `addressed()` does not. An empty id and correlation id are filled in place.

        `timeout` in seconds, None for as long as it takes: DeadlineExceeded, and an answer that is late comes by
        `addressed()`. NotFound for a target that nobody is known by. ValueError for an event without a target, or on
        a stream of its own, since answers go there; and while another request with that correlation id waits.
        LimitExceeded while 100,000 do. A lost connection is no error: the question is said again if it may not have
        arrived, and an answer waits for the daemon's `reconnect_timeout`. One that was under way when the connection
        broke, or found no room meanwhile, is lost: the timeout tells.
        """
        self._need_open()
        if not event.target:
            raise ValueError("a request needs an event with a target")
        if event.stream_id not in ("", self.client_id):
            raise ValueError(f"the answer would go to the stream {event.stream_id!r}, not to this client")
        event.id = event.id or self._ids.new()
        event.correlation_id = event.correlation_id or event.id
        question = self._awaited.begin(event)
        timer = None
        if timeout is not None:
            timer = asyncio.get_running_loop().call_later(timeout, question.late)
        try:
            await self._publisher.put([event], question)
            return await question.answer
        finally:
            if timer is not None:
                timer.cancel()
            self._awaited.forget(question)

    async def answer(self: _Open, question: event_pb2.Event, event: event_pb2.Event) -> str:
        """Publish an event as the answer to one that was addressed to this client, or to an agent that it serves.

        Its target and correlation id are set in place. The cursor as from `publish`; NotFound if who asked is gone.
        ValueError for a question without a correlation id: nobody waits for the answer.
        """
        if not question.correlation_id:
            raise ValueError("the event has no correlation id, so nobody waits for an answer to it")
        event.target, event.correlation_id = question.stream_id, question.correlation_id
        return await self.publish(event)

"""One push topic as its reader sees it: a sequence of messages that outlives connections.

The buffer between the connection and the reader is bounded in bytes, with the rule of subscriptions for a full one:
the whole stream is not read on for a while, then what comes for this topic is passed over until the reader has made
room. Messages to be acknowledged come again by themselves after that; others are lost, and the reader is told.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any

from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import topic_pb2

from gatewayctl.sdk.acks import Acks
from gatewayctl.sdk.conversation import Conversation
from gatewayctl.sdk.copies import Copies, Item
from gatewayctl.sdk.errors import ClientClosed, EventsLost, GatewayError, LimitExceeded, TopicEnded, Unavailable
from gatewayctl.sdk.link import Link, LinkLost
from gatewayctl.sdk.pace import Backoff
from gatewayctl.sdk.repeat import repeated
from gatewayctl.sdk.room import Room
from gatewayctl.sdk.subscription import Gap
from gatewayctl.sdk.topic_message import Presence, TopicMessage

__all__ = ["Membership"]

_ENDS = {"TOPIC_NOT_FOUND": "deleted", "PUSH_DISABLED": "disabled"}

Start = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class Membership:
    """`async for message in membership`; `async with` ends it at the end of the block.

    Entering the block waits until the daemon has accepted it. Leaving the block ends a membership that does not
    acknowledge. One that does stays with the daemon, so that what is pushed waits for a client of the same id to join
    again; `leave` ends it for good. Where messages are missing an EventsLost is raised, and iterating again goes on
    behind it; with `on_gap` that is called instead. TopicEnded, or another GatewayError, is the end. Messages that are
    not to be acknowledged and are pushed while there is no connection are not among what is told; `connects` counts
    how often that may have been.
    """

    def __init__(
        self,
        conversation: Conversation,
        acks: Acks,
        request: pb.JoinTopic,
        backoff: Backoff,
        *,
        on_presence: Callable[[Presence], None] | None,
        on_gap: Callable[[Gap], None] | None,
        buffer_bytes: int,
        timeout: float,
        forget: Callable[[Membership], None],
    ) -> None:
        self.topic = request.topic
        self.acknowledged = request.acknowledged
        self.request = request
        """What is said when it joins, again and again."""
        self.connects = 0
        self.pending = 0
        """Messages that waited for this client when it joined last."""
        self._conversation = conversation
        self._acks = acks
        self._backoff = backoff
        self._on_presence = on_presence
        self._on_gap = on_gap
        self._timeout = timeout
        self._forget = forget
        self._items: deque[Item] = deque()
        self._room = Room(max(1, buffer_bytes))
        self._copies = Copies()
        self._link: Link | None = None
        self._stalled = False
        self._missed = 0
        self._ready = asyncio.Event()
        self._started = asyncio.Event()
        self._error: GatewayError | None = None
        self._closed = False
        self._task: asyncio.Task[None] | None = None

    def begin(self, start: Start) -> Membership:
        """Join, in a task of the client's."""
        self._task = start(self._run(), "membership")
        return self

    async def started(self) -> Membership:
        """Wait until the daemon has accepted it for the first time. GatewayError if it is refused."""
        await self._started.wait()
        if self._error is not None and not self.connects:
            raise self._error
        return self

    def close(self) -> None:
        """Stop reading: what is buffered is dropped and iteration stops. The membership itself is left as it is."""
        self._closed = True
        self._items.clear()
        self._copies.clear()
        self._stop()

    async def leave(self) -> bool:
        """End the membership, after what was acknowledged; what still waits becomes dead letters. Whether it was one.

        DeadlineExceeded if the daemon does not answer in the client's `timeout`.
        """
        self.close()
        try:
            async with asyncio.timeout(self._timeout):
                await self._acks.flush()
        except TimeoutError:
            pass  # the daemon does not answer, as the next request will find out
        frame = pb.ConnectRequest(leave_topic=pb.LeaveTopic(topic=self.topic))
        return (await repeated(self._conversation, frame, self._timeout)).existed

    async def __aenter__(self) -> Membership:
        return await self.started()

    async def __aexit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        ended = self._error is not None
        self.close()
        if ended:
            return
        try:
            if not self.acknowledged:
                await self.leave()
                return
            async with asyncio.timeout(self._timeout):
                await self._acks.flush()
        except (GatewayError, TimeoutError):
            pass  # a daemon that hears nothing of this client ends the membership by itself

    def __aiter__(self) -> Membership:
        return self

    async def __anext__(self) -> TopicMessage:
        while True:
            if self._closed:
                raise StopAsyncIteration
            if self._items:
                if (message := self._next()) is not None:
                    return message
                continue
            if self._error is not None:
                raise self._error
            self._ready.clear()
            await self._ready.wait()

    def _next(self) -> TopicMessage | None:
        """The next message; None for what was told otherwise. EventsLost for a gap."""
        item = self._items.popleft()
        self._room.free(item.size)
        if self._stalled and self._room.drained:
            self._stalled = False
            if self._missed:
                self._gap("paused", self._missed)
                self._missed = 0
        value = item.value
        if isinstance(value, topic_pb2.TopicMessage):
            if value.delivery_id:
                self._copies.given(value)
            return TopicMessage(value, self._ack, self._nack)
        if isinstance(value, topic_pb2.PresenceChange) and self._on_presence is not None:
            self._on_presence(Presence.of(value))
        elif isinstance(value, EventsLost):
            if self._on_gap is None or not isinstance(value.gap, Gap):
                raise value
            self._on_gap(value.gap)
        return None

    async def _ack(self, message: TopicMessage) -> None:
        if not message.delivery_id:
            return
        await self._acks.room()
        if not self._copies.is_handled(message.message_id):
            self._copies.handled(message.message_id)
            self._acks.handled(message.delivery_id)

    async def _nack(self, message: TopicMessage) -> None:
        if not message.delivery_id:
            return
        await self._acks.room()
        if not self._copies.is_handled(message.message_id):
            self._acks.failed(message.delivery_id)

    # What the link brings

    @property
    def full(self) -> bool:
        return self._room.full and not self._stalled

    async def wait_for_room(self, link: Link) -> None:
        """Hold up the link for as long as that may be; what comes is passed over afterwards if there is no room."""
        if not await self._room.wait(link):
            self._stalled = True

    def take(self, link: Link, message: topic_pb2.TopicMessage) -> None:
        """A message, unless it is the copy of one that is here."""
        if link is not self._link:
            self._link = link
            self._copies.reconnected()
        if message.delivery_id and self._copies.is_handled(message.message_id):
            self._acks.handled(message.delivery_id)  # sent before the daemon had the acknowledgement, or that was lost
        elif message.delivery_id and self._copies.is_copy(message):
            return
        elif self._stalled:
            self._missed += not message.delivery_id
        elif (item := self._put(message, message.ByteSize())) and message.delivery_id:
            self._copies.waits(message.message_id, item)

    def presence_changed(self, change: topic_pb2.PresenceChange) -> None:
        """Somebody came, went or said something new."""
        if self._on_presence is None:
            return
        if self._stalled:
            self._missed += 1
        else:
            self._put(change, change.ByteSize())

    def dropped(self, count: int) -> None:
        """The daemon has dropped messages of this client, perhaps of this topic."""
        self._gap("dropped", count)

    def end(self, error: GatewayError) -> None:
        """Nothing will come any more: the reader gets what is buffered, then the error."""
        self._error = self._error or error
        self._stop()

    def client_closed(self) -> None:
        """The client is closing."""
        self.end(ClientClosed("the client is closed", code=1))

    def _gap(self, reason: str, count: int) -> None:
        lost = f"at least {count} messages of topics were dropped ({reason})"
        self._put(EventsLost(lost, Gap(reason, count, "")), 0)

    def _put(self, value: topic_pb2.TopicMessage | topic_pb2.PresenceChange | EventsLost, size: int) -> Item | None:
        if self._closed or self._error is not None:
            return None
        item = Item(value, size)
        self._items.append(item)
        self._room.take(size)
        self._ready.set()
        return item

    def _stop(self) -> None:
        self._room.close()
        self._ready.set()
        self._started.set()
        self._forget(self)
        if self._task is not None and self._task is not asyncio.current_task():
            self._task.cancel()

    async def _run(self) -> None:
        """Join, and again on every connection, until it is closed or refused."""
        try:
            while True:
                link = await self._conversation.link()
                try:
                    accepted = await link.request(pb.ConnectRequest(join_topic=self.request))
                except LinkLost:
                    continue
                except (LimitExceeded, Unavailable) as error:
                    if not self.connects:
                        raise
                    await self._conversation.pause(self._backoff.next(error.retry_after))
                    continue
                self._backoff.reset()
                self.pending = accepted.count
                self.connects += 1
                self._started.set()
                await link.gone.wait()
        except GatewayError as error:
            why = _ENDS.get(error.reason) if self.connects else None
            self.end(TopicEnded.of(self.topic, why) if why else error)

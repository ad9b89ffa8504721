"""The push topics of one connection: its requests about them, and what is pushed to it.

A membership belongs to the client: when its connection breaks, the next one of the same client finds it.
"""

from collections.abc import Awaitable, Callable

from gatewayd.access.principals import Principal
from gatewayd.core.clock import Clock
from gatewayd.core.frames import Accepted, ServerFrame
from gatewayd.core.push import (
    Ack,
    JoinTopic,
    LeaveTopic,
    Nack,
    Peer,
    Push,
    PushRequest,
    TopicDelivery,
    TopicEnded,
    TopicEndReason,
    UpdatePresence,
)
from gatewayd.push.house import PushHouse
from gatewayd.push.members import Client
from gatewayd.push.service import Push as PushParts
from gatewayd.push.topics import Wish

MAX_MESSAGES = 1000
"""Messages in one frame."""
MAX_FRAME = 256 * 1024
"""Bytes of messages in one frame, unless a single one is larger."""


class ConversationTopics:
    """Owned by one conversation, and the reader of its client. `wake` is called when there may be something to send."""

    __slots__ = ("_client", "_clock", "_gone", "_house", "_peer", "_principal", "_push", "_put", "_wake", "have_news")

    polls = False

    def __init__(
        self,
        *,
        push: PushParts,
        principal: Principal,
        clock: Clock,
        wake: Callable[[], None],
        put: Callable[[ServerFrame], None],
    ) -> None:
        self._push = push
        self._principal = principal
        self._clock = clock
        self._wake = wake
        self._put = put
        self._peer = Peer(principal.id, "")
        self._house: PushHouse | None = None
        self._client: Client | None = None
        self._gone = False
        self.have_news = False
        """Whether `next_frame` may have one."""

    def welcomed(self, client_id: str) -> None:
        """The client is known now; what it was a member of before goes on."""
        self._peer = Peer(self._principal.id, client_id)
        if self._push.is_on and self._peer in self._push.house.topics.clients:
            self._attach()

    def detach(self, *, lost: bool, active: float) -> None:
        """The connection is over; `lost` if it broke, `active` is when its last frame came, Unix seconds."""
        self._gone = True
        client, self._client = self._client, None
        if client is not None and self._house is not None:
            silent = max(0.0, self._clock.now() - active)
            self._house.clients.detach(client, self, lost=lost, silent_for=silent)

    # As the reader of its client

    def wake(self) -> None:
        self.have_news = True
        self._wake()

    def ended(self, topic: str, reason: TopicEndReason) -> None:
        self._put(TopicEnded(topic, reason))

    def next_frame(self, room: int = MAX_FRAME) -> TopicDelivery | None:
        """What waits, up to the bounds of a frame. A message that is larger has one of its own, with all the room."""
        self.have_news = False
        if self._client is None or self._house is None or self._client.reader is not self:
            return None
        frame = self._house.delivery.take(self._client, MAX_MESSAGES, room, alone=room >= MAX_FRAME)
        self.have_news = self._client.queue.has_news
        return frame

    # Requests

    def begin(self, frame: PushRequest) -> Awaitable[Accepted]:
        """Do what is asked, and answer when it is done. What can be refused at once is."""
        match frame:
            case Push():
                return self._pushed(frame)
            case JoinTopic():
                return self._joined(frame)
            case LeaveTopic():
                return self._left(frame)
            case UpdatePresence():
                return self._updated(frame)
            case Ack() | Nack():
                return self._acknowledged(frame)

    async def _pushed(self, frame: Push) -> Accepted:
        done = await self._push.publish(
            self._principal,
            self._peer.client_id,
            frame.topic,
            frame.data,
            acknowledged=frame.acknowledged,
            key=frame.idempotency_key,
        )
        return Accepted(frame.request_id, message_id=done.message_id, count=done.recipients)

    async def _joined(self, frame: JoinTopic) -> Accepted:
        self._push.check_join(self._principal, frame.topic, create_if_missing=frame.create_if_missing)
        wish = Wish(frame.acknowledged, frame.status, frame.metadata, frame.watch_presence)
        waiting = await self._push.join(
            self._principal, self._attach(), frame.topic, wish, create_if_missing=frame.create_if_missing
        )
        return Accepted(frame.request_id, count=waiting)

    async def _left(self, frame: LeaveTopic) -> Accepted:
        return Accepted(frame.request_id, existed=await self._push.leave(self._peer, frame.topic))

    async def _updated(self, frame: UpdatePresence) -> Accepted:
        self._push.update_presence(self._peer, frame.topic, frame.status, frame.metadata)
        return Accepted(frame.request_id)

    async def _acknowledged(self, frame: Ack | Nack) -> Accepted:
        note = self._push.ack if isinstance(frame, Ack) else self._push.nack
        return Accepted(frame.request_id, count=await note(self._peer, frame.delivery_ids))

    def _attach(self) -> Client:
        """The client, read for by this connection."""
        house = self._push.house
        client = self._client
        if client is None or self._house is not house or client.reader is not self:
            assert not self._gone, "a connection that is over joins nothing"
            client = self._client = house.attach(self._peer, self)
            self._house = house
        return client

"""`client.topics`: push topics, over the client's one connection."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import push_service_pb2, topic_pb2
from google.protobuf.message import Message
from google.protobuf.struct_pb2 import Struct

from gatewayctl.plain import enum_name
from gatewayctl.sdk.acks import Acks
from gatewayctl.sdk.conversation import Conversation
from gatewayctl.sdk.errors import ClientClosed, TopicEnded, Unavailable
from gatewayctl.sdk.link import Link, LinkLost
from gatewayctl.sdk.membership import Membership, Start
from gatewayctl.sdk.objects import fill
from gatewayctl.sdk.pace import Ids
from gatewayctl.sdk.repeat import late, repeated
from gatewayctl.sdk.room import BUFFER_BYTES
from gatewayctl.sdk.subscription import Gap
from gatewayctl.sdk.topic_message import Presence

__all__ = ["Members", "Topics"]

PAGE = 1000
"""Items that a list call is asked for at a time."""

_Answer = TypeVar("_Answer", bound=Message)


class _Call(Protocol):
    async def __call__(self, method: str, request: Message, answer: type[_Answer], /) -> _Answer: ...


class Members:
    """The memberships of one client by topic: where what a link brings for topics goes."""

    def __init__(self) -> None:
        self.by_topic: dict[str, Membership] = {}

    async def feed(self, link: Link, frame: pb.ConnectResponse) -> None:
        """Take what the link has read; the link reads on when this returns."""
        if frame.HasField("topic_ended"):
            if member := self.by_topic.get(frame.topic_ended.topic):
                reason = enum_name(pb.TopicEndReason.DESCRIPTOR, frame.topic_ended.reason)
                member.end(TopicEnded.of(member.topic, reason))
            return
        delivery = frame.topic_delivery
        if delivery.dropped:  # the daemon does not say of which topic
            for member in self.by_topic.values():
                member.dropped(delivery.dropped)
        topics = {each.topic for each in delivery.messages} | {each.topic for each in delivery.presence_changes}
        if full := [member for topic in topics if (member := self.by_topic.get(topic)) and member.full]:
            await asyncio.gather(*(member.wait_for_room(link) for member in full))
        for message in delivery.messages:
            if member := self.by_topic.get(message.topic):
                member.take(link, message)
        for change in delivery.presence_changes:
            if member := self.by_topic.get(change.topic):
                member.presence_changed(change)

    def forget(self, member: Membership) -> None:
        """It has ended."""
        if self.by_topic.get(member.topic) is member:
            del self.by_topic[member.topic]


class Topics:
    """Joining, pushing, and who is there."""

    def __init__(
        self,
        conversation: Conversation,
        members: Members,
        call: _Call,
        *,
        start: Start,
        ids: Ids,
        timeout: float,
    ) -> None:
        self._conversation = conversation
        self._members = members
        self._call = call
        self._start = start
        self._ids = ids
        self._timeout = timeout
        self._acks = Acks(conversation)
        self._open = False

    def join(
        self,
        topic: str,
        *,
        acknowledged: bool = False,
        create_if_missing: bool = False,
        status: str = "",
        metadata: Mapping[str, Any] | None = None,
        on_presence: Callable[[Presence], None] | None = None,
        on_gap: Callable[[Gap], None] | None = None,
        buffer_bytes: int = BUFFER_BYTES,
    ) -> Membership:
        """Be on a topic: `async with client.topics.join("orders") as messages: async for message in messages: ...`

        With `acknowledged`, messages that ask for it wait for this client (by its `client_id`) while it is away, and
        come again until `message.ack()`; they are told by `message.redelivered`, and those that are handled already
        are not given again. `status` and `metadata` are what this client says of itself. `on_presence` is called,
        between the messages, for who comes and goes. It survives reconnects; see `Membership` for what is lost.
        `buffer_bytes` bounds what waits here for the reader, to one frame more than that; a reader that leaves it full
        for seconds gets what is to be acknowledged later, as a retry. ValueError while the client is on the topic.
        """
        self._need_open()
        if topic in self._members.by_topic:
            raise ValueError(f"this client is on the topic {topic!r} already")
        request = pb.JoinTopic(
            topic=topic,
            acknowledged=acknowledged,
            create_if_missing=create_if_missing,
            status=status,
            metadata=None if metadata is None else _struct(metadata, "metadata"),
            watch_presence=on_presence is not None,
        )
        member = Membership(
            self._conversation,
            self._acks,
            request,
            self._conversation.new_backoff(),
            on_presence=on_presence,
            on_gap=on_gap,
            buffer_bytes=buffer_bytes,
            timeout=self._timeout,
            forget=self._members.forget,
        )
        self._members.by_topic[topic] = member
        return member.begin(self._start)

    async def push(
        self, topic: str, data: Mapping[str, Any], *, acknowledged: bool = False, idempotency_key: str = ""
    ) -> int:
        """Push a message to all members but this client, and return how many it was sent to or waits for.

        With `acknowledged` it is on disk for the members that acknowledge, and is pushed once however often the
        connection is lost meanwhile: a key is made up unless `idempotency_key` is given. Without, Unavailable says
        that the connection was lost before the answer, and nobody knows. DeadlineExceeded after the client's `timeout`.
        """
        self._need_open()
        if idempotency_key and not acknowledged:
            raise ValueError("an idempotency key holds only for a message that is to be acknowledged")
        push = pb.Push(topic=topic, data=_struct(data, "data"), acknowledged=acknowledged)
        if acknowledged:
            push.idempotency_key = idempotency_key or self._ids.new()
            return (await repeated(self._conversation, pb.ConnectRequest(push=push), self._timeout)).count
        try:
            async with asyncio.timeout(self._timeout):
                return (await (await self._begun(push))).count
        except LinkLost:
            lost = "the connection was lost before the daemon had answered: the message may have been pushed, or not"
            raise Unavailable(lost, code=14) from None
        except TimeoutError:
            raise late(self._timeout) from None

    async def update_presence(
        self, topic: str = "", *, status: str = "", metadata: Mapping[str, Any] | None = None
    ) -> None:
        """Say something new of this client on a topic, or on all that it has joined; an empty status is `online`.

        It is said again when the client comes back after a lost connection. NotFound if it is not on the topic.
        """
        self._need_open()
        said = None if metadata is None else _struct(metadata, "metadata")
        update = pb.UpdatePresence(topic=topic, status=status, metadata=said)
        await repeated(self._conversation, pb.ConnectRequest(update_presence=update), self._timeout)
        for name, member in self._members.by_topic.items():
            if topic in ("", name):
                member.request.status = status
                member.request.ClearField("metadata")
                if said is not None:
                    member.request.metadata.CopyFrom(said)

    async def find(self, pattern: str = "") -> list[topic_pb2.Topic]:
        """The topics that this client may see, by name; only those that the pattern selects, such as `orders.>`."""
        found: list[topic_pb2.Topic] = []
        token = ""
        while True:
            request = push_service_pb2.ListTopicsRequest(page_size=PAGE, page_token=token, pattern=pattern)
            answer = await self._call("PushService/ListTopics", request, push_service_pb2.ListTopicsResponse)
            found += answer.topics
            if not (token := answer.next_page_token):
                return found

    async def presence(self, topic: str) -> list[topic_pb2.TopicMember]:
        """Who is on a topic now. NotFound if there is no such topic."""
        found: list[topic_pb2.TopicMember] = []
        token = ""
        while True:
            request = push_service_pb2.GetPresenceRequest(topic=topic, page_size=PAGE, page_token=token)
            answer = await self._call("PushService/GetPresence", request, push_service_pb2.GetPresenceResponse)
            found += answer.members
            if not (token := answer.next_page_token):
                return found

    async def create(self, topic: str, metadata: Mapping[str, Any] | None = None) -> topic_pb2.Topic:
        """Make a topic; it stays until it is deleted. Conflict if it is there."""
        said = None if metadata is None else _struct(metadata, "metadata")
        request = push_service_pb2.CreateTopicRequest(topic=topic, metadata=said)
        answer = await self._call("PushService/CreateTopic", request, push_service_pb2.CreateTopicResponse)
        return answer.topic

    async def delete(self, topic: str) -> push_service_pb2.DeleteTopicResponse:
        """Delete a topic; its members are told, and what waited for them becomes dead letters."""
        request = push_service_pb2.DeleteTopicRequest(topic=topic)
        return await self._call("PushService/DeleteTopic", request, push_service_pb2.DeleteTopicResponse)

    def opened(self) -> None:
        """The client is open."""
        self._open = True
        self._start(self._acks.run(), "acks")

    async def flush(self) -> None:
        """Return when the daemon has answered to everything that was acknowledged."""
        await self._acks.flush()

    def closed(self) -> None:
        """The client is closing: readers get what is buffered, then ClientClosed."""
        self._open = False
        self._acks.closed()
        for member in list(self._members.by_topic.values()):
            member.client_closed()

    def _need_open(self) -> None:
        if not self._open:
            raise ClientClosed("the client is not open: use `async with Client() as client`", code=1)

    async def _begun(self, push: pb.Push) -> asyncio.Future[pb.Accepted]:
        """The answer to come of a push that is handed over to a link, once."""
        while True:
            try:
                return await (await self._conversation.link()).start(pb.ConnectRequest(push=push))
            except LinkLost:
                continue


def _struct(values: Mapping[str, Any], field: str) -> Struct:
    struct = Struct()
    fill(struct, values, field)
    return struct

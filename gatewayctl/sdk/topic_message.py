"""What a push topic brings: messages, and who comes and goes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

from gateway.v1 import topic_pb2

from gatewayctl.plain import enum_name, free_values, seconds

__all__ = ["Presence", "TopicMessage"]

Settle = Callable[["TopicMessage"], Awaitable[None]]


class TopicMessage:
    """A message that was pushed to a topic."""

    __slots__ = (
        "_ack",
        "_nack",
        "data",
        "delivery_id",
        "message_id",
        "principal",
        "redelivered",
        "sender",
        "time",
        "topic",
    )

    def __init__(self, message: topic_pb2.TopicMessage, ack: Settle, nack: Settle) -> None:
        self.topic = message.topic
        self.message_id = message.message_id
        """The same for every member."""
        self.sender = message.client_id
        """Id of the client that pushed it; may be empty for a single call."""
        self.principal = message.principal
        """Whose client that is."""
        self.data: dict[str, Any] = free_values(message.data)
        self.time = seconds(message.publish_time)
        """When it was pushed, in seconds since the Unix epoch."""
        self.delivery_id = message.delivery_id
        """Empty where nothing is to be acknowledged."""
        self.redelivered = message.redelivered
        """How often it may have been delivered to this client before; 0 for the first time."""
        self._ack = ack
        self._nack = nack

    async def ack(self) -> None:
        """It is handled, and does not come again; nothing if it is not to be acknowledged.

        What is ready in one turn of the loop goes out together, on the next connection if this one is lost. Waits only
        while 10000 deliveries have no answer; the end of the membership's block and of the client wait for the answers.
        ClientClosed if it is too late.
        """
        await self._ack(self)

    async def nack(self) -> None:
        """It could not be handled, and is to come again at once, which counts as a retry; else as `ack`."""
        await self._nack(self)

    def __repr__(self) -> str:
        return f"<TopicMessage {self.message_id} on {self.topic}>"


@dataclass(frozen=True, slots=True)
class Presence:
    """A client on a topic came, went or said something new about itself."""

    topic: str
    client_id: str
    principal: str
    kind: str
    """`join`, `leave` or `update`."""
    status: str
    """What it says of itself; when it left, what it said last."""
    metadata: dict[str, Any]
    time: float
    """When that was noticed, in seconds since the Unix epoch."""

    @classmethod
    def of(cls, change: topic_pb2.PresenceChange) -> Presence:
        return cls(
            change.topic,
            change.client_id,
            change.principal,
            enum_name(topic_pb2.PresenceKind.DESCRIPTOR, change.kind),
            change.status,
            free_values(change.metadata),
            seconds(change.time),
        )

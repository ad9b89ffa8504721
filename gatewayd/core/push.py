"""What is said about push topics on a `Connect` conversation, free of any encoding, and the values behind it."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Any

from gatewayd.core.value import value

ONLINE = "online"
"""What a client says of itself when it says nothing."""


class PresenceKind(StrEnum):
    """What a client on a topic did."""

    JOIN = "join"
    LEAVE = "leave"
    UPDATE = "update"


class TopicEndReason(StrEnum):
    """Why the server ended a membership."""

    DELETED = "deleted"
    DISABLED = "disabled"


class TopicDeadReason(StrEnum):
    """Why a message was given up for a member."""

    RETRIES = "retries"
    EXPIRED = "expired"
    QUEUE_FULL = "queue_full"
    MEMBERSHIP_ENDED = "membership_ended"
    TOPIC_DELETED = "topic_deleted"


@value(frozen=True, slots=True)
class Peer:
    """A client: its id is unique among those of its principal. What it joins and what waits for it is kept by this."""

    principal: str
    client_id: str


@value(frozen=True, slots=True)
class PresenceChange:
    """Somebody on a topic came, went or said something new."""

    topic: str
    client_id: str
    principal: str
    kind: PresenceKind
    status: str
    metadata: Mapping[str, Any]
    time: float


@value(frozen=True, slots=True)
class MemberInfo:
    """A client on a topic, as others may see it."""

    peer: Peer
    present: bool
    acknowledged: bool
    status: str
    """'' while it is away, and then without metadata."""
    metadata: Mapping[str, Any]
    joined: float
    """Unix seconds."""
    pending: int
    """Deliveries that wait for it there."""


# Frames of the client


@value(frozen=True, slots=True)
class JoinTopic:
    request_id: str
    topic: str
    create_if_missing: bool = False
    acknowledged: bool = False
    """Whether the client acknowledges what asks for it."""
    status: str = ""
    metadata: Mapping[str, Any] | None = None
    watch_presence: bool = False


@value(frozen=True, slots=True)
class LeaveTopic:
    request_id: str
    topic: str


@value(frozen=True, slots=True)
class Push:
    request_id: str
    topic: str
    data: bytes
    """The encoding of a `google.protobuf.Struct`, checked; the same content has the same bytes."""
    acknowledged: bool = False
    idempotency_key: str = ""


@value(frozen=True, slots=True)
class UpdatePresence:
    request_id: str
    topic: str
    """'' is every topic that the client has joined."""
    status: str = ""
    metadata: Mapping[str, Any] | None = None


@value(frozen=True, slots=True)
class Ack:
    request_id: str
    delivery_ids: Sequence[str]


@value(frozen=True, slots=True)
class Nack:
    request_id: str
    delivery_ids: Sequence[str]


PushRequest = JoinTopic | LeaveTopic | Push | UpdatePresence | Ack | Nack


# Frames of the server


@value(frozen=True, slots=True)
class TopicDelivery:
    messages: Sequence[bytes]
    """Each the encoding of one `gateway.v1.TopicMessage`."""
    presence_changes: Sequence[PresenceChange]
    dropped: int = 0


@value(frozen=True, slots=True)
class TopicEnded:
    topic: str
    reason: TopicEndReason


# Calls of a client that polls; `token` is that of its registration


@value(frozen=True, slots=True)
class RegisterCall:
    client_id: str


@value(frozen=True, slots=True)
class Registered:
    """What a client that polls has to know; times in seconds."""

    client_id: str
    token: str
    wait: float
    heartbeat_interval: float
    expire_after: float


@value(frozen=True, slots=True)
class PollCall:
    token: str
    wait: float | None
    """Seconds; None is as long as the gateway lets one wait."""
    count: int
    """Messages at most; 0 is as many as the gateway gives."""


@value(frozen=True, slots=True)
class AckCall:
    token: str
    acks: Sequence[str]
    nacks: Sequence[str]


@value(frozen=True, slots=True)
class JoinCall:
    token: str
    topic: str
    create_if_missing: bool
    acknowledged: bool
    status: str
    metadata: Mapping[str, Any] | None
    watch_presence: bool


@value(frozen=True, slots=True)
class LeaveCall:
    token: str
    topic: str


@value(frozen=True, slots=True)
class HeartbeatCall:
    token: str
    status: str
    metadata: Mapping[str, Any] | None

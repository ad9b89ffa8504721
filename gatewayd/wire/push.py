"""Push frames and messages ↔ `core.push`.

A `TopicMessage` is made once for all its readers; what differs between them, the delivery, is appended, which is the
same on the wire (fields of one message may be joined).
"""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

from gateway.internal.v1 import frames_pb2
from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import topic_pb2
from google.protobuf.struct_pb2 import Struct

from gatewayd.core import push
from gatewayd.core.errors import InvalidArgument
from gatewayd.core.topic import check_topic
from gatewayd.wire.names import MAX_ID, name, required
from gatewayd.wire.values import check_struct, fill_struct, fill_time, object_from, refuse, valid_text

MAX_DATA = 256 * 1024
"""Bytes of what is pushed, encoded."""
MAX_STATUS = 64
MAX_DELIVERIES = 1000
"""Delivery ids in one frame or call."""

_ENDS = {reason: pb.TopicEndReason.Value(f"TOPIC_END_REASON_{reason.name}") for reason in push.TopicEndReason}
KINDS = {kind: topic_pb2.PresenceKind.Value(f"PRESENCE_KIND_{kind.name}") for kind in push.PresenceKind}


class Described(Protocol):
    """What says something of a client or a topic: frames and requests alike."""

    @property
    def metadata(self) -> Struct: ...

    def HasField(self, field_name: Any) -> bool: ...  # noqa: N802


def topic_of(text: str, path: str) -> str:
    """The name of a topic, or `InvalidArgument` under `path`."""
    try:
        return check_topic(required(text, path))
    except InvalidArgument as error:
        raise error if error.violations else refuse(path, error.message) from None


def data_bytes(data: Struct, path: str) -> bytes:
    """What is pushed, checked; the same content gives the same bytes."""
    if data.ByteSize() > MAX_DATA:
        raise refuse(path, f"is larger than {MAX_DATA} bytes")
    check_struct(data, path)
    return data.SerializeToString(deterministic=True)


def metadata_of(message: Described, path: str) -> dict[str, Any] | None:
    """What is said of a client or a topic; None when nothing is."""
    if not message.HasField("metadata"):
        return None
    check_struct(message.metadata, path)
    return object_from(message.metadata)


def status_of(text: str, path: str) -> str:
    """What a client says of itself in a word; may be empty."""
    return name(text, path, MAX_STATUS)


def delivery_ids(ids: Any, path: str) -> tuple[str, ...]:
    """From 1 to `MAX_DELIVERIES` ids, each once."""
    if not 1 <= len(ids) <= MAX_DELIVERIES:
        raise refuse(path, f"from 1 to {MAX_DELIVERIES} are wanted")
    return tuple(dict.fromkeys(required(one, path, MAX_ID) for one in ids))


# Frames of the client


def _join_topic(frame: frames_pb2.ConnectRequest) -> push.JoinTopic:
    join = frame.join_topic
    return push.JoinTopic(
        request_id=frame.request_id,
        topic=topic_of(join.topic, "join_topic.topic"),
        create_if_missing=join.create_if_missing,
        acknowledged=join.acknowledged,
        status=status_of(join.status, "join_topic.status"),
        metadata=metadata_of(join, "join_topic.metadata"),
        watch_presence=join.watch_presence,
    )


def _leave_topic(frame: frames_pb2.ConnectRequest) -> push.LeaveTopic:
    return push.LeaveTopic(frame.request_id, topic_of(frame.leave_topic.topic, "leave_topic.topic"))


def _push(frame: frames_pb2.ConnectRequest) -> push.Push:
    return push.Push(
        request_id=frame.request_id,
        topic=topic_of(frame.push.topic, "push.topic"),
        data=data_bytes(frame.push.data, "push.data"),
        acknowledged=frame.push.acknowledged,
        idempotency_key=name(frame.push.idempotency_key, "push.idempotency_key", MAX_ID),
    )


def _update_presence(frame: frames_pb2.ConnectRequest) -> push.UpdatePresence:
    update = frame.update_presence
    return push.UpdatePresence(
        request_id=frame.request_id,
        topic=topic_of(update.topic, "update_presence.topic") if update.topic else "",
        status=status_of(update.status, "update_presence.status"),
        metadata=metadata_of(update, "update_presence.metadata"),
    )


def _ack(frame: frames_pb2.ConnectRequest) -> push.Ack:
    return push.Ack(frame.request_id, delivery_ids(frame.ack.delivery_ids, "ack.delivery_ids"))


def _nack(frame: frames_pb2.ConnectRequest) -> push.Nack:
    return push.Nack(frame.request_id, delivery_ids(frame.nack.delivery_ids, "nack.delivery_ids"))


READERS: Mapping[str, Callable[[frames_pb2.ConnectRequest], push.PushRequest]] = MappingProxyType(
    {
        "join_topic": _join_topic,
        "leave_topic": _leave_topic,
        "push": _push,
        "update_presence": _update_presence,
        "ack": _ack,
        "nack": _nack,
    }
)


# What is pushed


def message_bytes(topic: str, message_id: str, sender: push.Peer, data: bytes, time: float) -> bytes:
    """The part of a `TopicMessage` that all readers share."""
    message = topic_pb2.TopicMessage(
        topic=topic, message_id=message_id, client_id=sender.client_id, principal=sender.principal
    )
    message.data.MergeFromString(data)
    fill_time(message.publish_time, time, "time")
    return message.SerializeToString(deterministic=True)


def renamed(message: bytes, message_id: str) -> bytes:
    """What `message_bytes` gave, as another message."""
    copy = topic_pb2.TopicMessage.FromString(message)
    copy.message_id = message_id
    return copy.SerializeToString(deterministic=True)


def delivered(message: bytes, delivery_id: str, redelivered: int) -> bytes:
    """The message with what is one reader's own."""
    return message + topic_pb2.TopicMessage(delivery_id=delivery_id, redelivered=redelivered).SerializeToString()


def presence_change(change: push.PresenceChange) -> topic_pb2.PresenceChange:
    message = topic_pb2.PresenceChange(
        topic=change.topic,
        client_id=change.client_id,
        principal=change.principal,
        kind=KINDS[change.kind],
        status=valid_text(change.status),
    )
    if change.metadata:
        fill_struct(message.metadata, change.metadata, "metadata")
    fill_time(message.time, change.time, "time")
    return message


def topic_delivery(frame: push.TopicDelivery) -> frames_pb2.ConnectResponse:
    """The messages are joined as they are."""
    body = frames_pb2.TopicDelivery(
        messages=frame.messages,
        presence_changes=[presence_change(one) for one in frame.presence_changes],
        dropped=frame.dropped,
    )
    return frames_pb2.ConnectResponse(topic_delivery=body)


def topic_ended(frame: push.TopicEnded) -> pb.ConnectResponse:
    return pb.ConnectResponse(topic_ended=pb.TopicEnded(topic=frame.topic, reason=_ENDS[frame.reason]))

"""What stories about push say and hear on raw streams."""

from collections.abc import Mapping, Sequence
from typing import Any

from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import topic_pb2
from google.protobuf.struct_pb2 import Struct

from tests.rigs.stream import RawStream

PUSH = "push: {enabled: true}\n"
"""The configuration of a daemon that serves push."""


def struct(data: Mapping[str, Any]) -> Struct:
    message = Struct()
    message.update(data)
    return message


def join_frame(topic: str, *, metadata: Mapping[str, Any] | None = None, **more: Any) -> pb.ConnectRequest:
    frame = pb.JoinTopic(topic=topic, **more)
    if metadata is not None:
        frame.metadata.update(metadata)
    return pb.ConnectRequest(join_topic=frame)


async def join(stream: RawStream, topic: str, **more: Any) -> pb.Accepted:
    """Join, and be accepted."""
    return await stream.accepted(await stream.ask(join_frame(topic, **more)))


async def push(stream: RawStream, topic: str, data: Mapping[str, Any], **more: Any) -> pb.Accepted:
    """Push, and be accepted."""
    frame = pb.Push(topic=topic, data=struct(data), **more)
    return await stream.accepted(await stream.ask(pb.ConnectRequest(push=frame)))


async def ack(stream: RawStream, *delivery_ids: str) -> int:
    """Acknowledge; how many of them were waiting."""
    frame = pb.ConnectRequest(ack=pb.Ack(delivery_ids=delivery_ids))
    return (await stream.accepted(await stream.ask(frame))).count


async def nack(stream: RawStream, *delivery_ids: str) -> int:
    """Refuse; how many of them come again."""
    frame = pb.ConnectRequest(nack=pb.Nack(delivery_ids=delivery_ids))
    return (await stream.accepted(await stream.ask(frame))).count


async def deliveries(stream: RawStream, *, timeout: float = 60.0) -> pb.TopicDelivery:
    """The next frame of what is pushed."""
    return (await stream.take("topic_delivery", timeout=timeout)).topic_delivery


async def pushed(stream: RawStream, count: int = 1, *, timeout: float = 60.0) -> list[topic_pb2.TopicMessage]:
    """The next messages, at least so many."""
    found: list[topic_pb2.TopicMessage] = []
    while len(found) < count:
        found += (await deliveries(stream, timeout=timeout)).messages
    return found


async def changes(stream: RawStream, count: int = 1, *, timeout: float = 60.0) -> list[tuple[str, str, str]]:
    """Who came and went: client, kind and status of the next changes, at least so many."""
    found: list[tuple[str, str, str]] = []
    while len(found) < count:
        for change in (await deliveries(stream, timeout=timeout)).presence_changes:
            kind = topic_pb2.PresenceKind.Name(change.kind).removeprefix("PRESENCE_KIND_").lower()
            found.append((change.client_id, kind, change.status))
    return found


async def nothing_more(stream: RawStream) -> None:
    """Nothing was pushed to this stream up to now. Answers pass data, so what waited comes between two of them."""
    for _ in range(2):
        request = await stream.ask(pb.ConnectRequest(ping=pb.Ping()))
        frame = await stream.take("pong", "topic_delivery", timeout=60.0)
        assert frame.request_id == request, frame


def texts(messages: Sequence[topic_pb2.TopicMessage]) -> list[str]:
    return [message.data["text"] for message in messages]

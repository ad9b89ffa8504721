"""Push topics, members and dead letters ↔ messages of `gateway.v1`."""

import json

from gateway.v1 import topic_pb2

from gatewayd.core.push import TopicDeadReason
from gatewayd.push.members import Topic
from gatewayd.rpc.convert import instant
from gatewayd.storage.push import TopicLetter
from gatewayd.wire.values import fill_struct

_REASONS = {reason: topic_pb2.TopicDeadReason.Value(f"TOPIC_DEAD_REASON_{reason.name}") for reason in TopicDeadReason}


def topic_message(topic: Topic) -> topic_pb2.Topic:
    """A topic as it is now."""
    message = topic_pb2.Topic(
        name=topic.name,
        owner=topic.owner,
        create_time=instant(topic.created),
        member_count=len(topic.members),
        present_count=topic.present,
        pending_count=topic.pending,
    )
    fill_struct(message.metadata, json.loads(topic.metadata), "metadata")
    return message


def letter_message(letter: TopicLetter) -> topic_pb2.TopicDeadLetter:
    """A message that was given up for a client."""
    return topic_pb2.TopicDeadLetter(
        id=str(letter.number),
        client_id=letter.peer.client_id,
        principal=letter.peer.principal,
        reason=_REASONS[letter.reason],
        attempts=letter.attempts,
        time=instant(letter.time),
        message=topic_pb2.TopicMessage.FromString(letter.wire),
    )

"""The push topics of the fake gateway: members by client id, and what waits for those that acknowledge."""

from typing import TYPE_CHECKING, Any

import grpc
from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import topic_pb2

from tests.ctl.refusal import Refusal

if TYPE_CHECKING:
    from tests.ctl.fake_gateway import Stream


class FakePush:
    """Memberships outlive streams, as they do within the daemon's `reconnect_timeout`."""

    REQUESTS = ("join_topic", "leave_topic", "push", "update_presence", "ack", "nack")

    def __init__(self, streams: "list[Stream]") -> None:
        self.members: dict[str, dict[str, pb.JoinTopic]] = {}
        self.pending: dict[tuple[str, str], dict[str, topic_pb2.TopicMessage]] = {}
        self.pushed: dict[str, int] = {}
        """Recipients by idempotency key."""
        self.frames: list[tuple[str, list[str]]] = []
        """Kind and delivery ids of each `ack` and `nack`."""
        self.joins: list[pb.JoinTopic] = []
        self.left: list[str] = []
        self.updates: list[pb.UpdatePresence] = []
        self.busy = 0
        """So many of the next frames are refused for now."""
        self._streams = streams
        self._count = 0

    def take(self, client_id: str, frame: pb.ConnectRequest) -> pb.Accepted:
        """Do what is asked for. Refusal."""
        if self.busy:
            self.busy -= 1
            raise Refusal(grpc.StatusCode.UNAVAILABLE, "STORE_BUSY", "the store is busy", retry_after=0.5)
        kind = frame.WhichOneof("frame")
        answer: pb.Accepted = getattr(self, f"_{kind}")(client_id, getattr(frame, str(kind)))
        return answer

    def say(
        self, topic: str, data: dict[str, Any], *, acknowledged: bool = False, sender: str = "other", dropped: int = 0
    ) -> int:
        """Push a message as `sender`; how many it is for."""
        recipients = 0
        for client_id, join in self._on(topic).items():
            if client_id == sender:
                continue
            message = self.message(topic, data, sender)
            if acknowledged and join.acknowledged:
                message.delivery_id = f"d{self._count}-{client_id}"
                self.pending.setdefault((topic, client_id), {})[message.delivery_id] = message
                recipients += 1
            elif self._stream_of(client_id):
                recipients += 1
            self.deliver(client_id, message, dropped=dropped)
        return recipients

    def message(self, topic: str, data: dict[str, Any], sender: str = "other") -> topic_pb2.TopicMessage:
        """A message with an id of its own."""
        self._count += 1
        message = topic_pb2.TopicMessage(
            topic=topic, message_id=f"t{self._count}", client_id=sender, principal="local", data=data
        )
        message.publish_time.FromMilliseconds(1_760_000_000_500)
        return message

    def deliver(self, client_id: str, *messages: topic_pb2.TopicMessage, dropped: int = 0, **more: Any) -> None:
        """One frame, if the client is there."""
        if stream := self._stream_of(client_id):
            stream.say(topic_delivery=pb.TopicDelivery(messages=messages, dropped=dropped, **more))

    def redeliver(self, client_id: str, topic: str) -> None:
        """What waits comes again, in a frame for each."""
        if self._stream_of(client_id) is None:
            return
        for message in self.pending.get((topic, client_id), {}).values():
            message.redelivered += 1
            self.deliver(client_id, message)

    def end(self, topic: str, reason: pb.TopicEndReason.ValueType = pb.TOPIC_END_REASON_DELETED) -> None:
        """End the topic for its members."""
        for client_id in self.members.pop(topic):
            self.pending.pop((topic, client_id), None)
            if stream := self._stream_of(client_id):
                stream.say(topic_ended=pb.TopicEnded(topic=topic, reason=reason))

    def _stream_of(self, client_id: str) -> "Stream | None":
        return next((each for each in self._streams if each.client_id == client_id), None)

    def _on(self, topic: str) -> dict[str, pb.JoinTopic]:
        if topic not in self.members:
            raise Refusal(grpc.StatusCode.NOT_FOUND, "TOPIC_NOT_FOUND", f"there is no topic {topic!r}")
        return self.members[topic]

    def _join_topic(self, client_id: str, join: pb.JoinTopic) -> pb.Accepted:
        if join.create_if_missing:
            self.members.setdefault(join.topic, {})
        self._on(join.topic)[client_id] = join
        self.joins.append(join)
        return pb.Accepted(existed=True, count=len(self.pending.get((join.topic, client_id), {})))

    def _leave_topic(self, client_id: str, leave: pb.LeaveTopic) -> pb.Accepted:
        self.left.append(leave.topic)
        self.pending.pop((leave.topic, client_id), None)
        return pb.Accepted(existed=self.members.get(leave.topic, {}).pop(client_id, None) is not None)

    def _push(self, client_id: str, push: pb.Push) -> pb.Accepted:
        key = push.idempotency_key or f"none-{len(self.pushed)}"
        if key not in self.pushed:
            self.pushed[key] = self.say(push.topic, dict(push.data), acknowledged=push.acknowledged, sender=client_id)
        return pb.Accepted(existed=True, count=self.pushed[key])

    def _update_presence(self, client_id: str, update: pb.UpdatePresence) -> pb.Accepted:
        if update.topic and client_id not in self.members.get(update.topic, {}):
            raise Refusal(grpc.StatusCode.NOT_FOUND, "NOT_FOUND", "this client is not on the topic")
        self.updates.append(update)
        return pb.Accepted(existed=True)

    def _ack(self, client_id: str, ack: pb.Ack) -> pb.Accepted:
        self.frames.append(("ack", list(ack.delivery_ids)))
        return pb.Accepted(existed=True, count=sum(self._settled(client_id, each) for each in ack.delivery_ids))

    def _settled(self, client_id: str, delivery_id: str) -> bool:
        mine = [waiting for (_, client), waiting in self.pending.items() if client == client_id]
        return any(waiting.pop(delivery_id, None) for waiting in mine)

    def _nack(self, client_id: str, nack: pb.Nack) -> pb.Accepted:
        self.frames.append(("nack", list(nack.delivery_ids)))
        for (_, client), waiting in self.pending.items():
            for message in waiting.values():
                if client == client_id and message.delivery_id in nack.delivery_ids:
                    message.redelivered += 1
                    self.deliver(client_id, message)
        return pb.Accepted(existed=True)

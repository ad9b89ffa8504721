"""The calls of a client that polls: messages of `gateway.v1` ↔ values."""

from collections.abc import Sequence

from gateway.v1 import push_service_pb2 as pb
from gateway.v1 import topic_pb2

from gatewayd.core.push import (
    AckCall,
    HeartbeatCall,
    JoinCall,
    LeaveCall,
    MemberInfo,
    PollCall,
    RegisterCall,
    Registered,
    TopicDelivery,
)
from gatewayd.wire.names import MAX_ID, name, required
from gatewayd.wire.push import delivery_ids, metadata_of, presence_change, status_of, topic_of
from gatewayd.wire.values import fill_struct, fill_time, refuse, span, span_from, valid_text


def register_call(request: pb.RegisterRequest) -> RegisterCall:
    return RegisterCall(name(request.client_id, "client_id", MAX_ID))


def poll_call(request: pb.PollRequest) -> PollCall:
    if request.max_messages < 0:
        raise refuse("max_messages", "is negative")
    wait = span_from(request.wait, "wait") if request.HasField("wait") else None
    return PollCall(_token(request.poll_token), wait, request.max_messages)


def ack_call(request: pb.AckRequest) -> AckCall:
    delivery_ids([*request.ack_ids, *request.nack_ids], "ack_ids")
    acks, nacks = tuple(dict.fromkeys(request.ack_ids)), tuple(dict.fromkeys(request.nack_ids))
    return AckCall(_token(request.poll_token), acks, nacks)


def join_call(request: pb.JoinTopicRequest) -> JoinCall:
    return JoinCall(
        token=_token(request.poll_token),
        topic=topic_of(request.topic, "topic"),
        create_if_missing=request.create_if_missing,
        acknowledged=request.acknowledged,
        status=status_of(request.status, "status"),
        metadata=metadata_of(request, "metadata"),
        watch_presence=request.watch_presence,
    )


def leave_call(request: pb.LeaveTopicRequest) -> LeaveCall:
    return LeaveCall(_token(request.poll_token), topic_of(request.topic, "topic"))


def heartbeat_call(request: pb.HeartbeatRequest) -> HeartbeatCall:
    return HeartbeatCall(
        _token(request.poll_token), status_of(request.status, "status"), metadata_of(request, "metadata")
    )


def _token(text: str) -> str:
    return required(text, "poll_token")


def register_response(made: Registered) -> pb.RegisterResponse:
    """What a client that polls has to know."""
    return pb.RegisterResponse(
        client_id=made.client_id,
        poll_token=made.token,
        wait=span(made.wait),
        heartbeat_interval=span(made.heartbeat_interval),
        expire_after=span(made.expire_after),
    )


def poll_response(found: TopicDelivery) -> pb.PollResponse:
    """What a poll has found."""
    return pb.PollResponse(
        messages=[topic_pb2.TopicMessage.FromString(one) for one in found.messages],
        presence_changes=[presence_change(one) for one in found.presence_changes],
        dropped=found.dropped,
    )


def presence_response(members: Sequence[MemberInfo], next_page_token: str) -> pb.GetPresenceResponse:
    """Who is on a topic."""
    return pb.GetPresenceResponse(members=[_member(one) for one in members], next_page_token=next_page_token)


def _member(info: MemberInfo) -> topic_pb2.TopicMember:
    message = topic_pb2.TopicMember(
        client_id=info.peer.client_id,
        principal=info.peer.principal,
        present=info.present,
        acknowledged=info.acknowledged,
        status=valid_text(info.status),
        pending_count=info.pending,
    )
    if info.metadata:
        fill_struct(message.metadata, info.metadata, "metadata")
    fill_time(message.join_time, info.joined, "join_time")
    return message


def ack_response(acks: int, nacks: int) -> pb.AckResponse:
    return pb.AckResponse(ack_count=acks, nack_count=nacks)


def join_response(waiting: int) -> pb.JoinTopicResponse:
    return pb.JoinTopicResponse(pending_count=waiting)


def leave_response(*, existed: bool) -> pb.LeaveTopicResponse:
    return pb.LeaveTopicResponse(existed=existed)


def heartbeat_response(seconds: float) -> pb.HeartbeatResponse:
    return pb.HeartbeatResponse(present_for=span(seconds))

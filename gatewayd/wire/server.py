"""The frames of the server: `core.frames` → bytes."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from gateway.internal.v1 import frames_pb2
from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import execution_pb2

from gatewayd.core import frames, push, workers
from gatewayd.core.event import Cursor
from gatewayd.core.work import ExecutionState
from gatewayd.wire.errors import error_to_proto
from gatewayd.wire.events import event_bytes
from gatewayd.wire.push import topic_delivery, topic_ended
from gatewayd.wire.values import span, valid_text
from gatewayd.wire.workers import call, cancel_call, registration_ended

_STEPS = {step: pb.RecoveryStep.Value(f"RECOVERY_STEP_{step.name}") for step in frames.RecoveryStep}
_ENDS = {reason: pb.EndReason.Value(f"END_REASON_{reason.name}") for reason in frames.EndReason}
_STATES = {state: execution_pb2.ExecutionState.Value(f"EXECUTION_STATE_{state.name}") for state in ExecutionState}


def encode_server_frame(frame: frames.ServerFrame) -> bytes:
    """The encoding of one `gateway.v1.ConnectResponse`."""
    if isinstance(frame, frames.Delivery):
        return encode_delivery(frame)
    return _WRITERS[type(frame)](frame).SerializeToString()


def encode_delivery(frame: frames.Delivery) -> bytes:
    """The same for the frame that is frequent: its events are joined as they are, once for all readers of the chunk."""
    chunk, ids = frame.chunk, frame.subscription_ids
    if (made := chunk.frame) is not None and made[0] == ids:
        return made[1]
    if not chunk.body:
        chunk.body = frames_pb2.Delivery(events=[event_bytes(event) for event in chunk.events]).SerializeToString()
    # Fields of one message may be joined: the two differ in theirs. What is of no subscription moves no cursor.
    cursor = _text(chunk.cursor) if ids else ""
    head = frames_pb2.Delivery(subscription_ids=ids, cursor=cursor).SerializeToString()
    data = frames_pb2.Packed(delivery=head + chunk.body).SerializeToString()
    chunk.frame = (ids, data)
    return data


def _text(cursor: Cursor | None) -> str:
    return str(cursor) if cursor else ""


def _welcome(frame: frames.Welcome) -> pb.ConnectResponse:
    policy = pb.Policy(
        max_message_bytes=frame.policy.max_message_bytes,
        max_queue_bytes=frame.policy.max_queue_bytes,
        heartbeat_interval=span(frame.policy.heartbeat_interval),
        reconnect_timeout=span(frame.policy.reconnect_timeout),
    )
    lost = [
        pb.LostSubscription(subscription_id=each.subscription_id, reason=_ENDS[each.reason], cursor=_text(each.cursor))
        for each in frame.lost
    ]
    welcome = pb.Welcome(
        protocol=frame.protocol,
        server_version=frame.server_version,
        features=frame.features,
        policy=policy,
        resume_token=frame.resume_token,
        resumed=frame.resumed,
        lost=lost,
        cursor=_text(frame.cursor),
        scopes=frame.scopes,
    )
    return pb.ConnectResponse(welcome=welcome)


def _refused(frame: frames.Refused) -> pb.ConnectResponse:
    return pb.ConnectResponse(refused=pb.Refused(error=error_to_proto(frame.error), step=_STEPS[frame.step]))


def _accepted(frame: frames.Accepted) -> pb.ConnectResponse:
    """The answer that is frequent: it mostly says no more than that, and each field that is given costs."""
    response = pb.ConnectResponse(request_id=frame.request_id)
    accepted = response.accepted
    accepted.SetInParent()
    if frame.cursor is not None:
        accepted.cursor = str(frame.cursor)
    if frame.execution_id or frame.message_id:
        accepted.execution_id, accepted.message_id = frame.execution_id, frame.message_id
    if frame.existed or frame.duplicate or frame.left:
        accepted.existed, accepted.duplicate, accepted.left = frame.existed, frame.duplicate, frame.left
    if frame.count:
        accepted.count = frame.count
    return response


def _rejected(frame: frames.Rejected) -> pb.ConnectResponse:
    return pb.ConnectResponse(request_id=frame.request_id, rejected=pb.Rejected(error=error_to_proto(frame.error)))


def _reply(frame: frames.Reply) -> pb.ConnectResponse:
    message = pb.ConnectResponse()
    message.request_id = frame.request_id
    reply = message.reply
    reply.execution_id = frame.execution_id
    reply.message_id = frame.message_id
    reply.content = valid_text(frame.content)
    reply.final = frame.final
    if frame.offset:
        reply.offset = frame.offset
    if frame.state is not None:
        reply.state = _STATES[frame.state]
    if frame.error is not None:
        reply.error.CopyFrom(error_to_proto(frame.error))
    if frame.reason:
        reply.reason = valid_text(frame.reason)
    return message


def _progress(frame: frames.Progress) -> pb.ConnectResponse:
    progress = pb.Progress(subscription_ids=frame.subscription_ids, cursor=_text(frame.cursor))
    return pb.ConnectResponse(progress=progress)


def _gap(frame: frames.Gap) -> pb.ConnectResponse:
    gap = pb.Gap(subscription_id=frame.subscription_id, dropped=frame.dropped, cursor=_text(frame.cursor))
    return pb.ConnectResponse(gap=gap)


def _ended(frame: frames.Ended) -> pb.ConnectResponse:
    ended = pb.Ended(
        subscription_id=frame.subscription_id,
        reason=_ENDS[frame.reason],
        cursor=_text(frame.cursor),
        error=error_to_proto(frame.error) if frame.error else None,
    )
    return pb.ConnectResponse(ended=ended)


def _pong(frame: frames.Pong) -> pb.ConnectResponse:
    return pb.ConnectResponse(request_id=frame.request_id, pong=pb.Pong())


def _goodbye(frame: frames.Goodbye) -> pb.ConnectResponse:
    goodbye = pb.Goodbye(
        reason=valid_text(frame.reason), reconnect_after=span(frame.reconnect_after), cursor=_text(frame.cursor)
    )
    return pb.ConnectResponse(goodbye=goodbye)


def _batch(frame: frames.ResponseBatch) -> frames_pb2.ConnectResponse:
    return frames_pb2.ConnectResponse(batch=frames_pb2.ResponseBatch(responses=frame.responses))


_WRITERS: Mapping[type, Callable[[Any], pb.ConnectResponse | frames_pb2.ConnectResponse]] = MappingProxyType(
    {
        frames.Welcome: _welcome,
        frames.Refused: _refused,
        frames.Accepted: _accepted,
        frames.Rejected: _rejected,
        frames.Reply: _reply,
        frames.Progress: _progress,
        frames.Gap: _gap,
        frames.Ended: _ended,
        frames.Pong: _pong,
        frames.Goodbye: _goodbye,
        push.TopicDelivery: topic_delivery,
        push.TopicEnded: topic_ended,
        workers.Call: call,
        workers.CancelCall: cancel_call,
        workers.RegistrationEnded: registration_ended,
        frames.ResponseBatch: _batch,
    }
)

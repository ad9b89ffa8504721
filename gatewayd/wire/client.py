"""The frames of the client: bytes → `core.frames`."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from gateway.internal.v1 import frames_pb2
from gateway.v1 import channel_pb2, event_service_pb2
from google.protobuf.message import DecodeError

from gatewayd.core import frames
from gatewayd.core.errors import InvalidArgument, ProtocolViolation
from gatewayd.core.message import ChatContext
from gatewayd.core.tracing import checked_traceparent
from gatewayd.wire.controls import READERS as CONTROL_READERS
from gatewayd.wire.depth import text_of, too_deep
from gatewayd.wire.filters import cursor_from, filter_from_proto
from gatewayd.wire.members import MAX_BATCH, by_itself, check_members, no_frame
from gatewayd.wire.names import MAX_ID, name, required
from gatewayd.wire.published import check_batch
from gatewayd.wire.push import READERS as PUSH_READERS
from gatewayd.wire.speaking import read_publish_message, send_within
from gatewayd.wire.triggers import read_trigger
from gatewayd.wire.values import refuse, span_from
from gatewayd.wire.workers import READERS as WORKER_READERS

_OVERFLOW = {
    event_service_pb2.OVERFLOW_UNSPECIFIED: frames.Overflow.DISCONNECT,
    event_service_pb2.OVERFLOW_DISCONNECT: frames.Overflow.DISCONNECT,
    event_service_pb2.OVERFLOW_DROP_OLDEST: frames.Overflow.DROP_OLDEST,
}
_CONTEXT = {
    channel_pb2.CHAT_CONTEXT_UNSPECIFIED: ChatContext.DM,
    channel_pb2.CHAT_CONTEXT_DM: ChatContext.DM,
    channel_pb2.CHAT_CONTEXT_GROUP: ChatContext.GROUP,
    channel_pb2.CHAT_CONTEXT_CHANNEL: ChatContext.CHANNEL,
}


def decode_client_frame(data: bytes) -> frames.ClientFrame:
    """Read one `gateway.v1.ConnectRequest`.

    The events of a publish are left as bytes (`parse_event` reads them). Raises `ProtocolViolation` for what is no
    frame, which ends the stream, and `InvalidArgument` for a request that is wrong in itself: its violation names
    the field, and `metadata['request_id']` the request that is to be rejected.
    """
    check_members(data)
    frame = frames_pb2.ConnectRequest()
    try:
        frame.ParseFromString(data)
    except DecodeError:
        if (error := too_deep(data, event_service_pb2.ConnectRequest.DESCRIPTOR)) is not None and (
            request_id := text_of(data, event_service_pb2.ConnectRequest.REQUEST_ID_FIELD_NUMBER)[:MAX_ID]
        ):
            error.metadata["request_id"] = request_id
            raise error from None
        raise no_frame() from None
    kind = frame.WhichOneof("frame")
    if kind == "batch":
        return _batch(frame.batch)
    return _read(_reader(kind), frame)


def _batch(batch: frames_pb2.RequestBatch) -> frames.RequestBatch:
    """All of its kinds are looked at before anything is read: what ends the stream does so before any is begun."""
    count = len(batch.requests)
    if not 1 <= count <= MAX_BATCH:
        raise ProtocolViolation(f"batch.requests: from 1 to {MAX_BATCH} are wanted, not {count}")
    readers = []
    for number, one in enumerate(batch.requests):
        kind = one.WhichOneof("frame")
        if kind in ("hello", "batch"):
            raise by_itself(number, kind)
        readers.append(_reader(kind))
    return frames.RequestBatch(tuple(_taken(*one) for one in zip(readers, batch.requests, strict=True)))


def _taken(reader: "_Reader", frame: frames_pb2.ConnectRequest) -> frames.Request | frames.Rejected:
    try:
        found = _read(reader, frame)
    except InvalidArgument as error:
        return frames.Rejected(error.metadata.pop("request_id", ""), error)
    assert not isinstance(found, frames.Hello | frames.RequestBatch), "refused above"
    return found


def _reader(kind: str | None) -> "_Reader":
    reader = _READERS.get(kind or "")
    if reader is None:
        raise ProtocolViolation("frame: holds no kind of frame that this gateway knows")
    return reader


def _read(reader: "_Reader", frame: frames_pb2.ConnectRequest) -> frames.ClientFrame:
    try:
        if reader is not _hello:
            required(frame.request_id, "request_id", MAX_ID)
        return reader(frame)
    except InvalidArgument as error:
        error.metadata["request_id"] = frame.request_id[:MAX_ID]
        raise


def _hello(frame: frames_pb2.ConnectRequest) -> frames.Hello:
    hello = frame.hello
    low = hello.protocol_min or 1
    high = hello.protocol_max or low
    if not 1 <= low <= high:
        raise refuse("hello.protocol_max", "the range of protocol versions begins at 1 and is not empty")
    return frames.Hello(
        client_id=required(hello.client_id, "hello.client_id", MAX_ID),
        protocol_min=low,
        protocol_max=high,
        resume_token=name(hello.resume_token, "hello.resume_token"),
        client_version=name(hello.client_version, "hello.client_version", MAX_ID),
        batches=hello.batches,
    )


def _subscribe(frame: frames_pb2.ConnectRequest) -> frames.Subscribe:
    subscribe = frame.subscribe
    overflow = _OVERFLOW.get(subscribe.overflow)
    if overflow is None:
        raise refuse("subscribe.overflow", f"{subscribe.overflow} is no policy that this gateway knows")
    if subscribe.buffer_bytes < 0:
        raise refuse("subscribe.buffer_bytes", "is negative")
    if not subscribe.HasField("filter"):
        raise refuse("subscribe.filter", "is required")
    return frames.Subscribe(
        request_id=frame.request_id,
        subscription_id=required(subscribe.subscription_id, "subscribe.subscription_id", MAX_ID),
        filter=filter_from_proto(subscribe.filter, "subscribe.filter"),
        since=cursor_from(subscribe.since, "subscribe.since"),
        overflow=overflow,
        buffer_bytes=subscribe.buffer_bytes,
        snapshot=subscribe.snapshot,
    )


def _unsubscribe(frame: frames_pb2.ConnectRequest) -> frames.Unsubscribe:
    subscription_id = required(frame.unsubscribe.subscription_id, "unsubscribe.subscription_id", MAX_ID)
    return frames.Unsubscribe(frame.request_id, subscription_id)


def _publish(frame: frames_pb2.ConnectRequest) -> frames.Publish:
    events = frame.publish.events
    check_batch(events, "publish.events")
    return frames.Publish(frame.request_id, tuple(events))


def _send(frame: frames_pb2.ConnectRequest) -> frames.Send:
    send = frame.send
    if send.call_id:
        return send_within(send, "send.", frame.request_id)
    if send.key:
        raise refuse("send.key", "goes with `call_id` alone")
    if bool(send.agent) == bool(send.channel):
        raise refuse("send.agent", "exactly one of `agent` and `channel` must be set")
    context = _CONTEXT.get(send.context)
    if context is None:
        raise refuse("send.context", f"{send.context} is no kind of room that this gateway knows")
    if not send.text:
        raise refuse("send.text", "is required")
    return frames.Send(
        request_id=frame.request_id,
        text=send.text,
        agent=name(send.agent, "send.agent"),
        channel=name(send.channel, "send.channel"),
        context=context,
        session_id=name(send.session_id, "send.session_id"),
        correlation_id=name(send.correlation_id, "send.correlation_id"),
        idempotency_key=name(send.idempotency_key, "send.idempotency_key"),
        timeout=span_from(send.timeout, "send.timeout"),
        partial_replies=send.partial_replies,
        await_reply=not send.no_reply,
        traceparent=checked_traceparent(send.traceparent),
    )


def _ping(frame: frames_pb2.ConnectRequest) -> frames.Ping:
    return frames.Ping(frame.request_id)


_Reader = Callable[[frames_pb2.ConnectRequest], frames.ClientFrame]
_READERS: Mapping[str, _Reader] = MappingProxyType(
    {
        "hello": _hello,
        "subscribe": _subscribe,
        "unsubscribe": _unsubscribe,
        "publish": _publish,
        "send": _send,
        "trigger": read_trigger,
        "ping": _ping,
        "publish_message": read_publish_message,
        **CONTROL_READERS,
        **PUSH_READERS,
        **WORKER_READERS,
    }
)

"""The unary calls that carry many events, without reading or writing the events in them."""

from collections.abc import Sequence

from gateway.internal.v1 import frames_pb2
from google.protobuf.message import DecodeError

from gatewayd.wire.published import check_batch
from gatewayd.wire.values import refuse


def publish_events(data: bytes) -> Sequence[bytes]:
    """The events of an encoded `gateway.v1.PublishRequest`, each still to be read by `parse_event`.

    Counted before anything is made of them: 4 MiB hold a million that are nothing.
    """
    try:
        events = frames_pb2.Publish.FromString(data).events
    except DecodeError:
        raise refuse("events", "is not the encoding of a PublishRequest") from None
    check_batch(events)
    return tuple(events)


def list_events_bytes(events: Sequence[bytes], next_page_token: str) -> bytes:
    """An encoded `gateway.v1.ListEventsResponse` of events as `event_bytes` gives them."""
    return frames_pb2.ListEventsResponse(events=events, next_page_token=next_page_token).SerializeToString()

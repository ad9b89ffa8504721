"""Core values ↔ messages and bytes, both ways, nothing else.

With `gatewayd.rpc` this is the only package of the daemon that knows the generated messages of `gateway.v1`.
"""

from gatewayd.wire.client import decode_client_frame
from gatewayd.wire.data import data_of
from gatewayd.wire.errors import error_to_proto, reason_of, status_details, status_message
from gatewayd.wire.events import decode_event, encode_event, event_bytes, with_snapshot, with_wire
from gatewayd.wire.filters import filter_from_proto
from gatewayd.wire.lists import list_events_bytes, publish_events
from gatewayd.wire.published import MAX_EVENT_BYTES, Stamp, check_batch, content_digest, parse_event
from gatewayd.wire.reports import settle
from gatewayd.wire.server import encode_delivery, encode_server_frame

__all__ = [
    "MAX_EVENT_BYTES",
    "Stamp",
    "check_batch",
    "content_digest",
    "data_of",
    "decode_client_frame",
    "decode_event",
    "encode_delivery",
    "encode_event",
    "encode_server_frame",
    "error_to_proto",
    "event_bytes",
    "filter_from_proto",
    "list_events_bytes",
    "parse_event",
    "publish_events",
    "reason_of",
    "settle",
    "status_details",
    "status_message",
    "with_snapshot",
    "with_wire",
]

"""How many requests a large frame holds, counted before the decoder makes something of each.

A member of two bytes becomes an object of more than fifty: 4 MiB of nothing would take a tenth of a second and more
than 100 MiB, and in JSON many seconds. Looked at is no more than what a frame may hold, so the look costs the same for
every frame. What cannot be read is left to the decoder.
"""

from typing import Any

from gateway.v1 import event_service_pb2

from gatewayd.core.errors import ProtocolViolation
from gatewayd.wire.depth import fields_of

MAX_BATCH = 1000
"""Requests in one frame."""
LARGE = 256 * 1024
"""Bytes of a frame from which on it is looked at; what smaller ones can hold is soon read."""
_MOST_FIELDS = 1000
"""At the top of a large frame; one of ours has two."""
_BATCH = event_service_pb2.ConnectRequest.BATCH_FIELD_NUMBER


def check_members(data: bytes) -> None:
    """Raise `ProtocolViolation` for a large frame that holds more than a batch may, or more than a frame has fields."""
    if len(data) < LARGE:
        return
    fields = members = 0
    try:
        for number, start, end in fields_of(data, 0, len(data)):
            fields += 1
            if fields > _MOST_FIELDS:
                raise ProtocolViolation(f"frame: has more than {_MOST_FIELDS} fields")
            if number != _BATCH:
                continue
            for _ in fields_of(data, start, end):
                members += 1
                if members > MAX_BATCH:
                    raise _too_many()
    except (IndexError, ValueError):
        return


def check_members_of_json(frame: dict[str, Any]) -> None:
    """The same for a frame in JSON."""
    batch = frame.get("batch")
    requests = batch.get("requests") if isinstance(batch, dict) else None
    if isinstance(requests, list) and len(requests) > MAX_BATCH:
        raise _too_many()


def _too_many() -> ProtocolViolation:
    return ProtocolViolation(f"batch.requests: from 1 to {MAX_BATCH} are wanted, and these are more")

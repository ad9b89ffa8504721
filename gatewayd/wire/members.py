"""How many requests a large frame holds, counted before the decoder makes something of each.

A member of two bytes becomes an object of more than fifty: 4 MiB of nothing would take a tenth of a second and more
than 100 MiB, and in JSON many seconds. Looked at is no more than what a frame may hold, so the look costs the same for
every frame. What cannot be read here is refused here: there are encodings that the decoder would pass over, such as
groups, and behind them could be anything.
"""

from typing import Any

from gateway.v1 import event_service_pb2

from gatewayd.core.errors import ProtocolViolation
from gatewayd.wire.depth import fields_of
from gatewayd.wire.published import MAX_BATCH as MAX_EVENTS

MAX_BATCH = 1000
"""Requests in one frame."""
LARGE = 256 * 1024
"""Bytes of a frame from which on it is looked at; what smaller ones can hold is soon read."""
_MOST_FIELDS = 8 * MAX_BATCH
"""Of a large frame and of the requests in it; ours have two each."""
_BATCH = event_service_pb2.ConnectRequest.BATCH_FIELD_NUMBER


def check_members(data: bytes) -> None:
    """Raise `ProtocolViolation` for a large frame that holds more than a batch may, or more than a frame has fields."""
    if len(data) < LARGE:
        return
    frames, fields = [(0, len(data))], 0
    try:
        for place, (start, end) in enumerate(frames):  # it grows: behind the frame come the requests in it
            for number, inner, inner_end in fields_of(data, start, end):
                fields += 1
                if fields > _MOST_FIELDS:
                    raise ProtocolViolation(f"frame: has more than {_MOST_FIELDS} fields")
                if number != _BATCH:
                    continue
                if place:
                    raise by_itself(place - 1, "batch")
                for _, request, request_end in fields_of(data, inner, inner_end):
                    frames.append((request, request_end))
                    if len(frames) > 1 + MAX_BATCH:
                        raise _too_many()
    except (IndexError, ValueError):
        raise no_frame() from None


def check_members_of_json(frame: dict[str, Any]) -> None:
    """The same for a frame in JSON. Of the events of a publish it leaves one more than are taken, which says enough."""
    requests = _list_in(frame, "batch", "requests")
    if len(requests) > MAX_BATCH:
        raise _too_many()
    for number, request in enumerate(requests):
        if isinstance(request, dict) and request.get("batch") is not None:
            raise by_itself(number, "batch")
    for one in (frame, *requests):
        if isinstance(one, dict):
            del _list_in(one, "publish", "events")[MAX_EVENTS + 1 :]


def _list_in(frame: dict[str, Any], kind: str, name: str) -> list[Any]:
    content = frame.get(kind)
    found = content.get(name) if isinstance(content, dict) else None
    return found if isinstance(found, list) else []


def no_frame() -> ProtocolViolation:
    """It cannot be read."""
    return ProtocolViolation("frame: is not the encoding of a ConnectRequest")


def by_itself(number: int, kind: str) -> ProtocolViolation:
    """That request of a batch is of a kind that no batch may hold."""
    return ProtocolViolation(f"batch.requests[{number}]: holds a {kind}, which comes by itself")


def _too_many() -> ProtocolViolation:
    return ProtocolViolation(f"batch.requests: from 1 to {MAX_BATCH} are wanted, and these are more")

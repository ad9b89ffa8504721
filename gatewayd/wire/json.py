"""Frames as protobuf-JSON: what browsers write and read, ↔ the bytes that everything else speaks.

The mapping is the canonical one (https://protobuf.dev/programming-guides/json): names in lowerCamelCase, 64-bit numbers
as text, durations as `"1.5s"`, enums by name. Names of the .proto files are read, too, but never written.
"""

import json
from typing import Any, NoReturn

from gateway.v1 import event_service_pb2 as pb
from google.protobuf import json_format

from gatewayd.core.errors import InvalidArgument, ProtocolViolation, Violation
from gatewayd.wire.least import least_bytes
from gatewayd.wire.members import LARGE, check_members_of_json
from gatewayd.wire.names import MAX_ID

MAX_DEPTH = 32
"""Objects and lists within each other."""
_TOO_DEEP = f"is nested deeper than {MAX_DEPTH} levels; make it flatter, or send the inner part as a text"


def request_from_json(text: str, most: int) -> bytes:
    """The encoding of one `gateway.v1.ConnectRequest`, of at most so many bytes.

    Raises `ProtocolViolation` for what is no JSON object, and `InvalidArgument` for one that is no such frame: its
    violation says what is wrong, and `metadata['request_id']` which request is to be rejected. A batch in which one is
    wrong in that way is no frame.
    """
    found = _object(text, "frame")
    if _deeper_than(found, MAX_DEPTH):
        if not _request_id(found):
            raise ProtocolViolation(f"frame: {_TOO_DEEP}")
        raise _refused(found, _TOO_DEEP)
    check_members_of_json(found)
    if len(text) > LARGE and least_bytes(found, most) > most:
        raise _refused(found, _too_large(most))
    try:
        frame: bytes = json_format.ParseDict(found, pb.ConnectRequest()).SerializeToString()
    except (json_format.ParseError, ValueError, TypeError, RecursionError) as error:
        raise _refused(found, _short(error)) from None
    if len(frame) > most:
        raise _refused(found, _too_large(most))
    return frame


def json_object(text: str, path: str) -> dict[str, Any]:
    """The JSON object, within our depth; `ProtocolViolation` under `path` for anything else."""
    found = _object(text, path)
    if _deeper_than(found, MAX_DEPTH):
        raise ProtocolViolation(f"{path}: {_TOO_DEEP}")
    return found


def _refused(frame: dict[str, Any], what: str) -> InvalidArgument:
    """Of the request in it, or of the whole where it is not known for sure which of its requests is meant."""
    if "batch" in frame:
        return ProtocolViolation(f"frame: {what}")
    violations = [Violation("frame", what)]
    return InvalidArgument(f"frame: {what}", violations=violations, metadata={"request_id": _request_id(frame)})


def _too_large(most: int) -> str:
    return f"is larger than {most} bytes as protobuf (gateway.limits.message_bytes)"


def _object(text: str, path: str) -> dict[str, Any]:
    try:
        found = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise ProtocolViolation(f"{path}: is not JSON: {_short(error)}") from None
    if not isinstance(found, dict):
        raise ProtocolViolation(f"{path}: is not a JSON object")
    return found


def response_to_json(data: bytes) -> str:
    """The JSON of an encoded `gateway.v1.ConnectResponse`, on one line."""
    frame = pb.ConnectResponse.FromString(data)
    text: str = json_format.MessageToJson(frame, indent=None, ensure_ascii=False)
    return text


def kind_of_response(data: bytes) -> str:
    """Which frame an encoded `gateway.v1.ConnectResponse` holds: `welcome`, `refused`, …"""
    return pb.ConnectResponse.FromString(data).WhichOneof("frame") or ""


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name is given twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON value")


def _deeper_than(found: Any, levels: int) -> bool:
    """Level by level, so that what is too deep does not recurse here either."""
    layer = [found]
    for _ in range(levels):
        layer = [each for one in layer for each in (one.values() if isinstance(one, dict) else one) if _holds(each)]
        if not layer:
            return False
    return True


def _holds(found: Any) -> bool:
    return isinstance(found, dict | list)


def _request_id(found: dict[str, Any]) -> str:
    given = found.get("requestId", found.get("request_id", ""))
    return given[:MAX_ID] if isinstance(given, str) else ""


def _short(error: Exception) -> str:
    """The first line of what the reader says; it repeats what the client wrote, so it is cut."""
    return (str(error).splitlines() or [type(error).__name__])[0][:300]

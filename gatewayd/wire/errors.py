"""`GatewayError` → the two forms in which an error leaves: a message in a frame, and the details of a status."""

from collections.abc import Mapping, Sequence

from gateway.v1 import error_pb2, error_reason_pb2
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from gatewayd.core.errors import GatewayError, Violation
from gatewayd.wire.values import span, valid_text

DOMAIN = "gatewayd"
"""`google.rpc.ErrorInfo.domain` of every error."""

TRAILERS = 7 * 1024
"""Bytes of message and details as they are sent: a client takes 8 KiB of metadata, and of more says only that it is."""
MAX_MESSAGE = 1000
"""Bytes of the message of a status."""
MAX_VALUE = 300
"""Bytes of a value of `metadata`, and of what a violation says."""

_FRAME = 250
"""Bytes of a status around all that."""
_PREFIX = "ERROR_REASON_"


def reason_of(error: GatewayError) -> error_reason_pb2.ErrorReason.ValueType:
    """The value of the contract for the class of the error."""
    return error_reason_pb2.ErrorReason.Value(_PREFIX + error.reason)


def error_to_proto(error: GatewayError) -> error_pb2.Error:
    """The message for a frame."""
    return error_pb2.Error(
        code=int(error.code),
        reason=reason_of(error),
        message=valid_text(error.message),
        metadata=_valid(error.metadata),
        violations=[
            error_pb2.FieldViolation(field=valid_text(v.field), description=valid_text(v.description))
            for v in error.violations
        ],
        retry_after=None if error.retry_after is None else span(error.retry_after),
    )


def status_message(error: GatewayError) -> str:
    """The message of a status: cut off where it repeats too much of what the client has said."""
    return _brief(error.message, MAX_MESSAGE)


def status_details(error: GatewayError) -> bytes:
    """The encoded `google.rpc.Status` for the trailer `grpc-status-details-bin`.

    It holds ErrorInfo always, BadRequest where there are violations and RetryInfo where a retry makes sense. What is
    long is cut off, so that it fits into a trailer. Where there are more violations than do, the last one says so, and
    `metadata.violations` is the number of all.
    """
    info = error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=_valid(error.metadata, MAX_VALUE))
    details: list[Message] = [info]
    if error.violations:
        told = _fitting(error.violations, _room(info, error))
        if left := len(error.violations) - len(told):
            told.append(error_details_pb2.BadRequest.FieldViolation(description=f"and {left} more"))
            info.metadata["violations"] = str(len(error.violations))
        details.append(error_details_pb2.BadRequest(field_violations=told))
    if error.retry_after is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=span(error.retry_after)))
    packed = []
    for detail in details:
        box = Any()
        box.Pack(detail)
        packed.append(box)
    status = status_pb2.Status(code=int(error.code), message=status_message(error), details=packed)
    encoded: bytes = status.SerializeToString()
    return encoded


def _room(info: Message, error: GatewayError) -> int:
    """Bytes that are left for violations: beside the message, which comes in both, escaped in the one, and all in four
    thirds in the other."""
    message = status_message(error).encode()
    escaped = len(message) + 2 * sum(1 for byte in message if not 0x20 <= byte < 0x7F or byte == ord("%"))
    return (TRAILERS - escaped) * 3 // 4 - len(message) - info.ByteSize() - _FRAME


def _fitting(violations: Sequence[Violation], room: int) -> list[Message]:
    found: list[Message] = []
    for one in violations:
        said = error_details_pb2.BadRequest.FieldViolation(
            field=_brief(one.field, MAX_VALUE), description=_brief(one.description, MAX_VALUE)
        )
        room -= said.ByteSize() + 3
        if found and room < 0:
            break
        found.append(said)
    return found


def _valid(metadata: Mapping[str, str], most: int = 0) -> dict[str, str]:
    return {valid_text(key): _brief(value, most) for key, value in metadata.items()}


def _brief(text: str, most: int) -> str:
    """The text, or so many bytes of its beginning; 0: all of it."""
    text = valid_text(text)
    if not most or len(text) * 4 <= most or len(data := text.encode()) <= most:
        return text
    return data[: most - 3].decode(errors="ignore") + "…"

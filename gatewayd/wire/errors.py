"""`GatewayError` → the two forms in which an error leaves: a message in a frame, and the details of a status."""

from collections.abc import Mapping

from gateway.v1 import error_pb2, error_reason_pb2
from google.protobuf.any_pb2 import Any
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

from gatewayd.core.errors import GatewayError
from gatewayd.wire.values import span, valid_text

DOMAIN = "gatewayd"
"""`google.rpc.ErrorInfo.domain` of every error."""

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


def status_details(error: GatewayError) -> bytes:
    """The encoded `google.rpc.Status` for the trailer `grpc-status-details-bin`.

    It holds ErrorInfo always, BadRequest where there are violations and RetryInfo where a retry makes sense.
    """
    details: list[Message] = [
        error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=_valid(error.metadata)),
    ]
    if error.violations:
        violations = [
            error_details_pb2.BadRequest.FieldViolation(
                field=valid_text(v.field), description=valid_text(v.description)
            )
            for v in error.violations
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    if error.retry_after is not None:
        details.append(error_details_pb2.RetryInfo(retry_delay=span(error.retry_after)))
    packed = []
    for detail in details:
        box = Any()
        box.Pack(detail)
        packed.append(box)
    status = status_pb2.Status(code=int(error.code), message=valid_text(error.message), details=packed)
    encoded: bytes = status.SerializeToString()
    return encoded


def _valid(metadata: Mapping[str, str]) -> dict[str, str]:
    return {valid_text(key): valid_text(value) for key, value in metadata.items()}

"""The google.rpc details that gatewayd packs beside the code and the message of a status."""

from dataclasses import dataclass, field
from typing import Any

import grpc
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]

DETAILS = "grpc-status-details-bin"
DOMAIN = "gatewayd"


@dataclass(frozen=True, slots=True)
class Details:
    """The google.rpc details of a status."""

    reason: str = ""
    """ErrorInfo.reason; empty when the status did not come from gatewayd."""
    metadata: dict[str, str] = field(default_factory=dict)
    violations: tuple[tuple[str, str], ...] = ()
    """Field and description."""
    retry_after: float | None = None
    """Seconds."""


def details_of(error: grpc.RpcError) -> Details:
    """What is packed beside code and message; empty if there is nothing that can be read."""
    trailers: Any = error.trailing_metadata() or ()
    packed = [value for key, value in trailers if key == DETAILS]
    if not packed:
        return Details()
    try:
        status = status_pb2.Status.FromString(packed[0])
    except ValueError:  # DecodeError: not from gatewayd
        return Details()
    info, bad, retry = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo()
    for each in status.details:
        each.Unpack(info) or each.Unpack(bad) or each.Unpack(retry)
    return Details(
        reason=info.reason if info.domain == DOMAIN else "",
        metadata=dict(info.metadata),
        violations=tuple((each.field, each.description) for each in bad.field_violations),
        retry_after=retry.retry_delay.ToTimedelta().total_seconds() if retry.HasField("retry_delay") else None,
    )

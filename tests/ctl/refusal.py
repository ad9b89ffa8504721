"""What the fake gateway refuses with."""

import grpc
from gateway.v1 import error_pb2, error_reason_pb2
from google.protobuf import any_pb2
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2


class Refusal(Exception):
    """A typed refusal, as the daemon packs it."""

    def __init__(
        self,
        code: grpc.StatusCode,
        reason: str,
        message: str,
        *,
        metadata: dict[str, str] | None = None,
        violations: tuple[tuple[str, str], ...] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.code, self.reason, self.message = code, reason, message
        self.metadata, self.violations, self.retry_after = metadata or {}, violations, retry_after

    def packed(self) -> bytes:
        """The value of grpc-status-details-bin."""
        details: list[Message] = [
            error_details_pb2.ErrorInfo(reason=self.reason, domain="gatewayd", metadata=self.metadata)
        ]
        if self.violations:
            bad = error_details_pb2.BadRequest()
            for name, text in self.violations:
                bad.field_violations.add(field=name, description=text)
            details.append(bad)
        if self.retry_after is not None:
            retry = error_details_pb2.RetryInfo()
            retry.retry_delay.FromMilliseconds(int(self.retry_after * 1000))
            details.append(retry)
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        for each in details:
            packed = any_pb2.Any()
            packed.Pack(each)
            status.details.append(packed)
        return status.SerializeToString()

    def frame(self) -> error_pb2.Error:
        """The same inside a frame."""
        error = error_pb2.Error(
            code=self.code.value[0],
            reason=error_reason_pb2.ErrorReason.Value(f"ERROR_REASON_{self.reason}"),
            message=self.message,
            metadata=self.metadata,
        )
        if self.retry_after is not None:
            error.retry_after.FromMilliseconds(int(self.retry_after * 1000))
        return error

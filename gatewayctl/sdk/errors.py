"""What can go wrong for a program: one class for each thing that a caller would handle differently.

Every error carries the canonical code, the reason of the contract, the facts beside it and, where waiting helps, how
long to wait.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import grpc
from gateway.v1 import error_pb2, error_reason_pb2

from gatewayctl.details import details_of

__all__ = [
    "Cancelled",
    "ClientClosed",
    "Conflict",
    "ConnectionReplaced",
    "DeadlineExceeded",
    "EventsLost",
    "ExecutionFailed",
    "GatewayError",
    "HistoryLost",
    "InvalidArgument",
    "LimitExceeded",
    "NotFound",
    "PermissionDenied",
    "StateConflict",
    "TopicEnded",
    "Unauthenticated",
    "Unavailable",
]

_PREFIX = "ERROR_REASON_"


class GatewayError(Exception):
    """Base of everything that the SDK raises about the gateway."""

    def __init__(
        self,
        message: str,
        *,
        code: int = 2,
        reason: str = "",
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[tuple[str, str]] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        """google.rpc.Code."""
        self.reason = reason
        """Name of an ErrorReason without prefix; empty when the transport failed and not the daemon."""
        self.metadata = dict(metadata or {})
        self.violations = tuple(violations)
        """Field and description, for each part of the request that is wrong."""
        self.retry_after = retry_after
        """Seconds to wait before trying again; None where that does not help."""


class InvalidArgument(GatewayError):
    """The request is wrong; sending it again will not help."""


class Unauthenticated(GatewayError):
    """No token, or one that is wrong, expired or revoked."""


class PermissionDenied(GatewayError):
    """The token's scopes do not cover this."""


class NotFound(GatewayError):
    """No such agent, channel, session, execution."""


class Conflict(GatewayError):
    """The id or idempotency key was used before with other content."""


class StateConflict(GatewayError):
    """A key of the shared state was not at the expected version, and nothing was written; read again and decide anew.

    `metadata["actual_version"]` is where `metadata["key"]` is, the first of them; `violations` names all.
    """


class LimitExceeded(GatewayError):
    """A bound is reached; `retry_after` says when it may have passed."""


class Unavailable(GatewayError):
    """The daemon, or a part of it, is not there now."""


class DeadlineExceeded(GatewayError):
    """It took too long; what was started may go on (`metadata["execution_id"]`)."""


class Cancelled(GatewayError):
    """The execution was cancelled on request."""


class ExecutionFailed(GatewayError):
    """The agent ended in an error; the message is fit to be shown."""


class ConnectionReplaced(GatewayError):
    """Another process uses this client's id (`metadata["client_id"]`) and was the last to connect.

    The client does not connect again: the two would displace each other for ever.
    """


class EventsLost(GatewayError):
    """A subscription has missed events. Iterating again goes on behind the gap; `gap` says what is known of it."""

    def __init__(self, message: str, gap: object = None, **facts: object) -> None:
        super().__init__(message, **facts)  # type: ignore[arg-type]
        self.gap = gap


class HistoryLost(EventsLost):
    """Events after the cursor are no longer kept; `metadata["oldest_cursor"]` is where history begins now."""


class TopicEnded(GatewayError):
    """The daemon has ended a membership: `metadata["topic"]`; `ended` is `deleted`, or `disabled` for push as a whole.

    Joining again makes sense once the topic is there again, or push is on.
    """

    ended = ""

    @classmethod
    def of(cls, topic: str, ended: str) -> TopicEnded:
        disabled = ended == "disabled"
        said = "push was turned off" if disabled else f"the topic {topic!r} was deleted"
        error = cls(
            said,
            code=9 if disabled else 5,
            reason="PUSH_DISABLED" if disabled else "TOPIC_NOT_FOUND",
            metadata={"topic": topic},
        )
        error.ended = ended
        return error


class ClientClosed(GatewayError):
    """The client was closed before this was done."""


_BY_REASON: dict[str, type[GatewayError]] = {
    "HISTORY_LOST": HistoryLost,
    "EXECUTION_FAILED": ExecutionFailed,
    "STATE_CONFLICT": StateConflict,
    "CANCELLED": Cancelled,
    "CONNECTION_REPLACED": ConnectionReplaced,
}
_BY_CODE: dict[int, type[GatewayError]] = {
    1: Cancelled,
    3: InvalidArgument,
    4: DeadlineExceeded,
    5: NotFound,
    6: Conflict,
    7: PermissionDenied,
    8: LimitExceeded,
    14: Unavailable,
    16: Unauthenticated,
}


def from_frame(error: error_pb2.Error) -> GatewayError:
    """The error of one request on a stream."""
    try:
        reason = error_reason_pb2.ErrorReason.Name(error.reason).removeprefix(_PREFIX)
    except ValueError:  # of a newer daemon: its code says enough
        reason = str(error.reason)
    return _make(
        error.code,
        error.message or reason,
        reason=reason,
        metadata=dict(error.metadata),
        violations=tuple((each.field, each.description) for each in error.violations),
        retry_after=error.retry_after.ToTimedelta().total_seconds() if error.HasField("retry_after") else None,
    )


def from_rpc(error: grpc.RpcError) -> GatewayError:
    """The error of a call or of a whole stream."""
    details = details_of(error)
    status = error.code()
    return _make(
        int(status.value[0]),
        error.details() or status.name,
        reason=details.reason,
        metadata=details.metadata,
        violations=details.violations,
        retry_after=details.retry_after,
    )


def _make(code: int, message: str, *, reason: str, **facts: object) -> GatewayError:
    kind = _BY_REASON.get(reason) or _BY_CODE.get(code) or GatewayError
    return kind(message, code=code, reason=reason, **facts)  # type: ignore[arg-type]

"""Every error that leaves the daemon: a class is a verdict, not a sentence.

The catcher reads the class (or its `code` and `reason`), never the text. `reason` is the value of
`gateway.v1.ErrorReason` that travels in `google.rpc.ErrorInfo`; a test asserts that the two sets are equal.
Longer than 300 lines because all verdicts stand in one place.
"""

from collections.abc import Mapping, Sequence
from enum import IntEnum

from gatewayd.core.value import value


class Code(IntEnum):
    """The canonical gRPC status codes that gatewayd uses (https://grpc.io/docs/guides/status-codes)."""

    CANCELLED = 1
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


@value(frozen=True, slots=True)
class Violation:
    """One thing that is wrong, and where."""

    field: str
    description: str


class GatewayError(Exception):
    """Base of all errors with a place in the contract."""

    code: Code = Code.INTERNAL
    reason: str = "INTERNAL"
    retryable: bool = False

    def __init__(
        self,
        message: str,
        *,
        metadata: Mapping[str, str] | None = None,
        violations: Sequence[Violation] = (),
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.metadata: dict[str, str] = dict(metadata or {})
        self.violations = tuple(violations)
        self.retry_after = retry_after
        """Seconds after which a retry makes sense; None where the error does not pass by itself."""


class Internal(GatewayError):
    """A defect of ours; the log has the traceback under the id in `metadata['incident']`."""


class InvalidArgument(GatewayError):
    code = Code.INVALID_ARGUMENT
    reason = "INVALID_ARGUMENT"


class ServerOnlyField(InvalidArgument):
    """A client set a field that only the server sets."""

    reason = "SERVER_ONLY_FIELD"


class ProtocolViolation(InvalidArgument):
    """A frame that cannot be read, or a first frame that is not `hello`: it ends the stream."""

    reason = "PROTOCOL_VIOLATION"


class UnsupportedProtocol(GatewayError):
    """No protocol version that both sides speak."""

    code = Code.FAILED_PRECONDITION
    reason = "UNSUPPORTED_PROTOCOL"


class Unauthenticated(GatewayError):
    code = Code.UNAUTHENTICATED
    reason = "UNAUTHENTICATED"


class PermissionDenied(GatewayError):
    code = Code.PERMISSION_DENIED
    reason = "PERMISSION_DENIED"


class TooManyFailures(GatewayError):
    """Too many failed authentications from one source; the lock opens after `retry_after`."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "TOO_MANY_FAILURES"
    retryable = True


class NotFound(GatewayError):
    code = Code.NOT_FOUND
    reason = "NOT_FOUND"


class AgentNotFound(NotFound):
    reason = "AGENT_NOT_FOUND"


class ChannelNotFound(NotFound):
    reason = "CHANNEL_NOT_FOUND"


class NoRoute(GatewayError):
    """The channel's routing has no rule for this context and no default."""

    code = Code.FAILED_PRECONDITION
    reason = "NO_ROUTE"


class AlreadyExists(GatewayError):
    code = Code.ALREADY_EXISTS
    reason = "ALREADY_EXISTS"


class IdConflict(AlreadyExists):
    """An id (or idempotency key) seen before, with other content."""

    reason = "ID_CONFLICT"


class HistoryLost(GatewayError):
    """The cursor points at events that are no longer kept; `metadata['oldest_cursor']` is where to go on."""

    code = Code.OUT_OF_RANGE
    reason = "HISTORY_LOST"


class LimitExceeded(GatewayError):
    """A bound of this daemon is reached; `metadata['limit']` names it."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "LIMIT_EXCEEDED"
    retryable = True


class SlowConsumer(GatewayError):
    """A reader that did not keep up was cut; `metadata['cursor']` is where it goes on."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "SLOW_CONSUMER"
    retryable = True


class Draining(GatewayError):
    """The daemon is stopping and takes no new work."""

    code = Code.UNAVAILABLE
    reason = "DRAINING"
    retryable = True


class StoreBusy(GatewayError):
    """The store's queue is full, or another process holds its lock: nothing was written."""

    code = Code.UNAVAILABLE
    reason = "STORE_BUSY"
    retryable = True


class StoreFull(GatewayError):
    """No space is left on the disk: nothing was written, reading still works."""

    code = Code.RESOURCE_EXHAUSTED
    reason = "STORE_FULL"
    retryable = True


class StoreFailed(GatewayError):
    """The store cannot promise durability any more (failed fsync, vanished directory); the daemon stops."""

    code = Code.UNAVAILABLE
    reason = "STORE_FAILED"


class StoreCorrupt(GatewayError):
    """The file is damaged, foreign, or of a newer version; it was left as it is."""

    code = Code.DATA_LOSS
    reason = "STORE_CORRUPT"


class ConfigInvalid(GatewayError):
    """The configuration has problems; `violations` lists all of them and nothing was changed."""

    code = Code.INVALID_ARGUMENT
    reason = "CONFIG_INVALID"


class ConfigChanged(GatewayError):
    """`expected_digest` is not the digest of the running configuration."""

    code = Code.ABORTED
    reason = "CONFIG_CHANGED"


class RestartRequired(GatewayError):
    """A changed path cannot be applied live; nothing was applied. `violations` names each path."""

    code = Code.FAILED_PRECONDITION
    reason = "RESTART_REQUIRED"


class ReloadFailed(GatewayError):
    """The new configuration is valid but could not be put in place; the old one still serves."""

    code = Code.FAILED_PRECONDITION
    reason = "RELOAD_FAILED"


class Unavailable(GatewayError):
    """A part that this needs is not there now: a secret that is unset, a channel that is down."""

    code = Code.UNAVAILABLE
    reason = "UNAVAILABLE"
    retryable = True


class DeadlineExceeded(GatewayError):
    code = Code.DEADLINE_EXCEEDED
    reason = "DEADLINE_EXCEEDED"
    retryable = True


class Cancelled(GatewayError):
    code = Code.CANCELLED
    reason = "CANCELLED"


class ExecutionFailed(GatewayError):
    """The agent ended in an error; the message is fit to be shown to the user."""

    code = Code.ABORTED
    reason = "EXECUTION_FAILED"


class ConnectionReplaced(GatewayError):
    """A newer connection with the same client id is there now; `metadata['client_id']` is the id.

    Coming back would only displace that one in turn.
    """

    code = Code.ABORTED
    reason = "CONNECTION_REPLACED"


class ExecutionFinished(GatewayError):
    """The execution has ended, so it cannot be cancelled, nor its state be written."""

    code = Code.FAILED_PRECONDITION
    reason = "EXECUTION_FINISHED"


class NotPaused(GatewayError):
    """The execution is not in a state in which it can be paused or resumed."""

    code = Code.FAILED_PRECONDITION
    reason = "NOT_PAUSED"


class NotWaiting(GatewayError):
    """The node that input is for waits for none; `metadata` has the `node_id` of the one that does, if any."""

    code = Code.FAILED_PRECONDITION
    reason = "NOT_WAITING"


class PushDisabled(GatewayError):
    """Push is asked for, and `push.enabled` is false."""

    code = Code.FAILED_PRECONDITION
    reason = "PUSH_DISABLED"


class TopicNotFound(NotFound):
    """There is no push topic of that name."""

    reason = "TOPIC_NOT_FOUND"


class PollerNotFound(NotFound):
    """The poll token is unknown, was replaced, has expired or is somebody else's; the client registers again."""

    reason = "POLLER_NOT_FOUND"


class StateConflict(GatewayError):
    """A key was not at the version that its writer had seen; nothing of the transaction was written.

    `metadata` has `key`, `scope`, `expected_version` and `actual_version` of the first; `violations` names all.
    """

    code = Code.ABORTED
    reason = "STATE_CONFLICT"


class EntryPointNotFound(NotFound):
    """No entry point of that name is configured."""

    reason = "ENTRY_POINT_NOT_FOUND"


class CallCycle(GatewayError):
    """An agent that takes one message at a time is asked, through others, by itself: it could never answer."""

    code = Code.FAILED_PRECONDITION
    reason = "CALL_CYCLE"


class EngineMisused(GatewayError):
    """The message engine is started twice, stopped when it does not run, or asked for what its state forbids."""

    code = Code.FAILED_PRECONDITION
    reason = "ENGINE_MISUSED"


def all_errors() -> list[type[GatewayError]]:
    """Every class of this module, for the test of totality; subclasses elsewhere share their parent's verdict."""
    found: list[type[GatewayError]] = []
    waiting: list[type[GatewayError]] = [GatewayError]
    while waiting:
        current = waiting.pop()
        waiting.extend(current.__subclasses__())
        if current is not GatewayError and current.__module__ == __name__:
            found.append(current)
    return found

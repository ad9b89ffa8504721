"""What a worker tells of an execution becomes an event of that execution."""

from gateway.v1 import event_pb2

from gatewayd.core.event import Event
from gatewayd.core.work import Execution
from gatewayd.wire.published import Stamp


def settle(event: Event, execution: Execution, stamp: Stamp) -> None:
    """Give an event that was just parsed, and is not shared yet, the envelope that the execution's own events have."""
    event.session_id, event.correlation_id = execution.session_id, execution.correlation_id  # type: ignore[misc]
    event.stream_id, event.owner = execution.stream_id, execution.principal  # type: ignore[misc]
    more = event_pb2.Event(
        session_id=execution.session_id, correlation_id=execution.correlation_id, stream_id=execution.stream_id
    )
    # Encodings of one message may be joined: of a scalar the last one holds.
    body = event.wire[: -len(stamp.wire)]
    event.wire = body + more.SerializeToString() + stamp.wire  # type: ignore[misc]

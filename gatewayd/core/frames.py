"""The frames of a `Connect` conversation, free of any encoding.

`gatewayd.wire` reads and writes them; `gatewayd.conversation` speaks them; gRPC and, later, WebSocket carry them.
Ids of requests and subscriptions are chosen by the client and are unique within one connection.
"""

from collections.abc import Sequence
from enum import StrEnum

from gatewayd.core.chunk import Chunk
from gatewayd.core.controls import ControlRequest
from gatewayd.core.errors import GatewayError
from gatewayd.core.event import Cursor
from gatewayd.core.filter import EventFilter
from gatewayd.core.message import ChatContext
from gatewayd.core.push import PushRequest, TopicDelivery, TopicEnded
from gatewayd.core.value import value
from gatewayd.core.work import ExecutionState
from gatewayd.core.workers import Call, CancelCall, PublishMessage, RegistrationEnded, WorkerRequest

PROTOCOL = 1
"""The only version of the conversation so far."""


class Overflow(StrEnum):
    """What happens to a subscription whose reader does not keep up."""

    DISCONNECT = "disconnect"
    """It ends with SLOW_CONSUMER and the cursor to go on from."""
    DROP_OLDEST = "drop_oldest"
    """The oldest events are dropped and a gap frame stands in their place."""


class RecoveryStep(StrEnum):
    """What a refused client should do."""

    REAUTHENTICATE = "reauthenticate"
    UPGRADE_CLIENT = "upgrade_client"
    WAIT_THEN_RETRY = "wait_then_retry"
    DO_NOT_RETRY = "do_not_retry"


class EndReason(StrEnum):
    """Why a subscription ended."""

    UNSUBSCRIBED = "unsubscribed"
    SLOW_CONSUMER = "slow_consumer"
    HISTORY_LOST = "history_lost"
    REVOKED = "revoked"
    DRAINING = "draining"
    CONNECTION_LOST = "connection_lost"


# Frames of the client


@value(frozen=True, slots=True)
class Hello:
    client_id: str
    protocol_min: int
    protocol_max: int
    resume_token: str = ""
    client_version: str = ""
    batches: bool = False
    """Whether several frames may come to it in one."""


@value(frozen=True, slots=True)
class Subscribe:
    request_id: str
    subscription_id: str
    filter: EventFilter
    since: Cursor | None = None
    """Go on after this cursor; None starts with what is published from now on."""
    overflow: Overflow = Overflow.DISCONNECT
    buffer_bytes: int = 0
    """Bytes that may wait for this reader; 0 takes the server's default."""
    snapshot: bool = False
    """Whether deltas of text bring the whole text so far, too."""


@value(frozen=True, slots=True)
class Unsubscribe:
    request_id: str
    subscription_id: str


@value(frozen=True, slots=True)
class Publish:
    request_id: str
    events: Sequence[bytes]
    """Each the encoding of one `gateway.v1.Event`, not yet checked."""


@value(frozen=True, slots=True)
class Send:
    """A message to an agent, or to a channel whose routing decides."""

    request_id: str
    text: str
    agent: str = ""
    channel: str = ""
    context: ChatContext = ChatContext.DM
    session_id: str = ""
    """An existing session of this principal; '' takes the one of (principal, client id, agent)."""
    correlation_id: str = ""
    idempotency_key: str = ""
    timeout: float = 0.0
    """Seconds to wait for the final reply; 0 takes the agent's own limit. The execution goes on after it."""
    partial_replies: bool = False
    """Whether text is sent as it is produced, too."""
    await_reply: bool = True
    traceparent: str = ""
    """The trace that the execution is a part of; '' for none."""
    call_id: str = ""
    """The call from within which a worker sends it; '' for a message of the client's own."""
    key: str = ""
    """With `call_id`, the instance of the agent."""


@value(frozen=True, slots=True)
class Trigger:
    """Starts an entry point."""

    request_id: str
    entry_point: str
    text: str
    """What its agent is given; the JSON of an input that is no text."""
    correlation_id: str = ""
    idempotency_key: str = ""
    timeout: float = 0.0
    """Seconds to wait for the final reply; 0 takes the agent's own limit. The execution goes on after it."""
    partial_replies: bool = False
    await_reply: bool = True
    given: str = ""
    """What the execution begins with, as the JSON of a checkpoint's state; '' for nothing."""
    traceparent: str = ""
    """The trace that the execution is a part of; '' for none."""


@value(frozen=True, slots=True)
class Ping:
    request_id: str


_Ordinary = Subscribe | Unsubscribe | Publish | Send | Trigger | Ping
Request = _Ordinary | ControlRequest | PushRequest | WorkerRequest | PublishMessage
"""What is answered once, under its request id."""


@value(frozen=True, slots=True)
class Rejected:
    """A request is refused; also what stands in a batch for one that is wrong in itself."""

    request_id: str
    error: GatewayError


@value(frozen=True, slots=True)
class RequestBatch:
    """Frames that came together, to be begun in their order."""

    requests: Sequence[Request | Rejected]


ClientFrame = Hello | Request | RequestBatch


# Frames of the server


@value(frozen=True, slots=True)
class Policy:
    """The bounds that a client should know."""

    max_message_bytes: int
    max_queue_bytes: int
    heartbeat_interval: float
    reconnect_timeout: float


@value(frozen=True, slots=True)
class LostSubscription:
    """A subscription that the last connection lost, and where to take it up."""

    subscription_id: str
    reason: EndReason
    cursor: Cursor | None


@value(frozen=True, slots=True)
class Welcome:
    protocol: int
    server_version: str
    features: Sequence[str]
    policy: Policy
    resume_token: str
    resumed: bool
    lost: Sequence[LostSubscription]
    cursor: Cursor
    """The end of the event log now."""
    scopes: Sequence[str] = ()


@value(frozen=True, slots=True)
class Refused:
    """The hello was not accepted; the stream ends after it."""

    error: GatewayError
    step: RecoveryStep


@value(frozen=True, slots=True)
class Accepted:
    request_id: str
    cursor: Cursor | None = None
    """For a publish, the place of its last durable event; for a subscribe, where the subscription starts."""
    execution_id: str = ""
    message_id: str = ""
    existed: bool = True
    """For an unsubscribe or a leave, whether there was one to end."""
    count: int = 0
    """For a publish, the clients that it is addressed to; for a push, its recipients; for ack and nack, the deliveries
    that waited; for a join, those that wait."""
    duplicate: bool = False
    """For a trigger, whether its idempotency key was known, and the execution is that of the first."""
    left: bool = False
    """For what a worker puts down of a call, whether the execution has left with it."""


@value(frozen=True, slots=True)
class Delivery:
    subscription_ids: tuple[str, ...]
    chunk: Chunk


@value(frozen=True, slots=True)
class Reply:
    request_id: str
    execution_id: str
    message_id: str
    content: str
    """For a partial reply the new text only; for the final one the whole answer."""
    final: bool
    offset: int = 0
    """Characters that came before this part."""
    state: ExecutionState | None = None
    error: GatewayError | None = None
    reason: str = ""
    """Why the execution is in that state."""


@value(frozen=True, slots=True)
class Progress:
    subscription_ids: Sequence[str]
    cursor: Cursor


@value(frozen=True, slots=True)
class Gap:
    subscription_id: str
    dropped: int
    cursor: Cursor | None
    """The place of the last dropped durable event."""


@value(frozen=True, slots=True)
class Ended:
    subscription_id: str
    reason: EndReason
    cursor: Cursor | None
    error: GatewayError | None = None


@value(frozen=True, slots=True)
class Pong:
    request_id: str


@value(frozen=True, slots=True)
class Goodbye:
    reason: str
    reconnect_after: float
    cursor: Cursor


@value(frozen=True, slots=True)
class ResponseBatch:
    """Frames that go out in one."""

    responses: Sequence[bytes]
    """Each encoded."""


_Answer = Welcome | Refused | Accepted | Rejected | Reply | Pong
_News = Delivery | Progress | Gap | Ended | TopicDelivery | TopicEnded | Call | CancelCall | RegistrationEnded | Goodbye
ServerFrame = _Answer | _News | ResponseBatch

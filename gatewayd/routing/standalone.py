"""Work without a session, as its unit: a row for a conversation of one message would only be one more thing to expire.

What starts an entry point, and what a client publishes for agents, is taken in like this.
"""

from gatewayd.core.checkpoint import Checkpoint
from gatewayd.core.clock import Clock
from gatewayd.core.event import EventType
from gatewayd.core.message import ReplyTo
from gatewayd.core.value import value
from gatewayd.core.work import Execution, LedgerState, Origin
from gatewayd.ledger import accepted
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.storage.records import Acceptance, Inbound


@value(frozen=True, slots=True)
class Standalone:
    """All that decides such a unit."""

    origin: Origin
    door: str
    """Where it came in: an entry point, a topic."""
    principal: str
    agent: str
    text: str
    reply_to: ReplyTo
    stream_id: str
    rule: str
    """Why this agent."""
    dedupe_scope: str
    dedupe_id: str
    """'' is never the same."""
    digest: bytes
    """Of what has to be the same under the same id."""
    client_id: str = ""
    correlation_id: str = ""
    """'' is the execution's own id."""
    idempotency_key: str = ""
    trace: str = ""


def unit_of(
    work: Standalone, clock: Clock, events: ExecutionEvents, execution_id: str, given: Checkpoint | None = None
) -> tuple[Acceptance, Execution]:
    """The unit and the execution in it; `given` is what that begins with."""
    now = clock.now()
    inbound = Inbound(
        message_id=events.ids.new(),
        origin=work.origin,
        principal=work.principal,
        channel="",
        chat=work.client_id,
        peer=work.principal,
        platform_id=work.idempotency_key,
        context="",
        text=work.text,
        received=now,
    )
    execution = Execution(
        id=execution_id,
        message_id=inbound.message_id,
        session_id="",
        agent=work.agent,
        principal=work.principal,
        origin=work.origin,
        text=work.text,
        reply_to=work.reply_to,
        stream_id=work.stream_id,
        correlation_id=work.correlation_id or execution_id,
        created=now,
        idempotency_key=work.idempotency_key,
        trace=work.trace,
    )
    acceptance = Acceptance(
        inbound=inbound,
        dedupe_scope=work.dedupe_scope,
        dedupe_id=work.dedupe_id,
        digest=work.digest,
        session=None,
        execution=execution,
        state=LedgerState.QUEUED,
        steps=accepted(work.origin, work.door, work.rule, work.agent, now),
        rule=work.rule,
        given=given,
        events=(events.make(execution, EventType.EXECUTION_QUEUED, {"reason": ""}),),
    )
    return acceptance, execution

"""What starting an entry point writes: pure values, as `intake` makes them for messages.

Such work has no session: an entry point's executions share no conversation, so a row for each would only be one more
thing to expire, and its `session_started` one more event that could start an entry point again. Its events go to the
stream of the entry point, which is also how a stored execution tells where it came from.
"""

import hashlib

from gatewayd.agents.graph.names import graph_of, runner
from gatewayd.config.model import EntryPointSection, GatewayConfig
from gatewayd.core.checkpoint import Checkpoint, CheckpointKind
from gatewayd.core.clock import Clock
from gatewayd.core.errors import EntryPointNotFound, InvalidArgument
from gatewayd.core.event import EventType
from gatewayd.core.message import ReplyKind, ReplyTo
from gatewayd.core.work import Execution, LedgerState, Trigger
from gatewayd.ledger import accepted
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.storage.records import Acceptance, Inbound


def entry_point(config: GatewayConfig, name: str) -> EntryPointSection:
    """The entry point of that name, or `EntryPointNotFound`."""
    section = config.entry_points.get(name)
    if section is None:
        known = ", ".join(sorted(config.entry_points)[:20]) or "none"
        raise EntryPointNotFound(f"no entry point {name!r} is configured (there are: {known})")
    return section


def runs(section: EntryPointSection) -> str:
    """What its executions say of who runs them: its agent, or its graph."""
    return section.agent or runner(section.graph or "", section.entry_node)


def dedupe_scope(trigger: Trigger) -> str:
    """Whose keys its idempotency key is one of."""
    return f"trigger:{trigger.principal}"


class Triggers:
    """Makes the unit of one trigger."""

    def __init__(self, clock: Clock, events: ExecutionEvents) -> None:
        self._clock = clock
        self._events = events

    def work(self, trigger: Trigger, entry: EntryPointSection) -> tuple[Acceptance, Execution]:
        """The unit and the execution in it; the same key with another input or entry point is a conflict."""
        if not trigger.text.strip():
            raise InvalidArgument("the input has no text")
        ids, now, name, agent = self._events.ids, self._clock.now(), trigger.entry_point, runs(entry)
        execution_id = ids.new()
        inbound = Inbound(
            message_id=ids.new(),
            origin=trigger.origin,
            principal=trigger.principal,
            channel="",
            chat=trigger.client_id,
            peer=trigger.principal,
            platform_id=trigger.idempotency_key,
            context="",
            text=trigger.text,
            received=now,
        )
        execution = Execution(
            id=execution_id,
            message_id=inbound.message_id,
            session_id="",
            agent=agent,
            principal=trigger.principal,
            origin=trigger.origin,
            text=trigger.text,
            reply_to=_reply_to(trigger, entry),
            stream_id=name,
            correlation_id=trigger.correlation_id or execution_id,
            created=now,
            idempotency_key=trigger.idempotency_key,
            trace=trigger.trace,
        )
        rule = f"entry_points.{name}.{'graph' if graph_of(agent) else 'agent'}"
        content = (name, trigger.text, trigger.given) if trigger.given else (name, trigger.text)
        given = Checkpoint(ids.new(), execution_id, "", CheckpointKind.GIVEN, trigger.given, "", now)
        acceptance = Acceptance(
            inbound=inbound,
            dedupe_scope=dedupe_scope(trigger),
            dedupe_id=trigger.idempotency_key,
            digest=hashlib.sha256(repr(content).encode()).digest(),
            session=None,
            execution=execution,
            state=LedgerState.QUEUED,
            steps=accepted(trigger.origin, name, rule, agent, now),
            rule=rule,
            given=given if trigger.given else None,
            events=(self._events.make(execution, EventType.EXECUTION_QUEUED, {"reason": ""}),),
        )
        return acceptance, execution


def _reply_to(trigger: Trigger, entry: EntryPointSection) -> ReplyTo:
    """Into the chat that the entry point answers to; else it is the caller's to read."""
    if entry.channel and entry.channel_id:
        return ReplyTo(ReplyKind.CHANNEL, entry.channel, entry.channel_id, client_id=trigger.client_id)
    return ReplyTo(ReplyKind.CALLER, client_id=trigger.client_id)

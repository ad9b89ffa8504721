"""What starting an entry point writes: pure values, as `intake` makes them for messages.

Such work has no session: an entry point's executions share no conversation, so a row for each would only be one more
thing to expire, and its `session_started` one more event that could start an entry point again. Its events go to the
stream of the entry point, which is also how a stored execution tells where it came from.
"""

import hashlib

from gatewayd.access.principals import Principal
from gatewayd.access.scopes import Action
from gatewayd.agents.graph.names import graph_of, runner
from gatewayd.config.model import EntryPointSection, GatewayConfig
from gatewayd.core.checkpoint import Checkpoint, CheckpointKind
from gatewayd.core.clock import Clock
from gatewayd.core.errors import EntryPointNotFound, InvalidArgument
from gatewayd.core.message import ReplyKind, ReplyTo
from gatewayd.core.work import Execution, Trigger
from gatewayd.routing.standalone import Standalone, unit_of
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.storage.records import Acceptance


def entry_point(config: GatewayConfig, name: str, asks: Principal | None = None) -> EntryPointSection:
    """The entry point of that name, or `EntryPointNotFound`, which tells who asks of those that it may start."""
    section = config.entry_points.get(name)
    if section is None:
        others = f" (there are: {asks.names(Action.RUNTIME, config.entry_points)})" if asks is not None else ""
        raise EntryPointNotFound(f"no entry point {name!r} is configured{others}")
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
        name, agent, execution_id = trigger.entry_point, runs(entry), self._events.ids.new()
        content = (name, trigger.text, trigger.given) if trigger.given else (name, trigger.text)
        work = Standalone(
            origin=trigger.origin,
            door=name,
            principal=trigger.principal,
            agent=agent,
            text=trigger.text,
            reply_to=_reply_to(trigger, entry),
            stream_id=name,
            rule=f"entry_points.{name}.{'graph' if graph_of(agent) else 'agent'}",
            dedupe_scope=dedupe_scope(trigger),
            dedupe_id=trigger.idempotency_key,
            digest=hashlib.sha256(repr(content).encode()).digest(),
            client_id=trigger.client_id,
            correlation_id=trigger.correlation_id,
            idempotency_key=trigger.idempotency_key,
            trace=trigger.trace,
        )
        return unit_of(work, self._clock, self._events, execution_id, self._given(trigger, execution_id))

    def _given(self, trigger: Trigger, execution_id: str) -> Checkpoint | None:
        """What the execution begins with, as its first checkpoint."""
        if not trigger.given:
            return None
        made = self._clock.now()
        return Checkpoint(self._events.ids.new(), execution_id, "", CheckpointKind.GIVEN, trigger.given, "", made)


def _reply_to(trigger: Trigger, entry: EntryPointSection) -> ReplyTo:
    """Into the chat that the entry point answers to; else it is the caller's to read."""
    if entry.channel and entry.channel_id:
        return ReplyTo(ReplyKind.CHANNEL, entry.channel, entry.channel_id, client_id=trigger.client_id)
    return ReplyTo(ReplyKind.CALLER, client_id=trigger.client_id)

"""What taking in one message writes: pure values, made in one place for every door.

The router decides; here its decisions become the one unit that the store commits.
"""

import hashlib
from collections.abc import Mapping
from typing import Any

from gatewayd.config.model import SessionConfigSection
from gatewayd.core.checkpoint import Question
from gatewayd.core.clock import Clock
from gatewayd.core.event import Event, EventType
from gatewayd.core.frames import Send
from gatewayd.core.ids import IdSource
from gatewayd.core.message import InboundMessage, ReplyKind, ReplyTo
from gatewayd.core.work import Execution, LedgerState, Origin
from gatewayd.ledger import accepted, turned_away
from gatewayd.runtime.emit import SOURCE, ExecutionEvents
from gatewayd.sessions import Opened
from gatewayd.storage.records import Acceptance, Answer, HistoryEntry, Inbound, OutboxRow


def chat_scope(message: InboundMessage) -> str:
    """Within this a platform's message ids are unique."""
    return f"chat:{message.channel}/{message.account}"


def chat_reply(message: InboundMessage) -> ReplyTo:
    """An answer goes to the same room, and quotes the message."""
    return ReplyTo(ReplyKind.CHANNEL, message.channel, message.chat, message.thread, quote=message.platform_id)


class Intake:
    """Makes journal rows, executions and acceptances."""

    def __init__(self, clock: Clock, ids: IdSource, events: ExecutionEvents) -> None:
        self._clock = clock
        self._ids = ids
        self._events = events

    def from_chat(self, message: InboundMessage, principal: str) -> Inbound:
        """The journal row of a chat message."""
        return Inbound(
            message_id=self._ids.new(),
            origin=Origin.CHAT,
            principal=principal,
            channel=message.channel,
            chat=message.chat,
            peer=message.peer,
            platform_id=message.platform_id,
            context=message.context.value,
            text=message.text,
            received=self._clock.now(),
        )

    def from_client(self, send: Send, principal: str, client_id: str) -> Inbound:
        """The journal row of a send over gRPC; its idempotency key stands where a platform's id would."""
        return Inbound(
            message_id=self._ids.new(),
            origin=Origin.CLIENT,
            principal=principal,
            channel=send.channel,
            chat=client_id,
            peer=principal,
            platform_id=send.idempotency_key,
            context=send.context.value if send.channel else "",
            text=send.text,
            received=self._clock.now(),
        )

    def execution(self, inbound: Inbound, opened: Opened, agent: str, reply_to: ReplyTo) -> Execution:
        """The run that will answer it."""
        execution_id = self._ids.new()
        return Execution(
            id=execution_id,
            message_id=inbound.message_id,
            session_id=opened.record.id,
            agent=agent,
            principal=opened.record.principal,
            origin=inbound.origin,
            text=inbound.text,
            reply_to=reply_to,
            stream_id=agent,
            correlation_id=execution_id,
            created=inbound.received,
        )

    def chat_work(self, message: InboundMessage, inbound: Inbound, opened: Opened, execution: Execution) -> Acceptance:
        """A chat message that an agent will answer."""
        return Acceptance(
            inbound=inbound,
            dedupe_scope=chat_scope(message),
            dedupe_id=message.platform_id,
            digest=b"",
            session=opened.record,
            execution=execution,
            state=LedgerState.QUEUED,
            steps=accepted(Origin.CHAT, message.channel, opened.record.rule, execution.agent, inbound.received),
            rule=opened.record.rule,
            events=self._work_events(inbound, opened, execution),
        )

    def client_work(self, send: Send, inbound: Inbound, opened: Opened, rule: str, execution: Execution) -> Acceptance:
        """A send that an agent will answer; sending other words under the same key is a conflict."""
        content = repr((send.agent, send.channel, send.session_id, send.text)).encode()
        return Acceptance(
            inbound=inbound,
            dedupe_scope=f"client:{inbound.principal}",
            dedupe_id=send.idempotency_key,
            digest=hashlib.sha256(content).digest(),
            session=opened.record,
            execution=execution,
            state=LedgerState.QUEUED,
            steps=accepted(Origin.CLIENT, inbound.chat, rule, execution.agent, inbound.received),
            rule=rule,
            events=self._work_events(inbound, opened, execution),
        )

    def turned_away(
        self, message: InboundMessage, inbound: Inbound, why: str, reason: str, outbox: tuple[OutboxRow, ...]
    ) -> Acceptance:
        """A chat message that nobody is asked about; with `outbox` its sender is told."""
        step = "refused" if reason else "silent"
        error = self.event(EventType.ERROR, message.channel, {"reason": reason, "message": why})
        return Acceptance(
            inbound=inbound,
            dedupe_scope=chat_scope(message),
            dedupe_id=message.platform_id,
            digest=b"",
            session=None,
            execution=None,
            state=LedgerState.EXECUTED if outbox else LedgerState.SILENT,
            steps=turned_away(Origin.CHAT, message.channel, step, why, inbound.received),
            outcome=LedgerState.FAILED_AND_TOLD if outbox else None,
            outbox=outbox,
            events=(error,) if reason else (),
        )

    def remembered(
        self,
        message: InboundMessage,
        inbound: Inbound,
        opened: Opened,
        *,
        why: str,
        history: tuple[HistoryEntry, ...],
        bounds: SessionConfigSection,
    ) -> Acceptance:
        """A chat message that becomes part of the conversation and is not answered."""
        return Acceptance(
            inbound=inbound,
            dedupe_scope=chat_scope(message),
            dedupe_id=message.platform_id,
            digest=b"",
            session=opened.record,
            execution=None,
            state=LedgerState.SILENT,
            steps=turned_away(Origin.CHAT, message.channel, "silent", why, inbound.received),
            rule=opened.record.rule,
            remembered=history,
            history_max_messages=bounds.max_messages,
            history_max_bytes=bounds.max_bytes,
            events=(*opened.events, self._message(inbound, opened)),
        )

    def answer(
        self, message: InboundMessage, inbound: Inbound, opened: Opened, waiting: Execution, question: Question
    ) -> Acceptance:
        """A chat message that is the input of an execution which waits for it."""
        where = f" at {question.node_id}" if question.node_id else ""
        data = {"reason": f"input from {inbound.principal}"}
        resumed = self._events.make(waiting, EventType.EXECUTION_RESUMED, data, node_id=question.node_id)
        steps = turned_away(
            Origin.CHAT, message.channel, "input", f"of execution {waiting.id}{where}", inbound.received
        )
        return Acceptance(
            inbound=inbound,
            dedupe_scope=chat_scope(message),
            dedupe_id=message.platform_id,
            digest=b"",
            session=opened.record,
            execution=None,
            state=LedgerState.QUEUED,
            steps=steps,
            rule=opened.record.rule,
            answer=Answer(waiting.id, question.node_id),
            events=(self._message(inbound, opened), resumed),
        )

    def told(
        self, message: InboundMessage, inbound: Inbound, opened: Opened, outbox: tuple[OutboxRow, ...], *, ok: bool
    ) -> Acceptance:
        """A chat message that the gateway itself answers."""
        name, why = ("command", message.text.split()[0]) if ok else ("refused", "it is too long for an answer")
        return Acceptance(
            inbound=inbound,
            dedupe_scope=chat_scope(message),
            dedupe_id=message.platform_id,
            digest=b"",
            session=opened.record,
            execution=None,
            state=LedgerState.EXECUTED,
            steps=turned_away(Origin.CHAT, message.channel, name, why, inbound.received),
            rule=opened.record.rule,
            outcome=LedgerState.ANSWERED if ok else LedgerState.FAILED_AND_TOLD,
            outbox=outbox,
            events=(self._message(inbound, opened),),
        )

    def event(self, kind: EventType, stream_id: str, data: Mapping[str, Any]) -> Event:
        """An event of the daemon's own, of no execution."""
        return Event(
            id=self._ids.new(), type=kind, source=SOURCE, stream_id=stream_id, time=self._clock.now(), data=data
        )

    def _work_events(self, inbound: Inbound, opened: Opened, execution: Execution) -> tuple[Event, ...]:
        queued = self._events.make(execution, EventType.EXECUTION_QUEUED, {"reason": ""})
        return (*opened.events, self._message(inbound, opened), queued)

    def _message(self, inbound: Inbound, opened: Opened) -> Event:
        data = {"content": inbound.text, "parts": {}, "sender": inbound.peer, "reply_to": ""}
        return Event(
            id=self._ids.new(),
            type=EventType.MESSAGE,
            source=SOURCE,
            stream_id=inbound.channel or inbound.chat,
            time=self._clock.now(),
            data=data,
            session_id=opened.record.id,
            owner=opened.record.principal,
        )

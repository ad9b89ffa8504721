"""What the message engine tells, as events: messages with the execution that they are part of, failures in any case.

A message is told twice: when it is sent, which is kept, and when it is delivered, which is not.

Nobody waits for these events to be written; they go with whatever is written next.
"""

import logging
from collections.abc import Callable, Mapping

from gatewayd.agents.messages import text_of
from gatewayd.core.agents import AgentId, Message
from gatewayd.core.errors import GatewayError
from gatewayd.core.event import Event, EventType
from gatewayd.engine.context import Belonging
from gatewayd.engine.errors import MalformedMessage, UnknownMessageType
from gatewayd.engine.events import (
    AgentNotMade,
    EngineEvent,
    HandlerFailed,
    HandlerLeftBehind,
    MessageDropped,
    MessageEvent,
    MessageKind,
    Stage,
)
from gatewayd.engine.serializers import Serializers
from gatewayd.runtime.emit import ExecutionEvents
from gatewayd.runtime.speaking import TEXT, Work
from gatewayd.wire.values import valid_text

log = logging.getLogger("gatewayd.engine")

MAX_SHOWN = 4096
"""Characters of a message that its event shows."""


class MessageNews:
    """The sink of the daemon's engine. `record` takes durable events of executions, `publish` those that are not, and
    `tell` makes one of the daemon's own."""

    def __init__(
        self,
        events: ExecutionEvents,
        *,
        record: Callable[[Event], None],
        publish: Callable[[Event], None],
        tell: Callable[[EventType, Mapping[str, object]], None],
    ) -> None:
        self._events = events
        self._record = record
        self._publish = publish
        self._tell = tell
        self.serializers = Serializers()
        """The engine's; given when that is made."""

    def __call__(self, event: EngineEvent) -> None:
        """Take one."""
        match event:
            case MessageEvent():
                self._message(event)
            case HandlerFailed(topic=topic) if topic is not None:
                reason = event.error.reason if isinstance(event.error, GatewayError) else "HANDLER_FAILED"
                shown = event.error.message if isinstance(event.error, GatewayError) else type(event.error).__name__
                what = f"{event.agent} failed on a message about {topic}: {shown}"
                self._error(event.belonging, event.agent, reason, what)
            case HandlerLeftBehind():
                what = f"{event.agent} goes on although it was interrupted; nothing waits for it any more"
                self._error(event.belonging, event.agent, "AGENT_LEFT_BEHIND", what)
            case MessageDropped():
                log.warning(
                    "message_dropped",
                    extra={"agent": str(event.agent or ""), "topic": str(event.topic), "reason": event.reason.value},
                )
                who = str(event.agent) if event.agent is not None else "nobody"
                what = f"a message about {event.topic} did not reach {who}: {event.reason.value}"
                self._error(event.belonging, event.agent, "MESSAGE_DROPPED", what)
            case AgentNotMade():
                what = f"{event.agent} could not be made: {type(event.error).__name__}: {event.error}"
                self._error(Work(), event.agent, "AGENT_NOT_MADE", what)

    def _message(self, event: MessageEvent) -> None:
        work = event.belonging
        if not isinstance(work, Work) or work.execution is None:
            return
        responds = event.kind is MessageKind.RESPOND
        if (event.receiver if responds else event.sender) is None:
            return  # the turn itself, which its execution tells of
        delivered = event.stage is Stage.DELIVER
        if delivered and self._events.unheard(EventType.MESSAGE):
            return
        data_type, content = ("", "") if delivered else self._shown(event.message)
        data = {
            "content": valid_text(content),
            "parts": {
                "kind": event.kind.value,
                "stage": event.stage.value,
                "receiver": str(event.receiver),
                "message_id": event.message_id,
                "data_type": data_type,
            },
            "sender": str(event.sender),
            "reply_to": event.message_id if responds else "",
        }
        node = event.sender.type if event.sender is not None else ""
        # The log has what was said; that it arrived is for whoever looks on.
        made = self._events.make(work.execution, EventType.MESSAGE, data, node_id=node, durable=not delivered)
        (self._publish if delivered else self._put)(made)

    def _error(self, belonging: Belonging, agent: AgentId | None, reason: str, what: str) -> None:
        data = {"reason": reason, "message": valid_text(what[:MAX_SHOWN])}
        if isinstance(belonging, Work) and belonging.execution is not None:
            node = agent.type if agent is not None else ""
            self._put(self._events.make(belonging.execution, EventType.ERROR, data, node_id=node))
        else:
            self._tell(EventType.ERROR, data)

    def _put(self, event: Event) -> None:
        try:
            self._record(event)
        except GatewayError as error:  # the store cannot take it: that costs the event, not the message
            log.warning("event_not_recorded", extra={"type": event.type.label, "reason": error.reason})

    def _shown(self, message: object) -> tuple[str, str]:
        """The type of a message, '' for text, and as much of it as is shown."""
        if isinstance(message, str):
            return "", message[:MAX_SHOWN]
        if not isinstance(message, Message):
            try:
                message = self.serializers.encode(message)
            except (UnknownMessageType, MalformedMessage):
                return type(message).__name__, _plain(message)[:MAX_SHOWN]
        shown = message.data.decode(errors="replace")[:MAX_SHOWN]
        return ("" if message.data_type == TEXT else message.data_type), shown


def _plain(message: object) -> str:
    """A message that cannot come over the wire, such as a reply that no handler takes, as far as it is plain values."""
    try:
        return text_of(message)
    except (TypeError, ValueError, RecursionError):
        return ""

"""Tells the sink and the log what became of messages."""

import logging

from gatewayd.core.agents import AgentId, Message, TopicId
from gatewayd.core.errors import DeadlineExceeded, GatewayError
from gatewayd.engine.call import Call
from gatewayd.engine.context import NOBODYS, Belonging
from gatewayd.engine.errors import (
    ConstructionFailed,
    MalformedMessage,
    Superseded,
    UnhandledMessage,
    UnknownMessageType,
)
from gatewayd.engine.events import (
    AgentEvicted,
    AgentNotMade,
    DropReason,
    EngineEvent,
    EventSink,
    HandlerFailed,
    HandlerLeftBehind,
    MessageDropped,
    MessageEvent,
    MessageKind,
    Stage,
)
from gatewayd.engine.traffic import Traffic

log = logging.getLogger("gatewayd.engine")


def unfit(call: Call, error: BaseException) -> DropReason | None:
    """Why a published message was not for this agent; None where its handler failed."""
    if isinstance(error, UnhandledMessage) and error.metadata.get("agent") == str(call.lane.id):
        return DropReason.UNHANDLED
    crosses = isinstance(call.message, Message) or call.lane.takes_bytes
    return DropReason.UNREADABLE if crosses and isinstance(error, UnknownMessageType | MalformedMessage) else None


def reason_of(verdict: GatewayError) -> DropReason:
    """Why a published message was not handled that ends with this verdict."""
    match verdict:
        case Superseded():
            return DropReason.SUPERSEDED
        case DeadlineExceeded():
            return DropReason.EXPIRED
        case ConstructionFailed():
            return DropReason.NOT_CONSTRUCTED
    return DropReason.CANCELLED


class News:
    """Counts what goes wrong, and tells of it."""

    def __init__(self, sink: EventSink | None, traffic: Traffic) -> None:
        self._sink = sink
        self._traffic = traffic

    @property
    def wanted(self) -> bool:
        """Whether anybody listens; the stages of messages are told only then."""
        return self._sink is not None

    def stage(self, call: Call, kind: MessageKind, stage: Stage, message: object) -> None:
        """A message of this call is at one end of its way."""
        sender: AgentId | None = call.sender
        receiver: AgentId | None = call.lane.id
        if kind is MessageKind.RESPOND:
            sender, receiver = receiver, sender
        self._tell(MessageEvent(kind, stage, call.message_id, sender, receiver, message, call.belonging))

    def published(
        self, message: object, message_id: str, sender: AgentId | None, topic: TopicId, belonging: Belonging
    ) -> None:
        """A message was published."""
        self._tell(MessageEvent(MessageKind.PUBLISH, Stage.SEND, message_id, sender, topic, message, belonging))

    def dropped(self, call: Call, reason: DropReason) -> None:
        """A published message ends without having been handled; for a direct one the caller is told instead."""
        if call.waiter is None and call.topic is not None:
            self.not_delivered(
                reason,
                call.message,
                call.message_id,
                call.sender,
                call.topic,
                agent=call.lane.id,
                belonging=call.belonging,
            )

    def not_delivered(
        self,
        reason: DropReason,
        message: object,
        message_id: str,
        sender: AgentId | None,
        topic: TopicId,
        *,
        agent: AgentId | None = None,
        belonging: Belonging = NOBODYS,
    ) -> None:
        """As `dropped`, where it did not even become a call."""
        self._traffic.dropped += 1
        self._tell(MessageDropped(reason, message_id, sender, topic, agent, message, belonging))

    def failed(self, call: Call, error: BaseException) -> None:
        """A handler raised. Only what nobody else is told of goes to the log."""
        self._traffic.failed += 1
        if call.waiter is None:
            extra = {"agent": str(call.lane.id), "topic": str(call.topic), "message_id": call.message_id}
            log.error("message_handler_failed", extra=extra, exc_info=error)
        self._tell(HandlerFailed(call.lane.id, call.message_id, call.topic, error, call.message, call.belonging))

    def left_behind(self, call: Call) -> None:
        """A handler swallows its cancellation."""
        log.error("handler_left_behind", extra={"agent": str(call.lane.id), "message_id": call.message_id})
        self._tell(HandlerLeftBehind(call.lane.id, call.message_id, call.belonging))

    def not_made(self, agent: AgentId, error: BaseException) -> None:
        """A construction failed."""
        self._traffic.not_made += 1
        log.error("agent_not_made", extra={"agent": str(agent)}, exc_info=error)
        self._tell(AgentNotMade(agent, error))

    def evicted(self, agent: AgentId) -> None:
        """An idle instance was put away."""
        self._traffic.evicted += 1
        self._tell(AgentEvicted(agent))

    def _tell(self, event: EngineEvent) -> None:
        if self._sink is None:
            return
        try:
            self._sink(event)
        except Exception:  # the boundary of foreign code: telling must not harm what is told of
            log.exception("engine_sink_failed")

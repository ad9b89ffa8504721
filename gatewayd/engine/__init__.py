"""What an author of message handlers needs."""

from gatewayd.core.agents import AgentId, Message, TopicId
from gatewayd.engine.cancellation import CancellationToken
from gatewayd.engine.context import MessageContext
from gatewayd.engine.errors import CallCycle, MalformedMessage, MessageRefused, UnhandledMessage, UnknownMessageType
from gatewayd.engine.handlers import HandlerAgent, message_handler

__all__ = [
    "AgentId",
    "CallCycle",
    "CancellationToken",
    "HandlerAgent",
    "MalformedMessage",
    "Message",
    "MessageContext",
    "MessageRefused",
    "TopicId",
    "UnhandledMessage",
    "UnknownMessageType",
    "message_handler",
]

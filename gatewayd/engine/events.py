"""What the engine tells of messages: values for a sink, which may make events of them.

Facts that something went wrong are told in any case; a `MessageEvent` for every stage of every message costs, so it is
made only for a sink that wants it.
"""

from collections.abc import Callable
from dataclasses import field
from enum import StrEnum

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.value import value
from gatewayd.engine.context import NOBODYS, Belonging


class MessageKind(StrEnum):
    """How a message came."""

    DIRECT = "direct"
    PUBLISH = "publish"
    RESPOND = "respond"


class Stage(StrEnum):
    """Which end of its way a message is at."""

    SEND = "send"
    DELIVER = "deliver"


class DropReason(StrEnum):
    """Why a published message did not reach an agent that subscribed."""

    OVERLOADED = "overloaded"
    """The queue of the instance, of the engine, or the number of instances is at its bound."""
    UNHANDLED = "unhandled"
    """The agent has no handler for the type."""
    UNREADABLE = "unreadable"
    """The type is not registered, or the data is not what it says."""
    REFUSED = "refused"
    """The admission dropped it."""
    SUPERSEDED = "superseded"
    """A newer one took its place."""
    EXPIRED = "expired"
    """Its deadline passed while it waited."""
    CANCELLED = "cancelled"
    """Its publisher took it back, or the engine stopped."""
    NOT_CONSTRUCTED = "not_constructed"
    """The agent could not be made."""


@value(frozen=True, slots=True)
class MessageEvent:
    """A message at one end of its way."""

    kind: MessageKind
    stage: Stage
    message_id: str
    sender: AgentId | None
    receiver: AgentId | TopicId | None
    """None for the reply to a caller that is no agent."""
    message: object = field(repr=False)
    belonging: Belonging = NOBODYS


@value(frozen=True, slots=True)
class MessageDropped:
    """A published message that an agent will not see."""

    reason: DropReason
    message_id: str
    sender: AgentId | None
    topic: TopicId
    agent: AgentId | None
    """Who would have got it; None where it was dropped for all."""
    message: object = field(repr=False)
    belonging: Belonging = NOBODYS


@value(frozen=True, slots=True)
class HandlerFailed:
    """A handler raised; of a direct message the caller was told, of a published one only this tells."""

    agent: AgentId
    message_id: str
    topic: TopicId | None
    error: BaseException
    message: object = field(repr=False)
    belonging: Belonging = NOBODYS


@value(frozen=True, slots=True)
class HandlerLeftBehind:
    """A handler did not end although it was interrupted. It may still be at work, but nothing waits for it any more."""

    agent: AgentId
    message_id: str
    belonging: Belonging = NOBODYS


@value(frozen=True, slots=True)
class AgentNotMade:
    """The construction of an instance failed; so did the messages that waited for it."""

    agent: AgentId
    error: BaseException


@value(frozen=True, slots=True)
class AgentEvicted:
    """An instance that had nothing to do was put away, its state saved."""

    agent: AgentId


EngineEvent = MessageEvent | MessageDropped | HandlerFailed | HandlerLeftBehind | AgentNotMade | AgentEvicted

EventSink = Callable[[EngineEvent], None]
"""Told of each, on the event loop; it must not wait. What it raises is logged."""

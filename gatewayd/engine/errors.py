"""The verdicts of the engine; those that are made here share the code and reason of their parent in `core.errors`."""

from gatewayd.core.errors import (
    AlreadyExists,
    CallCycle,
    Cancelled,
    EngineMisused,
    ExecutionFailed,
    InvalidArgument,
    NotFound,
)

__all__ = [
    "AgentTypeExists",
    "CallCycle",
    "ConstructionFailed",
    "EngineMisused",
    "HandlerExited",
    "MalformedMessage",
    "MessageRefused",
    "SubscriptionExists",
    "SubscriptionNotFound",
    "Superseded",
    "UnhandledMessage",
    "UnknownMessageType",
]


class AgentTypeExists(AlreadyExists):
    """An agent of that type is registered."""


class ConstructionFailed(ExecutionFailed):
    """The factory failed, took too long, or made something else than was expected; nothing was handled."""


class HandlerExited(ExecutionFailed):
    """The handler ended by what is no error, such as an exit, which is not that of whoever waits for it."""


class SubscriptionExists(AlreadyExists):
    """A subscription with that id, or of that topic and agent, is there."""


class SubscriptionNotFound(NotFound):
    """There is no subscription with that id."""


class UnhandledMessage(InvalidArgument):
    """The agent has no handler for messages of that type."""


class UnknownMessageType(InvalidArgument):
    """Nobody registered how messages of that type are written."""


class MalformedMessage(InvalidArgument):
    """The data is not what its type says."""


class MessageRefused(Cancelled):
    """The admission dropped the message: it reaches nobody."""


class Superseded(Cancelled):
    """A newer message took its place before it was handled: the agent wants the latest only."""

"""The verdicts of the engine; each shares the code and reason of its parent in `core.errors`."""

from gatewayd.core.errors import AlreadyExists, Cancelled, ExecutionFailed, Internal, InvalidArgument, NotFound


class EngineMisused(Internal):
    """Started twice, stopped when it does not run, or a step asked of an engine that takes its own."""


class AgentTypeExists(AlreadyExists):
    """An agent of that type is registered."""


class ConstructionFailed(ExecutionFailed):
    """The factory failed, took too long, or made something else than was expected; nothing was handled."""


class CallCycle(ExecutionFailed):
    """An agent that takes one message at a time is asked, through others, by itself: it could never answer."""


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

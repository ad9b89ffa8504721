"""One client as the gateway knows it: its connection or what that left behind, and what waits for it."""

from gatewayd.conversation.conversation import Conversation
from gatewayd.conversation.inbox import Inbox
from gatewayd.conversation.sends import Waiting
from gatewayd.core.filter import EventFilter
from gatewayd.core.frames import LostSubscription
from gatewayd.core.value import value

Key = tuple[str, str]
"""Principal and client id."""


@value(frozen=True, slots=True)
class Left:
    """What a connection that broke left behind."""

    token: str
    lost: tuple[LostSubscription, ...]
    filters: tuple[EventFilter, ...]
    """Of the lost subscriptions, in their order: each cursor brings the durable events that its filter selects."""
    waiting: tuple[Waiting, ...]
    version: str
    """What the client said of its software."""
    opened: float
    """When the connection began, Unix seconds."""
    since: float
    """When it broke, Unix seconds."""
    until: float
    """When all of it is forgotten, by the monotonic clock."""
    earlier_token: str = ""
    """That which the connection resumed with, if its welcome may not have arrived: the client knows of no other."""

    def is_for(self, token: str) -> bool:
        """Whether who has this token takes it up."""
        return bool(token) and token in (self.token, self.earlier_token)


class Client:
    """One client that is known: connected, or away."""

    __slots__ = ("client_id", "conversation", "inbox", "left", "principal")

    def __init__(self, principal: str, client_id: str) -> None:
        self.principal = principal
        self.client_id = client_id
        self.inbox = Inbox()
        self.conversation: Conversation | None = None
        self.left: Left | None = None

    @property
    def key(self) -> Key:
        return self.principal, self.client_id

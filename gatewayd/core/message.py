"""Messages: something addressed to someone, on its way in and on its way out."""

from enum import StrEnum

from gatewayd.core.value import value


class ChatContext(StrEnum):
    """The kind of room a message was said in; routing decides by it."""

    DM = "dm"
    GROUP = "group"
    CHANNEL = "channel"


@value(frozen=True, slots=True)
class InboundMessage:
    """One message from a chat platform, as its adapter hands it over. All ids are strings."""

    channel: str
    """Name of the configured channel."""
    platform_id: str
    """The platform's id of this message, unique within (channel, account); the key against duplicates."""
    chat: str
    """The room: where an answer goes."""
    peer: str
    """The person, by immutable id."""
    context: ChatContext
    text: str
    time: float
    """When the platform says it was sent, Unix seconds."""
    account: str = ""
    """The bot's own identity on the platform."""
    peer_name: str = ""
    thread: str = ""
    mentioned: bool = False
    """Whether it names the bot or answers it; a group's policy asks."""
    command: bool = False
    """Whether it is a command to the bot (`/help`)."""
    roles: tuple[str, ...] = ()


class ReplyKind(StrEnum):
    """Where an answer goes."""

    CHANNEL = "channel"
    """Through the outbox of a channel."""
    CALLER = "caller"
    """To the client that asked, over gRPC; the answer is kept with the execution."""
    TOPIC = "topic"
    """Nowhere: the message was published. `chat` is its topic, `thread` the type of its data ('' for text)."""


@value(frozen=True, slots=True)
class ReplyTo:
    """All that is needed to deliver an answer; kept in the execution's row so that a crash cannot lose it."""

    kind: ReplyKind
    channel: str = ""
    chat: str = ""
    thread: str = ""
    quote: str = ""
    """Platform id of the message that is answered."""
    client_id: str = ""

    def sends_to(self, channel: str) -> bool:
        """Whether the answer is a message on that channel."""
        return self.kind is ReplyKind.CHANNEL and self.channel == channel


@value(frozen=True, slots=True)
class OutboundMessage:
    """One piece of text to send: at most the platform's limit long, in order within its chat."""

    id: str
    """The outbox row."""
    key: str
    """Deterministic idempotency key; the same for every try of the same piece."""
    channel: str
    chat: str
    text: str
    thread: str = ""
    quote: str = ""

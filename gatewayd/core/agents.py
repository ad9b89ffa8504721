"""Who a message is for, and the form in which it travels: `AgentId`, `TopicId`, `Message`.

Grammars, as in the field: a type is letters, digits, `_`, `-` and `.`; the type of a topic may also have `:` and `=`. A
key or a source is any text without control characters. The text form is `TYPE/KEY`, split at the first slash.
"""

import re
from enum import StrEnum

from gatewayd.core.errors import InvalidArgument
from gatewayd.core.value import value

DEFAULT_KEY = "default"
"""The key of an agent of which there is one, and the source of the default topic."""
DEFAULT_TOPIC_TYPE = "default"
MAX_TYPE = 256
"""Characters of a type."""
MAX_KEY = 1024
"""Characters of a key or a source."""

_AGENT_TYPE = re.compile(r"[\w\-.]+\Z")
_TOPIC_TYPE = re.compile(r"[\w\-.:=]+\Z")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def check_agent_type(name: str) -> str:
    """The name, if it can be an agent's type; `InvalidArgument` otherwise."""
    return _checked(_AGENT_TYPE, name, "agent type")


def check_topic_type(name: str) -> str:
    """The name, if it can be a topic's type; `InvalidArgument` otherwise."""
    return _checked(_TOPIC_TYPE, name, "topic type")


@value(frozen=True, slots=True)
class AgentId:
    """One instance of an agent: its type chooses the factory, its key the instance."""

    type: str
    key: str = DEFAULT_KEY

    def __post_init__(self) -> None:
        check_agent_type(self.type)
        _check_key(self.key, "agent key")

    def __str__(self) -> str:
        return f"{self.type}/{self.key}"

    @classmethod
    def parse(cls, text: str) -> "AgentId":
        """Read `TYPE/KEY`, or `TYPE` alone for the default key; `InvalidArgument`."""
        kind, slash, key = text.partition("/")
        return cls(kind, key) if slash else cls(kind)


@value(frozen=True, slots=True)
class TopicId:
    """What a message is published about: subscriptions go by the type, the source chooses the instance."""

    type: str = DEFAULT_TOPIC_TYPE
    source: str = DEFAULT_KEY

    def __post_init__(self) -> None:
        check_topic_type(self.type)
        _check_key(self.source, "topic source")

    def __str__(self) -> str:
        return f"{self.type}/{self.source}"

    @classmethod
    def parse(cls, text: str) -> "TopicId":
        """Read `TYPE/SOURCE`, or `TYPE` alone for the default source; `InvalidArgument`."""
        kind, slash, source = text.partition("/")
        return cls(kind, source) if slash else cls(kind)


@value(frozen=True, slots=True)
class TopicFilter:
    """Which topics somebody hears: those of a type, or of every type that begins so. Written `TYPE` or `BEGINNING*`."""

    type: str
    prefix: bool = False

    def __post_init__(self) -> None:
        check_topic_type(self.type)

    def __str__(self) -> str:
        return f"{self.type}*" if self.prefix else self.type

    @classmethod
    def parse(cls, text: str) -> "TopicFilter":
        """Read one; `InvalidArgument`."""
        return cls(text.removesuffix("*"), text.endswith("*"))


class ContentType(StrEnum):
    """How the data of a message is written."""

    JSON = "application/json"
    PROTOBUF = "application/x-protobuf"


@value(frozen=True, slots=True)
class Message:
    """A message as bytes: what crosses a wire, or waits for somebody who knows its type."""

    data_type: str
    data: bytes
    data_content_type: ContentType = ContentType.JSON
    message_id: str = ""
    """'' where the engine gives one."""


def _checked(grammar: re.Pattern[str], name: str, what: str) -> str:
    if len(name) > MAX_TYPE or grammar.match(name) is None:
        raise InvalidArgument(f"{name[:80]!r} is no {what}")
    return name


def _check_key(key: str, what: str) -> None:
    if not key or len(key) > MAX_KEY or (not key.isprintable() and _CONTROL.search(key)):
        raise InvalidArgument(f"{key[:80]!r} is no {what}: 1 to {MAX_KEY} characters, none of them a control character")

"""How messages of each type are written, for agents behind a wire and for messages that come from there.

Between Python agents a message is passed as the object that it is; nobody encodes it. Only `Message` (bytes) is read,
when a Python agent is to handle it, and only an agent that takes bytes has its messages written.
"""

import dataclasses
import json
import typing
from typing import Any, Protocol

from gatewayd.core.agents import ContentType, Message
from gatewayd.core.errors import AlreadyExists
from gatewayd.engine.errors import MalformedMessage, UnknownMessageType
from gatewayd.engine.structure import from_plain, to_plain

NOTHING = "null"
"""The data type of the reply of a handler that returns nothing."""


class Serializer(Protocol):
    """Writes and reads messages of one type."""

    @property
    def data_type(self) -> str:
        """The name that travels."""
        ...

    @property
    def content_type(self) -> ContentType: ...

    def encode(self, message: Any) -> bytes:
        """`MalformedMessage` where it cannot be written."""
        ...

    def decode(self, data: bytes) -> Any:
        """`MalformedMessage` where the data is not what its type says."""
        ...


class JsonSerializer:
    """Of whatever `structure` knows: dataclasses, typed dictionaries, plain JSON."""

    content_type = ContentType.JSON

    def __init__(self, annotation: Any, data_type: str) -> None:
        self._annotation = annotation
        self.data_type = data_type

    def encode(self, message: Any) -> bytes:
        try:
            return json.dumps(to_plain(message), ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
        except (ValueError, TypeError) as error:  # NaN; a lone surrogate; a set whose items have no order
            raise MalformedMessage(f"a {self.data_type} cannot be written: {error}") from None

    def decode(self, data: bytes) -> Any:
        try:
            plain = json.loads(data)
        except (ValueError, RecursionError):
            raise MalformedMessage(f"the data of a {self.data_type} is no JSON") from None
        return from_plain(self._annotation, plain)


class ProtobufSerializer:
    """Of a generated message class."""

    content_type = ContentType.PROTOBUF

    def __init__(self, kind: Any, data_type: str) -> None:
        self._kind = kind
        self.data_type = data_type

    def encode(self, message: Any) -> bytes:
        encoded: bytes = message.SerializeToString()
        return encoded

    def decode(self, data: bytes) -> Any:
        try:
            return self._kind.FromString(data)
        except Exception:  # google.protobuf's DecodeError, whose module only `wire` may know
            raise MalformedMessage(f"the data is no {self.data_type}") from None


_PLAIN: tuple[tuple[Any, str], ...] = (
    (str, "str"),
    (int, "int"),
    (float, "float"),
    (bool, "bool"),
    (dict, "object"),
    (list, "array"),
    (type(None), NOTHING),
)


class Serializers:
    """The serializers of one engine, by data type and by Python type."""

    def __init__(self) -> None:
        self._by_name: dict[str, Serializer] = {}
        self._by_type: dict[Any, Serializer] = {}
        for kind, name in _PLAIN:
            self.add(kind, JsonSerializer(kind, name))

    def register(self, kind: Any, data_type: str = "") -> None:
        """Let messages of that type travel.

        Protobuf messages go by their full name, all others by their class's name unless `data_type` is given.
        Registering the same again is harmless; another type under a taken name is `AlreadyExists`; a type that has no
        written form is `UnknownMessageType`.
        """
        if kind in self._by_type:
            return
        if hasattr(kind, "DESCRIPTOR") and hasattr(kind, "FromString"):
            self.add(kind, ProtobufSerializer(kind, data_type or kind.DESCRIPTOR.full_name))
        elif isinstance(kind, type) and (dataclasses.is_dataclass(kind) or typing.is_typeddict(kind)):
            self.add(kind, JsonSerializer(kind, data_type or kind.__name__))
        else:
            raise UnknownMessageType(f"{kind!r} has no written form; add a serializer for it")

    def add(self, kind: Any, serializer: Serializer) -> None:
        """Use a serializer of your own for the type."""
        name = serializer.data_type
        if name in self._by_name:
            raise AlreadyExists(f"messages of the type {name!r} are registered", metadata={"data_type": name})
        self._by_name[name] = serializer
        self._by_type[kind] = serializer

    def knows(self, data_type: str) -> bool:
        """Whether messages of that name can be read."""
        return data_type in self._by_name

    def encode(self, message: object, message_id: str = "", data_type: str = "") -> Message:
        """The message as bytes; `data_type` chooses where the Python type does not (a typed dictionary)."""
        serializer = self._by_name.get(data_type) if data_type else self._by_type.get(type(message))
        if serializer is None:
            raise UnknownMessageType(f"nobody registered how a {data_type or type(message).__name__} is written")
        return Message(serializer.data_type, serializer.encode(message), serializer.content_type, message_id)

    def decode(self, message: Message) -> Any:
        """The Python object."""
        serializer = self._by_name.get(message.data_type)
        if serializer is None:
            known = {"data_type": message.data_type}
            raise UnknownMessageType(f"nobody registered the message type {message.data_type!r}", metadata=known)
        if serializer.content_type is not message.data_content_type:
            raise MalformedMessage(f"{message.data_type} travels as {serializer.content_type.value}")
        return serializer.decode(message.data)

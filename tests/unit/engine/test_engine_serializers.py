"""Messages as bytes: read and written by their type, strictly, and only where somebody needs bytes."""

from collections.abc import Mapping
from enum import Enum
from typing import Any, Literal, TypedDict

import pytest
from engine_rig import Answer, Echo, Note, Other, running
from google.protobuf.struct_pb2 import Struct
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.core.agents import AgentId, ContentType, Message, TopicId
from gatewayd.core.errors import AlreadyExists, InvalidArgument
from gatewayd.core.value import value
from gatewayd.engine.base import constructing
from gatewayd.engine.context import MessageContext
from gatewayd.engine.errors import MalformedMessage, UnhandledMessage, UnknownMessageType
from gatewayd.engine.events import DropReason, MessageDropped
from gatewayd.engine.handlers import HandlerAgent, message_handler
from gatewayd.engine.serializers import Serializers
from gatewayd.engine.subscriptions import Subscription
from gatewayd.testing.fakes import until


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Place(TypedDict, total=False):
    name: str
    height: float


@value(frozen=True, slots=True)
class Inner:
    colour: Colour
    raw: bytes = b""


@value(frozen=True, slots=True)
class Everything:
    text: str
    count: int
    ratio: float
    flag: bool
    nothing: None
    kind: Literal["a", "b"]
    inner: Inner
    many: tuple[Inner, ...]
    pair: tuple[int, str]
    names: list[str]
    table: dict[str, int]
    unique: frozenset[int]
    either: Inner | int | None
    place: Place
    free: Any = None


inner = st.builds(Inner, st.sampled_from(Colour), st.binary(max_size=8))
plain = st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda each: st.lists(each, max_size=3))
everything = st.builds(
    Everything,
    st.text(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.booleans(),
    st.none(),
    st.sampled_from(["a", "b"]),
    inner,
    st.lists(inner, max_size=3).map(tuple),
    st.tuples(st.integers(), st.text()),
    st.lists(st.text(), max_size=3),
    st.dictionaries(st.text(), st.integers(), max_size=3),
    st.frozensets(st.integers(), max_size=3),
    inner | st.integers() | st.none(),
    st.fixed_dictionaries({}, optional={"name": st.text(), "height": st.floats(0, 9)}),
    plain,
)


@given(everything)
def test_what_is_written_is_read_again(message: Everything) -> None:
    known = Serializers()
    known.register(Everything)
    written = known.encode(message, "id-1")

    assert (written.data_type, written.data_content_type, written.message_id) == (
        "Everything",
        ContentType.JSON,
        "id-1",
    )
    assert known.decode(written) == message


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"text":1}',
        b'{"text":"a","number":"1"}',
        b'{"text":"a","number":true}',
        b'{"text":"a","number":1.5}',
        b'{"text":"a","unknown":1}',
        b'{"text":"a"',
        b"\xff",
        b"[" * 100_000,
    ],
)
def test_what_does_not_fit_is_refused(data: bytes) -> None:
    known = Serializers()
    known.register(Note)
    with pytest.raises(MalformedMessage):
        known.decode(Message("Note", data))


def test_what_cannot_be_written_is_refused() -> None:
    deep: list[object] = []
    for _ in range(40):
        deep = [deep]
    known = Serializers()
    for wrong in (deep, [object()], {1: 2}, [float("nan")], ["\ud800"]):
        with pytest.raises(MalformedMessage):
            known.encode(wrong)
    with pytest.raises(UnknownMessageType):
        known.encode(Note(""))
    with pytest.raises(UnknownMessageType):
        known.register(object)


def test_a_name_is_of_one_type() -> None:
    def another() -> type:
        @value(frozen=True, slots=True)
        class Note:
            text: str

        return Note

    known = Serializers()
    for _ in range(2):
        known.register(Note)
    with pytest.raises(AlreadyExists):
        known.register(another())
    known.register(another(), "other.Note")
    assert known.knows("other.Note")


def test_protobuf_messages_go_by_their_full_name() -> None:
    known = Serializers()
    known.register(Struct)
    message = Struct()
    message["a"] = 1
    written = known.encode(message)

    assert (written.data_type, written.data_content_type) == ("google.protobuf.Struct", ContentType.PROTOBUF)
    assert known.decode(written) == message
    with pytest.raises(MalformedMessage):
        known.decode(Message("google.protobuf.Struct", b"\xff", ContentType.PROTOBUF))
    with pytest.raises(MalformedMessage):
        known.decode(Message("google.protobuf.Struct", b"", ContentType.JSON))


async def test_who_sends_bytes_is_answered_in_bytes() -> None:
    async with running() as rig:
        rig.engine.register("echo", Echo)
        rig.engine.serializers.register(Answer)
        echo = AgentId("echo")

        assert await rig.engine.send(Message("Note", b'{"text":"hi"}'), echo) == Message("Answer", b'{"text":"hi"}')
        with pytest.raises(UnknownMessageType) as refused:
            await rig.engine.send(Message("Nobodys", b"{}"), echo)
        assert isinstance(refused.value, InvalidArgument)
        with pytest.raises(UnhandledMessage):
            await rig.engine.send(Message("str", b'"text"'), echo)


class Proxy:
    """An agent behind a wire, as the engine sees it: bytes in, bytes out."""

    takes_bytes = True

    def __init__(self) -> None:
        self.id = constructing().agent
        self.got: list[Message] = []

    async def on_message(self, message: Message, ctx: MessageContext, /) -> Message:
        self.got.append(message)
        return Message("Answer", b'{"text":"from afar"}')

    async def save_state(self) -> Mapping[str, Any]:
        return {}

    async def load_state(self, state: Mapping[str, Any], /) -> None: ...

    async def close(self) -> None: ...


async def test_an_agent_behind_a_wire_gets_bytes_and_its_caller_what_it_speaks() -> None:
    async with running() as rig:
        rig.engine.register("far", Proxy, subscriptions=[Subscription("t", "far")])
        for kind in (Note, Answer):
            rig.engine.serializers.register(kind)
        far = AgentId("far")

        assert await rig.engine.send(Note("x", 1), far, message_id="m") == Answer("from afar")
        assert await rig.engine.send(Message("Foreign", b"\x00"), far) == Message("Answer", b'{"text":"from afar"}')
        with pytest.raises(UnknownMessageType):
            await rig.engine.send(Other(), far)
        await rig.engine.publish(Other(), TopicId("t"))
        await until(lambda: bool(rig.told(MessageDropped)))

        assert [each.reason for each in rig.told(MessageDropped)] == [DropReason.UNREADABLE]
        proxy = rig.engine.instance(far)
        assert isinstance(proxy, Proxy)
        assert proxy.got == [Message("Note", b'{"text":"x","number":1}', message_id="m"), Message("Foreign", b"\x00")]


async def test_typed_dictionaries_and_plain_json_are_messages_too() -> None:
    class Plain(HandlerAgent):
        @message_handler
        async def on_place(self, message: Place, ctx: MessageContext) -> list[str]:
            return sorted(message)

        @message_handler
        async def on_text(self, message: str | int, ctx: MessageContext) -> str:
            return f"plain {message}"

    async with running() as rig:
        rig.engine.register("plain", Plain)
        one = AgentId("plain")
        assert await rig.engine.send({"name": "x"}, one) == ["name"]
        assert await rig.engine.send(Message("Place", b'{"name":"x","height":1}'), one) == Message(
            "array", b'["height","name"]'
        )
        assert await rig.engine.send(Message("int", b"7"), one) == Message("str", b'"plain 7"')
        with pytest.raises(MalformedMessage):
            await rig.engine.send(Message("Place", b'{"height":"tall"}'), one)

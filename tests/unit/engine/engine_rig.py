"""What the tests of the message engine share: an engine on a clock that waits, and a few agents."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from gatewayd.core.agents import AgentId
from gatewayd.core.clock import SeededRandomness
from gatewayd.core.ids import IdSource
from gatewayd.core.lifecycle import State
from gatewayd.core.value import value
from gatewayd.engine.context import MessageContext
from gatewayd.engine.engine import MessageEngine
from gatewayd.engine.events import EngineEvent
from gatewayd.engine.handlers import HandlerAgent, message_handler
from gatewayd.testing.fakes import FakeClock

PATIENCE = 60.0


@value(frozen=True, slots=True)
class Note:
    text: str
    number: int = 0


@value(frozen=True, slots=True)
class Other:
    text: str = ""


@value(frozen=True, slots=True)
class Answer:
    text: str


class Rig:
    """An engine with its clock, and what it told."""

    def __init__(self, **options: Any) -> None:
        self.clock = FakeClock()
        self.events: list[EngineEvent] = []
        options.setdefault("sink", self.events.append)
        self.engine = MessageEngine(clock=self.clock, ids=IdSource(self.clock, SeededRandomness(1)), **options)

    def told(self, kind: type) -> list[Any]:
        return [each for each in self.events if isinstance(each, kind)]


@asynccontextmanager
async def running(**options: Any) -> AsyncIterator[Rig]:
    """A started engine; closed at the end, however the test left it."""
    rig = Rig(**options)
    await rig.engine.start()
    try:
        yield rig
    finally:
        if rig.engine.state is State.RUNNING:
            await rig.clock.run(rig.engine.stop())
        await rig.clock.run(rig.engine.close())


class Echo(HandlerAgent):
    """Answers notes with their text."""

    @message_handler
    async def on_note(self, message: Note, ctx: MessageContext) -> Answer:
        return Answer(message.text)


class Collector(HandlerAgent):
    """Keeps what it gets, and its state; counts instances made."""

    topics = ("news",)

    def __init__(self) -> None:
        super().__init__()
        self.got: list[str] = []
        self.closed = 0

    @message_handler
    async def on_note(self, message: Note, ctx: MessageContext) -> int:
        self.got.append(message.text)
        return len(self.got)

    async def save_state(self) -> Mapping[str, Any]:
        return {"got": self.got}

    async def load_state(self, state: Mapping[str, Any], /) -> None:
        self.got = list(state["got"])

    async def close(self) -> None:
        self.closed += 1


class Gate(HandlerAgent):
    """Its handlers wait until `open` is set; tells how many run and how they ended."""

    def __init__(self) -> None:
        super().__init__()
        self.open = asyncio.Event()
        self.begun: list[str] = []
        self.ended: list[str] = []
        self.cancelled: list[str] = []
        self.most = 0

    @message_handler
    async def on_note(self, message: Note, ctx: MessageContext) -> str:
        self.begun.append(message.text)
        self.most = max(self.most, len(self.begun) - len(self.ended) - len(self.cancelled))
        try:
            await self.open.wait()
        except asyncio.CancelledError:
            self.cancelled.append(message.text)
            raise
        self.ended.append(message.text)
        return message.text


async def gate(engine: MessageEngine, agent_type: str = "gate") -> Gate:
    """Its instance, made if need be."""
    found = engine.instance(await engine.get(agent_type, lazy=False))
    assert isinstance(found, Gate)
    return found


def collector(engine: MessageEngine, agent_type: str, key: str = "default") -> Collector:
    found = engine.instance(AgentId(agent_type, key))
    assert isinstance(found, Collector)
    return found

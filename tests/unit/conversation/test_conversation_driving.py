"""What drives a conversation keeps nothing of what it has sent."""

import asyncio
import weakref
from types import SimpleNamespace
from typing import Any, cast

from gatewayd.access.principals import Principal
from gatewayd.access.scopes import EVERY_SCOPE
from gatewayd.conversation.conversation import Conversation
from gatewayd.conversation.driving import converse
from gatewayd.conversation.hub import ConversationHub
from gatewayd.conversation.writing import Writing
from gatewayd.core.wake import Wake
from gatewayd.testing.fakes import FakeClock


class Frame(bytearray):
    """As large as one of events may be; it can be watched."""


class Talk:
    """A conversation that has one frame, then nothing until it is over."""

    def __init__(self) -> None:
        self.writing = Writing()
        self.client_id = "reader"
        self.error = None
        self.is_over = False
        self.hold = 0.0
        self.waits = asyncio.Event()
        self.wake = Wake()
        self.frames = [Frame(256 * 1024)]
        self.first = weakref.ref(self.frames[0])

    def next_frame(self) -> Frame | None:
        self.wake.clear()
        return self.frames.pop() if self.frames else None

    def news(self) -> "asyncio.Future[None]":
        self.waits.set()
        return self.wake.wait()

    def end(self, _error: object) -> None:
        self.is_over = True
        self.wake.set()


class Reader:
    """A link of a client that reads all, and says nothing more."""

    end = None
    gone = ConnectionError

    def __init__(self) -> None:
        self.written = 0

    async def read(self) -> bytes:
        return await asyncio.get_running_loop().create_future()

    async def write(self, data: bytes) -> None:
        self.written += len(data)


async def test_an_idle_stream_keeps_no_frame_that_it_has_sent() -> None:
    talk, reader = Talk(), Reader()

    async def leave(_conversation: Conversation, _reason: object) -> None:
        """Nothing is left behind."""

    hub: Any = SimpleNamespace(open=lambda *_: talk, leave=leave)
    principal = Principal("ann", EVERY_SCOPE)
    driven = asyncio.create_task(converse(cast(ConversationHub, hub), principal, "unix:", reader, FakeClock()))
    async with asyncio.timeout(60):
        await talk.waits.wait()

    assert reader.written == 256 * 1024
    assert talk.first() is None

    talk.end(None)
    async with asyncio.timeout(60):
        await driven

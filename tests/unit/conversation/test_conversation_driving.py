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


class Watched(Wake):
    """Tells that it is waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.waits = asyncio.Event()

    def wait(self) -> "asyncio.Future[None]":
        self.waits.set()
        return super().wait()


class Talk:
    """A conversation that has frames, then nothing until it is over."""

    def __init__(self, *frames: Frame) -> None:
        self.writing = Writing()
        self.client_id = "reader"
        self.error = None
        self.is_over = False
        self.hold = 0.0
        self.wake = Watched()
        self.frames = list(frames)
        self.count = 0

    def next_frame(self) -> Frame | None:
        self.wake.clear()
        return self.frames.pop() if self.frames else None

    def sent(self) -> None:
        self.count += 1
        self.writing.began = 0.0

    def say(self, frame: Frame) -> None:
        self.frames.append(frame)
        self.wake.set()

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


def driven(talk: Talk, reader: Reader, clock: FakeClock) -> "asyncio.Task[None]":
    async def leave(_conversation: Conversation, _reason: object) -> None:
        """Nothing is left behind."""

    hub: Any = SimpleNamespace(open=lambda *_: talk, leave=leave)
    principal = Principal("ann", EVERY_SCOPE)
    return asyncio.create_task(converse(cast(ConversationHub, hub), principal, "unix:", reader, clock))


async def test_an_idle_stream_keeps_no_frame_that_it_has_sent() -> None:
    talk, reader = Talk(Frame(256 * 1024)), Reader()
    first = weakref.ref(talk.frames[0])
    task = driven(talk, reader, FakeClock())
    async with asyncio.timeout(60):
        await talk.wake.waits.wait()

    assert (reader.written, talk.count) == (256 * 1024, 1)
    assert first() is None

    talk.end(None)
    async with asyncio.timeout(60):
        await task


async def test_only_what_comes_soon_after_a_frame_is_held() -> None:
    talk, reader, clock = Talk(Frame(1)), Reader(), FakeClock()
    talk.hold = 2.0
    task = driven(talk, reader, clock)
    await clock.settle()
    assert reader.written == 1
    waiting = clock.waiting

    talk.say(Frame(10))
    await clock.settle()
    assert (reader.written, clock.waiting) == (1, waiting + 1)
    await clock.advance(2.1)
    assert (reader.written, clock.waiting) == (11, waiting)

    talk.hold = 0.0
    talk.say(Frame(100))
    await clock.settle()
    assert reader.written == 111

    talk.end(None)
    async with asyncio.timeout(60):
        await task

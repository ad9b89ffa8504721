"""Replies of sends: none is lost with the connection that it was meant for, and none is waited for in vain."""

import asyncio
import gc
from types import SimpleNamespace

import pytest
from connect_rig import FakeStream, Line
from gateway.v1 import error_reason_pb2
from gateway.v1 import event_service_pb2 as pb
from rpc_rig import Aborted

from gatewayd.conversation.sends import Waiting
from gatewayd.core.errors import StoreFailed
from gatewayd.core.frames import Reply, Send
from gatewayd.core.work import ExecutionState


class StuckStream(FakeStream):
    """Takes the welcome and what `room` allows; then its reader reads no more."""

    def __init__(self, room=1):
        super().__init__()
        self._room = room
        self.stuck = asyncio.Event()

    async def write(self, data):
        if len(self.heard) >= self._room:
            self.stuck.set()
            await asyncio.Event().wait()
        await super().write(data)


class FakeSends:
    """Sends that are answered at once, or when they are told to."""

    def __init__(self):
        self.answer = asyncio.Event()
        self.error = None

    async def submit(self, send, _caller):
        accepted = SimpleNamespace(execution_id="x" + send.request_id, message_id="m")
        return SimpleNamespace(accepted=accepted), Waiting(send.request_id, accepted.execution_id, "m", False, 0.0)

    async def reply(self, waiting, _put):
        await self.answer.wait()
        if self.error is not None:
            raise self.error
        return Reply(waiting.request_id, waiting.execution_id, "m", "hello", True, state=ExecutionState.SUCCEEDED)


@pytest.fixture
async def line(rig):
    rig.sends = FakeSends()
    line = Line(rig)
    yield line
    for task in line.tasks:
        task.cancel()
    await asyncio.gather(*line.tasks, return_exceptions=True)
    await line.hub.stop()


async def begin(line, stream, *requests):
    """Say hello on a stream of one's own, and send."""
    task = asyncio.create_task(line.handler.serve(None, stream))
    line.tasks.append(task)
    stream.hello("me")
    for name in requests:
        stream.says.put_nowait(
            pb.ConnectRequest(request_id=name, send=pb.Send(agent="echo", text="hi")).SerializeToString()
        )
    await line.clock.settle()
    return task


def replies(stream):
    return [(each.request_id, each.reply.content) for each in stream.heard if each.WhichOneof("frame") == "reply"]


@pytest.mark.parametrize("room", [3, 4], ids=["two replies", "one reply"])
async def test_a_reply_that_was_not_sent_is_the_next_connections(line, room):
    """It had come, and stood in the queue or was being written when the connection broke."""
    stream = StuckStream(room)
    await begin(line, stream, "a", "b")
    line.rig.sends.answer.set()
    async with asyncio.timeout(60):
        await stream.stuck.wait()
    await line.clock.settle()
    assert len(replies(stream)) == room - 3

    again, _ = await line.open("me", stream.welcome.resume_token)
    await line.clock.settle()

    assert again.welcome.resumed
    assert sorted(replies(stream) + replies(again)) == [("a", "hello"), ("b", "hello")]


async def test_a_reply_that_was_sent_is_not_sent_again(line):
    stream = FakeStream()
    await begin(line, stream, "a")
    line.rig.sends.answer.set()
    await line.clock.settle()
    assert replies(stream) == [("a", "hello")]

    again, _ = await line.open("me", stream.welcome.resume_token)
    await line.clock.settle()

    assert again.welcome.resumed
    assert replies(again) == []


async def test_who_waits_for_a_reply_does_not_keep_what_was_said(line):
    """It is large, and people may be asked in between."""
    stream = FakeStream()
    await begin(line, stream, "large")
    assert [each.WhichOneof("frame") for each in stream.heard] == ["welcome", "accepted"]
    gc.collect()
    assert not [each for each in gc.get_objects() if type(each) is Send and each.request_id == "large"]


async def test_an_answer_that_cannot_be_read_is_told(line):
    """Neither the client nor a stop waits for it any longer."""
    stream = FakeStream()
    task = await begin(line, stream, "a")
    line.rig.sends.error = StoreFailed("the disk is gone")
    line.rig.sends.answer.set()
    await line.clock.settle()
    (told,) = [each.reply for each in stream.heard if each.WhichOneof("frame") == "reply"]
    assert (told.final, told.error.reason) == (True, error_reason_pb2.ERROR_REASON_STORE_FAILED)

    line.hub.drain("stop")
    await line.clock.settle()
    assert task.done()
    assert not isinstance(task.exception(), Aborted)

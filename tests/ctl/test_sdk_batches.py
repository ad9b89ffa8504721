"""What the client library sends together, and how its workers speak to daemons of both kinds."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from gateway.v1 import agent_service_pb2 as agents
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.sdk.awaited import Awaited
from gatewayctl.sdk.errors import GatewayError, NotFound, Unavailable
from gatewayctl.sdk.link import Link
from gatewayctl.sdk.outgoing import MAX_BYTES, MAX_WAITING, MAX_WAITING_BYTES, Outgoing
from gatewayctl.sdk.receivers import Receivers
from gatewayctl.sdk.speaking import Speaking
from gatewayctl.system import SystemClock


class Stream:
    """Keeps what is written, and reads what the test says."""

    def __init__(self) -> None:
        self.written: list[pb.ConnectRequest] = []
        self.says: asyncio.Queue[Any] = asyncio.Queue()
        self.done = False
        self.changed = asyncio.Event()

    async def write(self, frame: pb.ConnectRequest) -> None:
        self.written.append(frame)
        self.changed.set()
        await asyncio.sleep(0)

    async def read(self) -> Any:
        return await self.says.get()

    async def done_writing(self) -> None:
        self.done = True

    def cancel(self) -> None:
        pass

    async def until(self, count: int) -> list[pb.ConnectRequest]:
        """So many frames."""
        async with asyncio.timeout(60):
            while len(self.written) < count:
                self.changed.clear()
                await self.changed.wait()
        return self.written


def ping(name: str) -> pb.ConnectRequest:
    return pb.ConnectRequest(request_id=name, ping=pb.Ping())


async def written(outgoing: Outgoing, stream: Stream) -> list[list[str]]:
    """The request ids of each frame, once all is written."""
    outgoing.finish()
    async with asyncio.timeout(60):
        await outgoing.run()
    assert stream.done
    return [[one.request_id for one in frame.batch.requests] or [frame.request_id] for frame in stream.written]


@pytest.mark.parametrize(("together", "frames"), [(True, [["a", "b", "c"]]), (False, [["a"], ["b"], ["c"]])])
async def test_what_waits_goes_together_where_the_daemon_takes_it(*, together: bool, frames: list[list[str]]) -> None:
    stream = Stream()
    outgoing = Outgoing(stream, together=together, most=MAX_BYTES)
    for name in "abc":
        outgoing.put(ping(name), 10)
    assert await written(outgoing, stream) == frames


async def test_a_batch_has_bounds_and_some_frames_go_by_themselves() -> None:
    stream = Stream()
    outgoing = Outgoing(stream, together=True, most=MAX_BYTES)
    for name, size in (("a", MAX_BYTES // 2), ("b", MAX_BYTES // 2), ("c", 10), ("alone", 0), ("d", 10), ("e", 10)):
        outgoing.put(ping(name), size)
    assert await written(outgoing, stream) == [["a"], ["b", "c"], ["alone"], ["d", "e"]]

    stream = Stream()
    outgoing = Outgoing(stream, together=True, most=100)
    for name in "abc":
        outgoing.put(ping(name), 50)
    assert await written(outgoing, stream) == [["a"], ["b"], ["c"]]


async def test_too_much_waits_in_its_caller_until_there_is_room_or_an_end() -> None:
    outgoing = Outgoing(Stream(), together=False, most=MAX_BYTES)
    for number in range(MAX_WAITING):
        await outgoing.room()
        outgoing.put(ping(str(number)), 10)
    waiting = asyncio.create_task(outgoing.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    outgoing.close()
    async with asyncio.timeout(60):
        await waiting


async def test_what_waits_is_bounded_in_bytes_and_a_large_one_goes_all_the_same() -> None:
    stream = Stream()
    outgoing = Outgoing(stream, together=True, most=4 << 20)
    half = MAX_WAITING_BYTES // 2
    for name, size in (("a", half), ("b", 10), ("large", MAX_WAITING_BYTES * 2)):
        async with asyncio.timeout(60):
            await outgoing.room()
        outgoing.put(ping(name), size)
    waiting = asyncio.create_task(outgoing.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    running = asyncio.create_task(outgoing.run())
    await asyncio.wait_for(waiting, 60)
    assert [frame.request_id for frame in await stream.until(3)] == ["a", "b", "large"]
    running.cancel()
    await asyncio.wait([running])


class Talk:
    """A `Speaking` over a link of which the test is the other end, or by single calls."""

    def __init__(self, *features: str) -> None:
        self.stream = Stream()
        self.requests: list[Any] = []

        async def nobody(*_: object) -> None:
            raise AssertionError("nothing comes for topics")

        receivers = Receivers(Awaited("me"), lambda _frame: None, nobody, lambda _error: None)
        self.link = Link(self.stream, pb.Welcome(features=features), SystemClock(), 1, receivers)
        self.speaking = Speaking(SimpleNamespace(link=self._link, client_id="me"), self)  # type: ignore[arg-type]
        self.running = asyncio.create_task(self.link.run())

    async def _link(self) -> Link:
        return self.link

    async def call(self, method: str, request: Any, answer: Any, *, timeout: float | None = None) -> Any:
        del timeout
        self.requests.append((method, request))
        return answer(content="by a call") if "Send" in method else answer(count=3)

    async def close(self) -> None:
        self.running.cancel()
        await asyncio.gather(self.running, return_exceptions=True)

    def says(self, *responses: pb.ConnectResponse) -> None:
        self.stream.says.put_nowait(pb.ConnectResponse(batch=pb.ResponseBatch(responses=responses)))


async def test_an_older_daemon_is_spoken_to_by_single_calls() -> None:
    talk = Talk("workers")
    assert await talk.speaking.send("c", "a", "t", key="k", timeout=None) == "by a call"
    assert await talk.speaking.publish("c", "news", {"a": 1}, "Order") == 3
    said = agents.PublishMessageRequest(call_id="c", client_id="me", topic="news", data_type="Order")
    said.json.update({"a": 1})
    assert talk.requests == [
        (
            "AgentService/SendMessage",
            agents.SendMessageRequest(call_id="c", client_id="me", agent="a", text="t", key="k"),
        ),
        ("AgentService/PublishMessage", said),
    ]
    assert not talk.stream.written
    await talk.close()


async def test_messages_that_are_ready_together_are_one_frame_and_so_are_their_answers() -> None:
    talk = Talk("batches", "worker_messages")
    asking = [asyncio.create_task(talk.speaking.send("c", "a", text, key="", timeout=9.0)) for text in ("x", "y")]
    (frame,) = await talk.stream.until(1)
    first, second = frame.batch.requests
    assert [one.send.text for one in (first, second)] == ["x", "y"]
    assert (first.send.call_id, first.send.timeout.seconds) == ("c", 9)
    failed = pb.Reply(final=True)
    failed.error.message = "gone"
    talk.says(
        pb.ConnectResponse(request_id=first.request_id, accepted=pb.Accepted()),
        pb.ConnectResponse(request_id=first.request_id, reply=pb.Reply(content="X", final=True)),
        pb.ConnectResponse(request_id=second.request_id, accepted=pb.Accepted()),
        pb.ConnectResponse(request_id=second.request_id, reply=failed),
    )
    async with asyncio.timeout(60):
        assert await asking[0] == "X"
        with pytest.raises(GatewayError, match="gone"):
            await asking[1]
    assert not talk.requests
    await talk.close()


async def test_a_refused_message_and_a_lost_connection_are_told() -> None:
    talk = Talk("batches", "worker_messages")
    asking = asyncio.create_task(talk.speaking.send("c", "a", "x", key="", timeout=None))
    (frame,) = await talk.stream.until(1)
    refused = pb.Rejected()
    refused.error.code, refused.error.message = 5, "no such call"
    talk.says(pb.ConnectResponse(request_id=frame.request_id, rejected=refused))
    with pytest.raises(NotFound, match="no such call"):
        await asking

    asking = asyncio.create_task(talk.speaking.send("c", "a", "x", key="", timeout=None))
    publishing = asyncio.create_task(talk.speaking.publish("c", "news", "x", ""))
    await talk.stream.until(2)
    await talk.close()
    for lost in (asking, publishing):
        with pytest.raises(Unavailable, match="lost"):
            await lost


async def test_a_frame_that_cannot_be_read_ends_the_link_and_not_the_client() -> None:
    talk = Talk("batches", "worker_messages")
    asking = asyncio.create_task(talk.speaking.publish("c", "news", "x", ""))
    await talk.stream.until(1)
    talk.stream.says.put_nowait(None)
    async with asyncio.timeout(60):
        cause = await talk.running
        with pytest.raises(Unavailable, match="lost"):
            await asking
    assert cause is not None
    assert cause.code == 13


async def test_what_is_taken_back_before_it_was_sent_does_not_go_out() -> None:
    """Of what waits behind a write that takes its time, in a batch and by itself; what was sent stays sent."""
    for features in (("worker_messages", "batches"), ("worker_messages",)):
        talk = Talk(*features)
        free = asyncio.Event()
        write = talk.stream.write

        async def slow(frame: pb.ConnectRequest, write: Any = write, free: asyncio.Event = free) -> None:
            await write(frame)
            await free.wait()

        talk.stream.write = slow  # type: ignore[method-assign]
        asking = [asyncio.create_task(talk.speaking.send("c", "a", "0", key="", timeout=None))]
        await talk.stream.until(1)
        asking += [asyncio.create_task(talk.speaking.send("c", "a", str(n), key="", timeout=None)) for n in range(1, 4)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        for taken_back in (0, 2, 3):
            asking[taken_back].cancel()
        free.set()
        await talk.stream.until(2)
        talk.link.finish()
        async with asyncio.timeout(60):
            while not talk.stream.done:
                await asyncio.sleep(0)

        assert [frame.send.text for frame in talk.stream.written] == ["0", "1"]
        assert talk.link.busy, "one is waited for"
        talk.says(pb.ConnectResponse(request_id="1.1", accepted=pb.Accepted()))
        talk.says(pb.ConnectResponse(request_id="1.2", accepted=pb.Accepted()))
        talk.says(pb.ConnectResponse(request_id="1.2", reply=pb.Reply(content="one", final=True)))
        assert await asyncio.wait_for(asking[1], 60) == "one"
        assert not talk.link.busy
        await talk.close()

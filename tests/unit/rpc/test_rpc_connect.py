"""The Connect stream by a clock that is moved: how long a hello is waited for, who goes for what, and what is held."""

import asyncio
from typing import Any

import pytest
from connect_rig import EOF, FakeStream
from gateway.v1 import event_pb2, event_type_pb2
from gateway.v1 import event_service_pb2 as pb
from rpc_rig import Aborted

from gatewayd.config.model import GatewaySection
from gatewayd.conversation.driving import HELLO_LIMIT
from gatewayd.core.event import EventType
from gatewayd.testing.store_cases import samples


async def test_a_stream_without_a_hello_ends(line):
    _, task = await line.open()
    assert [one.client_id for one in line.hub.everyone()] == [""]
    await line.clock.advance(HELLO_LIMIT - 0.1)
    assert not task.done()
    await line.clock.advance(0.2)
    with pytest.raises(Aborted) as ended:
        await task
    assert ended.value.reason == "DEADLINE_EXCEEDED"
    assert line.hub.count == 0


async def test_a_defect_in_reading_ends_the_stream_as_an_incident(line):
    stream, task = await line.open("unlucky")
    stream.says.put_nowait(RuntimeError("a defect"))
    with pytest.raises(Aborted) as ended:
        async with asyncio.timeout(60):
            await task
    assert ended.value.reason == "INTERNAL"
    assert line.hub.count == 0


async def test_who_has_said_hello_may_be_silent(line):
    _, task = await line.open("quiet")
    await line.clock.advance(HELLO_LIMIT * 10)
    assert not task.done()
    assert line.hub.count == 1


async def test_only_the_older_stream_of_a_client_hears_that_it_was_replaced(line):
    first, old = await line.open("twin")
    second, new = await line.open("twin", first.welcome.resume_token)
    with pytest.raises(Aborted) as ended:
        await old
    assert ended.value.reason == "CONNECTION_REPLACED"
    assert ended.value.info.metadata["client_id"] == "twin"
    assert "another process uses client id 'twin'" in ended.value.message
    assert second.welcome.resumed
    assert not new.done()


@pytest.mark.parametrize("half_closes", [True, False])
async def test_after_goodbye_everybody_goes_for_the_drain(line, half_closes):
    stream, task = await line.open("parting")
    line.hub.drain("restart")
    if half_closes:
        stream.says.put_nowait(EOF)
    await line.clock.advance(1.0)
    await task
    assert await line.reasons() == ["draining"]


async def test_a_shorter_heartbeat_interval_holds_at_once(line):
    await line.hub.start()
    beats: list[float] = []
    line.rig.bus.publish = lambda event: beats.append(event.time - line.clock.now())
    await line.open("beat")
    await line.clock.advance(2.5)
    line.settings = GatewaySection(heartbeat_interval=2.0)
    await line.clock.advance(1.0)
    assert len(beats) == 1
    await line.clock.advance(4.0)
    assert len(beats) == 3


class TakesTime(FakeStream):
    """Each frame takes its client a millisecond."""

    def __init__(self, clock: Any) -> None:
        super().__init__()
        self._clock = clock

    async def write(self, data: bytes) -> None:
        await self._clock.sleep(0.001)
        await super().write(data)


async def test_right_after_a_frame_events_go_at_once_and_answers_wait_for_more(line):
    """Of a client that takes several frames in one; the bus has gathered the events already."""
    stream = TakesTime(line.clock)
    line.tasks.append(asyncio.create_task(line.handler.serve(None, stream)))
    wanted = event_pb2.EventFilter(types=[event_type_pb2.EVENT_TYPE_CUSTOM])
    for frame in (
        pb.ConnectRequest(hello=pb.Hello(client_id="me", protocol_min=1, protocol_max=1, batches=True)),
        pb.ConnectRequest(request_id="1", subscribe=pb.Subscribe(subscription_id="all", filter=wanted)),
    ):
        stream.says.put_nowait(frame.SerializeToString())
    await line.clock.settle()
    await line.clock.advance(0.1)
    assert len(stream.heard) == 2

    def ping(name: str) -> None:
        stream.says.put_nowait(pb.ConnectRequest(request_id=name, ping=pb.Ping()).SerializeToString())

    ping("a")
    await line.clock.settle()
    await line.clock.advance(0.001)  # it was idle: this one was not held
    assert [one.request_id for one in stream.heard[2:]] == ["a"]
    line.rig.bus.publish(samples.event("e", durable=False, type=EventType.CUSTOM, data={"json": {}}, custom_type="x"))
    line.rig.bus.flush()
    await line.clock.settle()
    await line.clock.advance(0.001)
    assert len(stream.heard) == 4
    assert stream.heard[3].delivery.subscription_ids == ["all"]

    ping("b")
    await line.clock.settle()
    ping("c")
    await line.clock.advance(0.0019)
    assert len(stream.heard) == 4
    await line.clock.advance(0.0012)
    assert [one.request_id for one in stream.heard[4].batch.responses] == ["b", "c"]

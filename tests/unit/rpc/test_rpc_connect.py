"""The Connect stream by a clock that is moved: how long a hello is waited for, and what a client leaves behind."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from gateway.v1 import event_data_pb2, event_pb2, event_type_pb2
from gateway.v1 import event_service_pb2 as pb
from grpc import aio
from rpc_rig import Aborted, FakeCall

from gatewayd.agents.workers import Workers
from gatewayd.config.model import GatewaySection
from gatewayd.conversation.doors import Doors
from gatewayd.conversation.driving import HELLO_LIMIT
from gatewayd.conversation.hub import ConversationHub
from gatewayd.conversation.sends import Waiting
from gatewayd.core.clock import SeededRandomness
from gatewayd.core.event import Cursor, EventType
from gatewayd.core.frames import Reply
from gatewayd.core.work import ExecutionState
from gatewayd.rpc.connect import ConnectHandler
from gatewayd.testing.store_cases import samples

EOF: Any = getattr(aio, "EOF")  # noqa: B009 - the stubs do not know it


class FakeStream(FakeCall):
    """A call that reads what the test says and keeps what is written."""

    def __init__(self, who: str = "root") -> None:
        super().__init__(who)
        self.says: asyncio.Queue[Any] = asyncio.Queue()
        self.heard: list[pb.ConnectResponse] = []
        self.broken = False

    async def read(self) -> Any:
        said = await self.says.get()
        if isinstance(said, Exception):
            raise said
        return said

    async def write(self, data: bytes) -> None:
        if self.broken:
            raise aio.BaseError("the stream is gone")
        self.heard.append(pb.ConnectResponse.FromString(data))

    def hello(self, client_id: str, token: str = "") -> None:
        hello = pb.Hello(client_id=client_id, protocol_min=1, protocol_max=1, resume_token=token)
        self.says.put_nowait(pb.ConnectRequest(hello=hello).SerializeToString())

    def subscribe(self, name: str) -> None:
        wanted = event_pb2.EventFilter(types=[event_type_pb2.EVENT_TYPE_CUSTOM])
        frame = pb.ConnectRequest(request_id="r", subscribe=pb.Subscribe(subscription_id=name, filter=wanted))
        self.says.put_nowait(frame.SerializeToString())

    def ask(self, request_id: str) -> None:
        send = pb.Send(agent="echo", text="hello")
        self.says.put_nowait(pb.ConnectRequest(request_id=request_id, send=send).SerializeToString())

    def ping(self) -> None:
        self.says.put_nowait(pb.ConnectRequest(request_id="p", ping=pb.Ping()).SerializeToString())

    @property
    def events(self) -> list[str]:
        """The ids of the events that came."""
        return [event.id for frame in self.heard for event in frame.delivery.events]

    @property
    def replies(self) -> list[str]:
        """The requests that were answered."""
        return [frame.request_id for frame in self.heard if frame.HasField("reply")]

    @property
    def welcome(self) -> pb.Welcome:
        return self.heard[0].welcome


class Line:
    """A hub with streams."""

    def __init__(self, rig: Any) -> None:
        self.rig, self.clock, self.settings = rig, rig.clock, GatewaySection()
        doors = Doors(
            router=rig.router,
            agents=SimpleNamespace(workers=Workers(rig.clock, rig.ids)),  # type: ignore[arg-type]
            publishing=rig.publishing,
            sends=rig.sends,
            triggering=None,  # type: ignore[arg-type]
            controlling=None,  # type: ignore[arg-type]
            speaking=None,  # type: ignore[arg-type]
            push=SimpleNamespace(is_on=False),  # type: ignore[arg-type]
            bus=rig.bus,
            oldest=lambda: Cursor("L", 0),
            settings=lambda: self.settings,
            clock=rig.clock,
            refused=rig.audit.refused,
        )
        self.hub = ConversationHub(
            doors=doors,
            directory=rig.directory,
            store=rig.store,
            clock=rig.clock,
            randomness=SeededRandomness(3),
            ids=rig.ids,
            end_of_log=lambda: Cursor("L", 1),
        )
        self.handler = ConnectHandler(self.hub, rig.guard, rig.clock)
        self.tasks: list[asyncio.Task[None]] = []

    async def open(
        self, client_id: str = "", token: str = "", *, broken: bool = False
    ) -> tuple[FakeStream, asyncio.Task[None]]:
        """A stream, which says hello if it has an id. `broken`: nothing can be written to it."""
        stream = FakeStream()
        stream.broken = broken
        task = asyncio.create_task(self.handler.serve(None, stream))  # type: ignore[arg-type]
        self.tasks.append(task)
        if client_id:
            stream.hello(client_id, token)
        await self.clock.settle()
        return stream, task

    async def tell(self, target: str, *ids: str) -> None:
        """Publish ephemeral events to that client."""
        events = [
            event_pb2.Event(
                id=each,
                type=event_type_pb2.EVENT_TYPE_CUSTOM,
                target=target,
                custom_type="n",
                ephemeral=True,
                custom=event_data_pb2.CustomData(),
            )
            for each in ids
        ]
        request = pb.PublishRequest(events=events).SerializeToString()
        assert (await self.rig.events.Publish(request, FakeCall("root"))).count == len(ids)
        await self.clock.settle()

    async def reasons(self) -> list[str]:
        """Why clients went, by the event log: it is flushed by an event of our own."""
        await self.rig.store.append(samples.published("flush"), scope="")
        wanted = event_pb2.EventFilter(types=[event_type_pb2.EVENT_TYPE_DISCONNECT])
        answer = await self.rig.events.ListEvents(pb.ListEventsRequest(filter=wanted), FakeCall("root"))
        return [event.disconnect.reason for event in pb.ListEventsResponse.FromString(answer).events]


@pytest.fixture
async def line(rig):
    line = Line(rig)
    yield line
    for task in line.tasks:
        task.cancel()
    await asyncio.gather(*line.tasks, return_exceptions=True)
    await line.hub.stop()


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


async def test_a_client_that_half_closes_leaves_nothing_behind(line):
    stream, task = await line.open("done")
    stream.says.put_nowait(EOF)
    await line.clock.advance(1.0)
    await task
    again, _ = await line.open("done", stream.welcome.resume_token)
    assert not again.welcome.resumed
    assert await line.reasons() == ["closed"]


async def test_a_client_that_is_cut_off_is_held_for_lost(line):
    stream, task = await line.open("lost")
    task.cancel()
    await line.clock.settle()
    again, _ = await line.open("lost", stream.welcome.resume_token)
    assert again.welcome.resumed
    assert await line.reasons() == ["connection_lost"]


async def test_what_is_addressed_to_a_client_and_could_not_be_written_comes_on_its_next_connection(line):
    stream, task = await line.open("lost")
    await line.tell("lost", "a")
    stream.broken = True
    await line.tell("lost", "b", "c")
    await task
    await line.tell("lost", "d")
    again, _ = await line.open("lost", stream.welcome.resume_token)
    assert (stream.events, again.events) == (["a"], ["b", "c", "d"])


async def test_a_client_whose_welcome_was_lost_resumes_with_the_token_that_it_has(line):
    """It knows of no other: what the connection before had left is still its own, however often that happens."""
    stream, task = await line.open("unlucky")
    stream.subscribe("s")
    await line.clock.settle()
    task.cancel()
    await line.clock.settle()
    token = stream.welcome.resume_token
    for _ in range(3):
        _, task = await line.open("unlucky", token, broken=True)
        await task
    again, task = await line.open("unlucky", token)
    assert again.welcome.resumed
    assert [one.subscription_id for one in again.welcome.lost] == ["s"]

    task.cancel()
    await line.clock.settle()
    later, task = await line.open("unlucky", again.welcome.resume_token)
    assert [one.subscription_id for one in later.welcome.lost] == ["s"], "it was not taken up"
    later.ping()
    await line.clock.settle()
    task.cancel()
    await line.clock.settle()
    stale, _ = await line.open("unlucky", again.welcome.resume_token)
    assert not stale.welcome.resumed, "it has spoken behind a younger one"


async def test_a_reply_that_followed_a_welcome_which_was_lost_comes_again(line):
    """Who does not know of the connection cannot have its reply; who has spoken on it has it."""
    waiting, ended = Waiting("ask", "e1", "m1", partial_replies=False, deadline=0.0), asyncio.Event()

    async def submit(_send: Any, _caller: Any) -> Any:
        return SimpleNamespace(accepted=SimpleNamespace(execution_id="e1", message_id="m1", duplicate=False)), waiting

    async def reply(one: Waiting, _put: Any) -> Reply:
        await ended.wait()
        return Reply(one.request_id, "e1", "m1", "hi", final=True, state=ExecutionState.SUCCEEDED)

    line.rig.sends.submit, line.rig.sends.reply = submit, reply
    stream, task = await line.open("unlucky")
    stream.ask("ask")
    await line.clock.settle()
    task.cancel()
    await line.clock.settle()
    ended.set()
    token = stream.welcome.resume_token
    unheard, task = await line.open("unlucky", token)
    assert unheard.replies == ["ask"]
    task.cancel()
    await line.clock.settle()

    heard, task = await line.open("unlucky", token)
    assert heard.replies == ["ask"]
    heard.ping()
    await line.clock.settle()
    task.cancel()
    await line.clock.settle()
    again, _ = await line.open("unlucky", heard.welcome.resume_token)
    assert (again.welcome.resumed, again.replies) == (True, [])


@pytest.mark.parametrize("by", ["a hello", "a publish"])
async def test_what_nobody_came_for_is_told_whoever_finds_out(line, caplog, by):
    _, task = await line.open("gone")
    task.cancel()
    await line.clock.settle()
    await line.tell("gone", "a", "b")
    await line.clock.advance(61.0)
    with caplog.at_level("INFO", "gatewayd.conversation"):
        if by == "a hello":
            await line.open("another")
        else:
            with pytest.raises(Aborted):
                await line.tell("gone", "late")
    (told,) = [each for each in caplog.records if each.message == "addressed_events_expired"]
    assert told.events == 2


@pytest.mark.parametrize("half_closes", [True, False])
async def test_after_goodbye_everybody_goes_for_the_drain(line, half_closes):
    stream, task = await line.open("parting")
    line.hub.drain("restart")
    if half_closes:
        stream.says.put_nowait(EOF)
    await line.clock.advance(1.0)
    await task
    assert await line.reasons() == ["draining"]


async def test_who_was_displaced_went_for_that(line):
    await line.open("twin")
    await line.open("twin")
    assert await line.reasons() == ["replaced"]


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

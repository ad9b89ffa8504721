"""The `Connect` stream without a transport: streams that a test speaks for, and the hub behind them."""

import asyncio
from types import SimpleNamespace
from typing import Any

from gateway.v1 import event_data_pb2, event_pb2, event_type_pb2
from gateway.v1 import event_service_pb2 as pb
from grpc import aio
from rpc_rig import FakeCall

from gatewayd.agents.workers import Workers
from gatewayd.config.model import GatewaySection
from gatewayd.conversation.doors import Doors
from gatewayd.conversation.hub import ConversationHub
from gatewayd.core.clock import SeededRandomness
from gatewayd.core.event import Cursor
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
        self.reads = asyncio.Event()
        """While it is not set, what is written does not get away."""
        self.reads.set()

    async def read(self) -> Any:
        said = await self.says.get()
        if isinstance(said, Exception):
            raise said
        return said

    async def write(self, data: bytes) -> None:
        if self.broken:
            raise aio.BaseError("the stream is gone")
        await self.reads.wait()
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

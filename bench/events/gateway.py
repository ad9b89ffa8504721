"""Our daemon as the load sees it: over TCP, with a token, with its bounds on.

Publishes go out as the SDK sends them: whatever is ready in one turn of the loop in one frame, a few frames under way.
"""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gateway.internal.v1 import frames_pb2 as twin
from gateway.v1 import event_pb2, event_service_pb2, event_type_pb2
from processes import Running, WrongAnswer, daemon

from events.arms import Glance, Look, Take, ring
from events.h2 import Connection, Metadata, Stream, connect
from events.payload import EVENT_BYTES, RING, payload
from gatewayctl.sdk.publisher import MAX_EVENTS, MAX_IN_FLIGHT

CONFIG = """
gateway:
  max_connections: 50000
  heartbeat_interval: 1h
  limits: {streams_per_client: 100000}
  logging: {level: warning}
bus:
  history: {max_events: 1000000}
"""
"""More connections than the default, since that is what is measured, and no heartbeats in between; every other bound is
as it comes."""
CONNECT = "/gateway.v1.EventService/Connect"
CONTENT_TYPE = "application/octet-stream"
ANSWER = 60.0
"""Seconds that an answer to a request may take."""
DELIVERY = 0x32
"""First byte of a frame that carries events."""


def event(data: bytes, number: int, publisher: int, place: str = "", *, durable: bool = False) -> event_pb2.Event:
    """A CUSTOM event. `place` is a stream and a topic with a bar between."""
    stream, _, topic = place.partition("|")
    return event_pb2.Event(
        id=f"{publisher:06}{number:020}",
        type=event_type_pb2.EVENT_TYPE_CUSTOM,
        stream_id=stream,
        topic=topic or "bench.events",
        custom_type="bench",
        ephemeral=not durable,
        custom={"content": data, "content_type": CONTENT_TYPE},
    )


def event_filter(place: str) -> event_pb2.EventFilter:
    """What `place` selects: a stream and a topic pattern with a bar between, either or both empty."""
    stream, _, topic = place.partition("|")
    return event_pb2.EventFilter(types=[event_type_pb2.EVENT_TYPE_CUSTOM], stream_id=stream, topic=topic)


PAYLOAD_BYTES = EVENT_BYTES - len(event(b"", 0, 0).SerializeToString()) - 2
"""Two more bytes hold the length of a payload that is not empty: its own field's and one digit of those around it."""

_MARK = event(_SAMPLE := payload(PAYLOAD_BYTES, 1), 1, 0).custom.SerializeToString().partition(_SAMPLE)[0]


def payload_place(data: bytes) -> int:
    """Where in an event its payload begins. It is the same for all events that one server passes on."""
    return data.index(_MARK) + len(_MARK)


class Talk:
    """One `Connect` stream: requests are answered by id, frames of events go to whoever took them."""

    def __init__(self, stream: Stream, name: str) -> None:
        self._stream = stream
        self._name = name
        self._requests = 0
        self._answers: dict[str, asyncio.Future[event_service_pb2.Accepted]] = {}
        self.on_delivery: Callable[[bytes], None] = self._unexpected
        self.on_last_word: Callable[[event_service_pb2.ConnectResponse], None] = self._last_word
        self.welcome: event_service_pb2.Welcome | None = None

    async def hello(self, resume_token: str = "") -> None:
        """Open the conversation."""
        welcomed: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def first(message: bytes) -> None:
            frame = event_service_pb2.ConnectResponse.FromString(message)
            if not frame.HasField("welcome"):
                raise WrongAnswer(f"hello was answered with {frame}")
            self.welcome = frame.welcome
            self._stream.on_message = self.on_message
            welcomed.set_result(None)

        self._stream.on_message = first
        hello = event_service_pb2.Hello(client_id=self._name, protocol_max=1, resume_token=resume_token)
        self._stream.send(event_service_pb2.ConnectRequest(hello=hello).SerializeToString())
        await self._first(welcomed)

    async def _first(self, future: "asyncio.Future[None]") -> None:
        async with asyncio.timeout(ANSWER):
            await asyncio.wait((future, self._stream.ended), return_when=asyncio.FIRST_COMPLETED)
        if not future.done():
            raise WrongAnswer(f"the stream of {self._name} ended: {self._stream.ended.result()}")

    def request(self, **frame: object) -> "asyncio.Future[event_service_pb2.Accepted]":
        """Send a request; its answer comes later."""
        self._requests += 1
        request_id = str(self._requests)
        answer = self._answers[request_id] = asyncio.get_running_loop().create_future()
        request = event_service_pb2.ConnectRequest(request_id=request_id, **frame)
        self._stream.send(request.SerializeToString())
        return answer

    async def subscribe(
        self, name: str, selection: event_pb2.EventFilter, *, since: str = "", buffer_bytes: int = 0
    ) -> str:
        """Subscribe; the cursor where it starts."""
        subscribe = event_service_pb2.Subscribe(
            subscription_id=name, filter=selection, since=since, buffer_bytes=buffer_bytes
        )
        async with asyncio.timeout(ANSWER):
            return (await self.request(subscribe=subscribe)).cursor

    async def unsubscribe(self, name: str) -> None:
        """End a subscription."""
        self.on_last_word = lambda _frame: None
        async with asyncio.timeout(ANSWER):
            await self.request(unsubscribe=event_service_pb2.Unsubscribe(subscription_id=name))

    def publish(self, entries: Sequence[bytes]) -> "asyncio.Future[event_service_pb2.Accepted]":
        """Publish encoded events, each with the tag and length that it has in a frame."""
        self._requests += 1
        request_id = str(self._requests)
        answer = self._answers[request_id] = asyncio.get_running_loop().create_future()
        events = b"".join(entries)
        head = request_id.encode()
        self._stream.send(b"\x0a" + bytes((len(head),)) + head + b"\x2a" + varint(len(events)) + events)
        return answer

    def on_message(self, message: bytes) -> None:
        """A frame of the server."""
        if message[0] == DELIVERY:
            self.on_delivery(message)
            return
        frame = event_service_pb2.ConnectResponse.FromString(message)
        kind = frame.WhichOneof("frame")
        if kind == "accepted":
            answer = self._answers.pop(frame.request_id)
            if not answer.done():
                answer.set_result(frame.accepted)
        elif kind == "rejected":
            raise WrongAnswer(f"{self._name}: refused: {frame.rejected.error}")
        elif kind == "delivery":
            self.on_delivery(message)
        elif kind != "progress":
            self.on_last_word(frame)

    def _last_word(self, frame: event_service_pb2.ConnectResponse) -> None:
        raise WrongAnswer(f"{self._name} was told {frame}")

    def _unexpected(self, _message: bytes) -> None:
        raise WrongAnswer(f"{self._name} got events that it did not ask for")


class GatewaySubscriber:
    """See `arms.Subscriber`."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    def count(self, take: Take) -> None:
        parse = twin.ConnectResponse.FromString
        self._talk.on_delivery = lambda message: take(len(parse(message).delivery.events))

    def inspect(self, take: Take, look: Look) -> None:
        def inspect(message: bytes) -> None:
            delivery = event_service_pb2.ConnectResponse.FromString(message).delivery
            for one in delivery.events:
                if not one.HasField("time") or one.source != "default":
                    raise WrongAnswer(f"the server's own fields are missing from {one}")
                look(one.custom.content)
            take(len(delivery.events))

        self._talk.on_delivery = inspect

    def glance(self, glance: Glance) -> None:
        parse = twin.ConnectResponse.FromString
        place = 0

        def on_delivery(message: bytes) -> None:
            nonlocal place
            for one in parse(message).delivery.events:
                place = place or payload_place(one)
                glance(one, place)

        self._talk.on_delivery = on_delivery


class GatewayPublisher:
    """See `arms.Publisher`. It keeps to the SDK's bounds."""

    def __init__(self, talk: Talk, index: int, places: Sequence[str]) -> None:
        self._talk = talk
        self._index = index
        self._in_flight = 0
        self._entries = [
            entry(event(payload(PAYLOAD_BYTES, number, index), number, index, places[number % len(places)]))
            for number in range(RING)
        ]
        self.more: Callable[[], None] = lambda: None

    def publish(self, first: int, events: int) -> int:
        taken = 0
        while taken < events and self._in_flight < MAX_IN_FLIGHT:
            part = min(events - taken, MAX_EVENTS)
            self._send(list(ring(self._entries, first + taken, part)))
            taken += part
        return taken

    def publish_payloads(self, payloads: Sequence[bytes]) -> None:
        self._send([entry(event(data, 0, self._index)) for data in payloads])

    def _send(self, entries: Sequence[bytes]) -> None:
        self._in_flight += 1
        self._talk.publish(entries).add_done_callback(self._answered)

    def _answered(self, _answer: object) -> None:
        self._in_flight -= 1
        self.more()


class GatewayClients:
    """See `arms.Clients`."""

    payload_bytes = PAYLOAD_BYTES

    def __init__(self, port: int, token: str) -> None:
        self._port = port
        self.metadata: Metadata = (("authorization", f"Bearer {token}"),)
        self._connections: list[Connection] = []

    async def connect(self) -> Connection:
        """A connection that `close` cuts."""
        connection = await connect(self._port)
        self._connections.append(connection)
        return connection

    async def talk(self, name: str, connection: Connection | None = None) -> Talk:
        """A conversation, on a connection of its own unless one is given."""
        stream = (connection or await self.connect()).open(CONNECT, self.metadata, lambda _message: None)
        talk = Talk(stream, name)
        await talk.hello()
        return talk

    async def subscriber(self, index: int, place: str = "") -> GatewaySubscriber:
        talk = await self.talk(f"subscriber-{index}")
        await talk.subscribe("all", event_filter(place))
        return GatewaySubscriber(talk)

    async def publisher(self, index: int, places: Sequence[str] = ("",)) -> GatewayPublisher:
        return GatewayPublisher(await self.talk(f"publisher-{index}"), index, places)

    def close(self) -> None:
        for connection in self._connections:
            connection.close()


class Gateway:
    """See `arms.Arm`."""

    name = "gatewayd"
    ordered = True
    authenticated = "yes (token)"
    processes = "1 + load"

    def missing(self) -> str:
        return ""

    @contextmanager
    def start(self, home: Path) -> Iterator[Running]:
        config = home / "gateway.yaml"
        config.write_text(CONFIG)
        config.chmod(0o600)
        with daemon(home, config) as running:
            yield running

    def clients(self, running: Running) -> GatewayClients:
        token = (running.home / "state" / "token").read_text().strip()
        return GatewayClients(running.port, token)


def entry(one: event_pb2.Event) -> bytes:
    """The event as a member of `publish.events`."""
    data = one.SerializeToString()
    return b"\x0a" + varint(len(data)) + data


def varint(number: int) -> bytes:
    """Protobuf's encoding of a number."""
    found = bytearray()
    while number > 127:
        found.append(number & 127 | 128)
        number >>= 7
    found.append(number)
    return bytes(found)

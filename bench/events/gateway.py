"""Our daemon as the load sees it: over TCP, with a token, with its bounds on.

Publishes go out as the SDK sends them: whatever is ready in one turn of the loop in one frame, a few frames under way.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from gateway.internal.v1 import frames_pb2 as twin
from gateway.v1 import event_service_pb2

from bench.events.arms import Glance, Look, Take, ring
from bench.events.envelope import PAYLOAD_BYTES, entry, event, event_filter, payload_place
from bench.events.h2 import Connection, Metadata, connect
from bench.events.payload import RING, payload
from bench.events.talk import Talk
from bench.processes import Running, WrongAnswer, daemon
from gatewayctl.sdk.publisher import MAX_EVENTS, MAX_IN_FLIGHT

CONFIG = """
gateway:
  max_connections: 50000
  limits: {streams_per_client: 100000}
  logging: {level: warning}
bus:
  history: {max_events: 1000000}
agents:
  echo: {remote: true, concurrency: concurrent(64)}
  talker: {remote: true, timeout: 10m}
entry_points:
  ask: {agent: echo, max_concurrent: 64}
  talk: {agent: talker, max_concurrent: 4}
"""
"""More connections than the default, since that is what is measured; every other bound is as it comes."""
CONNECT = "/gateway.v1.EventService/Connect"


class GatewaySubscriber:
    """See `arms.Subscriber`."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk

    def count(self, take: Take) -> None:
        parse = twin.ConnectResponse.FromString

        def count(message: bytes) -> None:
            delivery = parse(message).delivery
            if delivery.subscription_ids:  # otherwise it is a heartbeat
                take(len(delivery.events))

        self._talk.on_delivery = count

    def inspect(self, take: Take, look: Look) -> None:
        def inspect(message: bytes) -> None:
            delivery = event_service_pb2.ConnectResponse.FromString(message).delivery
            if not delivery.subscription_ids:
                return
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
            delivery = parse(message).delivery
            if delivery.subscription_ids:
                for one in delivery.events:
                    place = place or payload_place(one)
                    glance(one, place)

        self._talk.on_delivery = on_delivery


class GatewayPublisher:
    """See `arms.Publisher`. It keeps to the SDK's bounds."""

    def __init__(self, talk: Talk, index: int, places: Sequence[str]) -> None:
        self._talk = talk
        self._index = index
        self._in_flight = 0
        self._waiting: list[bytes] = []
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
        self._waiting += [entry(event(data, 0, self._index)) for data in payloads]
        self._send_waiting()

    def _send_waiting(self) -> None:
        while self._waiting and self._in_flight < MAX_IN_FLIGHT:
            ready, self._waiting = self._waiting[:MAX_EVENTS], self._waiting[MAX_EVENTS:]
            self._send(ready)

    def _send(self, entries: Sequence[bytes]) -> None:
        self._in_flight += 1
        self._talk.publish(entries).add_done_callback(self._answered)

    def _answered(self, _answer: object) -> None:
        self._in_flight -= 1
        self._send_waiting()
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

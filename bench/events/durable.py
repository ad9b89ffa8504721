"""Durable publishes, acknowledged: the daemon's after fsync, JetStream's as its settings have it."""

import asyncio
import json
import statistics
import time
from collections import deque
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from gateway.v1 import event_service_pb2

from bench.events.envelope import PAYLOAD_BYTES, durable_entry, event_filter
from bench.events.gateway import Gateway, GatewayClients
from bench.events.load import Round, trouble
from bench.events.nats import Connection, Nats, NatsClients, subject
from bench.events.payload import EVENT_BYTES, Inspector, payload
from bench.events.talk import Talk
from bench.processes import Running, WrongAnswer
from bench.report import Row
from gatewayctl.sdk.publisher import MAX_IN_FLIGHT

TARGET = 20_000
IN_FLIGHT = 64
CHECKED = 2_000
BEGUN = 4 * IN_FLIGHT
"""Messages that JetStream acknowledges before it is measured. What it keeps is asked for at the end, of all."""
WARM = 0.3
ANSWERS = 20.0
"""Seconds that the last acknowledgements may take."""


class Ours:
    """Publishes with so many events unacknowledged, in frames as the SDK makes them."""

    def __init__(self, talk: Talk) -> None:
        self._talk = talk
        self._frames = 0
        self.published = 0
        self.acknowledged = 0
        self.going = False
        self.first = self.last = ""
        self._made: list[bytes] = []

    def pump(self) -> None:
        """Fill what may be in flight."""
        room = IN_FLIGHT - (self.published - self.acknowledged)
        if not self.going or room <= 0 or self._frames >= MAX_IN_FLIGHT:
            return
        self._make(room)
        entries, self._made = self._made[:room], self._made[room:]
        self.published += room
        self._frames += 1

        def answered(answer: "asyncio.Future[event_service_pb2.Accepted]") -> None:
            self._frames -= 1
            self.acknowledged += room
            self.first = self.first or answer.result().cursor
            self.last = answer.result().cursor
            self.pump()

        self._talk.publish(entries).add_done_callback(answered)
        # The next are made while these are written, and not before they are on their way.
        asyncio.get_running_loop().call_soon(self._make, IN_FLIGHT)

    def _make(self, count: int) -> None:
        """Have so many entries ready, behind what was published."""
        made = self.published + len(self._made)
        for number in range(made, made + count - len(self._made)):
            self._made.append(durable_entry(payload(PAYLOAD_BYTES, number), number, 0))


class JetStream:
    """Publishes with so many messages unacknowledged; each is acknowledged for itself, as its protocol has it."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._rest = b""
        self.published = 0
        self.acknowledged = 0
        self.going = False
        connection.on_data = self._on_data

    def pump(self) -> None:
        """Fill what may be in flight."""
        room = IN_FLIGHT - (self.published - self.acknowledged)
        if not self.going or room <= 0:
            return
        head = f"PUB {subject('0|all')} ack.1 {EVENT_BYTES}\r\n".encode()
        numbers = range(self.published, self.published + room)
        self.connection.write(b"".join(head + payload(EVENT_BYTES, number) + b"\r\n" for number in numbers))
        self.published += room

    def _on_data(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\r\n")
        for line in lines:
            if line.startswith(b"{"):
                if b'"error"' in line:
                    raise WrongAnswer(f"JetStream: {line!r}")
                self.acknowledged += 1
            elif line == b"PING":
                self.connection.write(b"PONG\r\n")
        self.pump()


Pump = Ours | JetStream


async def measure(pump: Pump, seconds: float, cpu: Callable[[], float]) -> Round:
    """Keep what is in flight full for so long; every publish must be acknowledged in the end."""
    with trouble():
        pump.going = True
        pump.pump()
        await asyncio.sleep(WARM)
        before = (pump.acknowledged, cpu(), time.process_time())
        began = time.perf_counter()
        await asyncio.sleep(seconds)
        took = time.perf_counter() - began
        acknowledged, used, own = pump.acknowledged - before[0], cpu() - before[1], time.process_time() - before[2]
        await settle(pump)
    return Round(took, acknowledged, acknowledged, used, own)


async def settle(pump: Pump) -> None:
    """Publish nothing more and wait for the last acknowledgement."""
    pump.going = False
    until = time.monotonic() + ANSWERS
    while pump.acknowledged < pump.published:
        if time.monotonic() > until:
            raise WrongAnswer(f"{pump.published} published, {pump.acknowledged} acknowledged")
        await asyncio.sleep(0.005)


@asynccontextmanager
async def ours() -> AsyncIterator[tuple[Ours, Running]]:
    """The daemon, once what it acknowledged was read back."""
    arm = Gateway()
    with TemporaryDirectory(prefix="bench-") as home:
        server = arm.start(Path(home))
        running = await asyncio.to_thread(server.__enter__)
        clients = arm.clients(running)
        try:
            pump = Ours(await clients.talk("publisher"))
            await _check(pump, clients)
            yield pump, running
        finally:
            clients.close()
            await asyncio.to_thread(server.__exit__, None, None, None)


async def _check(pump: Ours, clients: GatewayClients) -> None:
    """Every acknowledged event can be read back once, in order and intact, by a reader that comes afterwards."""
    beginning = (await clients.talk("beginning")).welcome
    assert beginning is not None
    with trouble():
        pump.going = True
        pump.pump()
        while pump.acknowledged < CHECKED:
            await asyncio.sleep(0.005)
        await settle(pump)
    inspector = Inspector("gatewayd, durable", 1, 1, ordered=True)
    got: deque[int] = deque()
    reader = await clients.talk("reader")

    def on_delivery(message: bytes) -> None:
        delivery = event_service_pb2.ConnectResponse.FromString(message).delivery
        if not delivery.subscription_ids:
            return  # a heartbeat
        for one in delivery.events:
            if not one.HasField("seq"):
                raise WrongAnswer("a durable event came without its place in the log")
            inspector.look(0, one.custom.content)
            got.append(one.seq)

    reader.on_delivery = on_delivery
    with trouble():
        await reader.subscribe("back", event_filter(""), since=beginning.cursor)
        until = time.monotonic() + ANSWERS
        while len(got) < pump.published and time.monotonic() < until:
            await asyncio.sleep(0.01)
    inspector.finish([pump.published])
    await reader.unsubscribe("back")


@asynccontextmanager
async def jetstream(name: str, sync: str) -> AsyncIterator[tuple[JetStream, Running]]:
    """nats-server with one stream on disk, once it has acknowledged some."""
    arm = Nats(name, sync)
    with TemporaryDirectory(prefix="bench-") as home:
        server = arm.start(Path(home))
        running = await asyncio.to_thread(server.__enter__)
        clients = arm.clients(running)
        try:
            pump = JetStream(await _stream(clients))
            pump.going = True
            pump.pump()
            while pump.acknowledged < BEGUN:
                await asyncio.sleep(0.005)
            await settle(pump)
            yield pump, running
            if (kept := await _kept(pump.connection)) != pump.published:
                raise WrongAnswer(f"JetStream acknowledged {pump.published} messages and keeps {kept}")
        finally:
            clients.close()
            await asyncio.to_thread(server.__exit__, None, None, None)


async def _stream(clients: NatsClients) -> Connection:
    connection = await clients.connect()
    connection.write(b"SUB ack.> 1\r\n")
    await connection.joined()
    options = {"name": "bench", "subjects": [subject("")], "storage": "file", "retention": "limits", "num_replicas": 1}
    await _ask(connection, "STREAM.CREATE.bench", options)
    return connection


async def _kept(connection: Connection) -> int:
    """Messages that the stream holds."""
    return int((await _ask(connection, "STREAM.INFO.bench", {}))["state"]["messages"])


async def _ask(connection: Connection, what: str, options: dict[str, Any]) -> dict[str, Any]:
    said = bytearray()
    answered = asyncio.Event()

    def on_data(data: bytes) -> None:
        said.extend(data)
        if said.endswith(b"}\r\n"):
            answered.set()

    text = json.dumps(options).encode()
    before, connection.on_data = connection.on_data, on_data
    connection.write(b"PUB $JS.API.%b ack.0 %d\r\n%b\r\n" % (what.encode(), len(text), text))
    async with asyncio.timeout(ANSWERS):
        await answered.wait()
    connection.on_data = before
    answer: dict[str, Any] = json.loads(said[said.index(b"{") :])
    if "error" in answer:
        raise WrongAnswer(f"JetStream: {answer['error']}")
    return answer


async def rows(*, rounds: int, seconds: float, with_peers: bool) -> list[Row]:
    """The daemon beside JetStream as it comes, and JetStream with an fsync before each acknowledgement."""
    found: dict[str, list[Round]] = {}
    peers = with_peers and not Nats().missing()
    async with AsyncExitStack() as stack:
        arms: dict[str, tuple[Pump, Running]] = {"gatewayd": await stack.enter_async_context(ours())}
        if peers:
            for name, sync in (("JetStream", '"2m"'), ("JetStream, sync always", "always")):
                arms[name] = await stack.enter_async_context(jetstream(name, sync))
        for _ in range(rounds):
            for name, (pump, running) in arms.items():
                found.setdefault(name, []).append(await measure(pump, seconds, running.cpu))
    return [_row(found)]


def _row(found: dict[str, list[Round]]) -> Row:
    def figure(name: str) -> str:
        rate = statistics.median(each.rate for each in found[name])
        cost = statistics.median(each.cost for each in found[name])
        return f"{rate:,.0f}/s, {cost * 1e6:.0f} µs of CPU each"

    rate = statistics.median(each.rate for each in found["gatewayd"])
    ratio = 0.0
    if "JetStream" in found:
        ratio = statistics.median(a.rate / b.rate for a, b in zip(found["gatewayd"], found["JetStream"], strict=True))
    busy = statistics.median(each.load_busy for each in found["gatewayd"]) * 100
    return Row(
        "durable publish, acknowledged",
        figure("gatewayd"),
        "; ".join(f"{name} {figure(name)}" for name in found if name != "gatewayd") or "no peer",
        ratio,
        f"≥ {TARGET:,}/s (aim: more than JetStream)",
        rate >= TARGET,
        durable="yes, fsync before each acknowledgement (JetStream: as it comes, without; sync always: with)",
        authenticated="yes (peer: no)",
        in_flight=f"{IN_FLIGHT} events",
        processes="1 + load",
        note=f"{len(found['gatewayd'])} rounds; the target is the figure, the ratio is to JetStream as it comes; "
        f"{CHECKED} events read back first; the load's processor {busy:.0f} %",
    )

"""Push without its doors: all its parts over a real store, with readers by hand and time that a test moves."""

from pathlib import Path
from typing import Any

from gateway.v1 import topic_pb2

from gatewayd.config.checking import read
from gatewayd.config.model import GatewayConfig
from gatewayd.core.clock import SeededRandomness
from gatewayd.core.event import Event
from gatewayd.core.ids import IdSource
from gatewayd.core.push import ONLINE, Peer, TopicDelivery, TopicEndReason
from gatewayd.push.delivery import Pushed
from gatewayd.push.house import PushHouse
from gatewayd.push.members import Client, Topic
from gatewayd.push.topics import Wish
from gatewayd.testing.fakes import FakeClock
from gatewayd.testing.store_cases.sqlite import SQLiteHarness
from gatewayd.wire.push import data_bytes
from tests.rigs.push import struct


class Hand:
    """A stream of a client, read by hand."""

    polls = False

    def __init__(self, rig: "PushRig", name: str) -> None:
        self.rig = rig
        self.peer = Peer("local", name)
        self.over: list[tuple[str, TopicEndReason]] = []
        self.client: Client = rig.house.attach(self.peer, self)

    def wake(self) -> None:
        """It reads when the test says so."""

    def ended(self, topic: str, reason: TopicEndReason) -> None:
        self.over.append((topic, reason))

    async def join(self, topic: str, *, acknowledged: bool = False, **more: Any) -> None:
        wish = Wish(acknowledged, more.get("status", ""), more.get("metadata"), more.get("watch_presence", False))
        await self.rig.house.topics.join(await self.rig.topic(topic), self.client, wish)

    def frame(self, count: int = 1000) -> TopicDelivery | None:
        """What waits."""
        return self.rig.house.delivery.take(self.client, count, 1 << 20)

    def take(self, count: int = 1000) -> list[topic_pb2.TopicMessage]:
        """The messages that wait."""
        frame = self.frame(count)
        return [topic_pb2.TopicMessage.FromString(one) for one in frame.messages] if frame is not None else []

    def told(self) -> list[str]:
        """The texts that wait, each with `+N` when it came N times before."""
        return [one.data["text"] + (f"+{one.redelivered}" if one.redelivered else "") for one in self.take()]

    async def ack(self, *messages: topic_pb2.TopicMessage) -> int:
        return await self.rig.house.delivery.receipts.ack(self.client, [one.delivery_id for one in messages])

    async def nack(self, *messages: topic_pb2.TopicMessage) -> int:
        return await self.rig.house.delivery.receipts.nack(self.client, [one.delivery_id for one in messages])

    def cut(self, *, silent_for: float = 0.0) -> None:
        """The connection breaks."""
        self.rig.house.clients.detach(self.client, self, lost=True, silent_for=silent_for)

    def close(self) -> None:
        """The client ends the stream in order."""
        self.rig.house.clients.detach(self.client, self, lost=False)


class PushRig:
    """`async with PushRig(tmp_path, {"delivery": {"max_retries": 1}}) as rig:`."""

    def __init__(self, place: Path, push: dict[str, Any] | None = None, gateway: dict[str, Any] | None = None) -> None:
        self.clock = FakeClock()
        self.events: list[Event] = []
        self.harness = SQLiteHarness(place / "push.db")
        self.use(push, gateway)

    def use(self, push: dict[str, Any] | None = None, gateway: dict[str, Any] | None = None) -> None:
        """As a reload does."""
        self.config = read(GatewayConfig, {"push": {"enabled": True} | (push or {}), "gateway": gateway or {}})

    async def start(self) -> None:
        """Make the parts anew over what the store has."""
        self.house = PushHouse(
            store=self.harness.store,
            publish=self.events.append,
            config=lambda: self.config,
            clock=self.clock,
            randomness=SeededRandomness(7),
            ids=IdSource(self.clock, SeededRandomness(int(self.clock.now() * 1000) % 1_000_003)),
        )
        await self.house.topics.load()
        self.house.start()

    async def restart(self) -> None:
        """As after a crash: nothing is written down at the end."""
        await self.house._tasks.close()
        await self.harness.reopen()
        await self.start()

    async def __aenter__(self) -> "PushRig":
        await self.harness.store.open()
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.house._tasks.close()
        await self.harness.store.close()

    async def topic(self, name: str) -> Topic:
        return await self.house.make(name, "local")

    async def push(self, topic: str, text: str, *, sender: str = "sender", **more: Any) -> Pushed:
        data = data_bytes(struct({"text": text}), "data")
        return await self.house.delivery.publish(await self.topic(topic), Peer("local", sender), data, **more)

    async def settle(self) -> None:
        """Until everything that was begun is on disk and has been heard of."""
        for _ in range(3):
            await self.clock.settle()
            await self.harness.store.settle(Peer("", ""), [])
            while any(client.loading for client in self.house.topics.clients.values()):
                await self.harness.store.settle(Peer("", ""), [])
                await self.clock.settle()

    async def pass_time(self, seconds: float) -> None:
        """Let time pass, and what falls due be done."""
        await self.settle()
        left = seconds
        while left > 0:
            step = min(left, 1.0)
            await self.clock.advance(step)
            left -= step
        await self.settle()

    async def letters(self) -> list[tuple[str, str, int]]:
        """Recipient, reason and attempts of the dead letters, oldest first."""
        found = await self.harness.store.list_topic_letters(topic="", principal="", before=0, limit=1000)
        return [(one.peer.client_id, one.reason.value, one.attempts) for one in reversed(found)]

    def presence(self) -> list[tuple[str, str, str]]:
        """Client, what it did and its status, of the presence events so far; the list begins anew."""
        told = [
            (str(one.data["client_id"]), one.type.label.removeprefix("presence_"), str(one.data["status"]))
            for one in self.events
        ]
        self.events.clear()
        return told


__all__ = ["ONLINE", "Hand", "PushRig"]

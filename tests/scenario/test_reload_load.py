"""Reload while everybody is talking: nothing that stays is touched, nothing is lost, doubled or reordered."""

import asyncio
import random
import re
from pathlib import Path
from typing import Any

import pytest
from gateway.v1 import admin_service_pb2 as admin

from gatewayctl.client import Client, GatewayError, Subscription, event_filter, new_event
from tests.rigs.in_process import InProcess

AGENTS = 50
STREAMS = 44
CHATS = 6
ROUNDS = 25
BROKEN = 5
"""Of these, configurations that must be refused: a fifth."""


def configuration(round_number: int, rng: random.Random) -> str:
    """Fifty agents, of which some come, go or change; a channel that stays, others that do not; policies that move."""
    number = round_number
    agents = {f"a{each}": "{model: offline/echo}" for each in range(AGENTS)}
    for each in rng.sample(range(AGENTS // 2, AGENTS), 8):
        agents[f"a{each}"] = f"{{model: offline/echo, instructions: in round {number}}}"
    for each in rng.sample(range(AGENTS // 2, AGENTS), 4):
        agents[f"new-{number}-{each}"] = agents.pop(f"a{each}")
    steady = {
        "routing": f"{{dm: a{number % 7}}}",
        "rate_limit": str(1000 + number),
        "group_policy": ("mention_only", "respond_all", "command_only", "observe")[number % 4],
        "busy_mode": "queue",
    }
    rows = [f"  {name}: {section}" for name, section in agents.items()]
    keys = ", ".join(f"{key}: {value}" for key, value in steady.items())
    channels = [f"  steady: {{platform: sim, token: steady, {keys}}}"]
    if number % 2:
        channels.append(f"  extra: {{platform: sim, token: extra, routing: {{dm: a{number % 5}}}}}")
    if number % 3:
        channels.append(f"  moving: {{platform: sim, token: moving-{number}, routing: {{dm: a1}}}}")
    return "\n".join(["agents:", *rows, "channels:", *channels, ""])


BREAKS = (
    lambda text: text.replace("a0: {", "a0: {modle: x, "),
    lambda text: text + "agents: {}\n",
    lambda text: text.replace("{dm: a", "{dm: nobody", 1),
    lambda text: text.replace("offline/echo", "offline/ecco", 1),
    lambda text: text + "gateway: {socket: /elsewhere/s}\n",
    lambda text: text.replace("channels:", "channels:\n  bad: {platform: sim, token: bad, routing: {dm: a0}}"),
)
"""Ways in which people break a file; the last is refused by the platform, when much is prepared already."""


class Talker:
    """One client with one stream: publishes numbers, reads its neighbour's, and asks an agent; checks every order."""

    def __init__(self, number: int, client: Client) -> None:
        self.number = number
        self.client = client
        self.published = 0
        self.read = 0
        self.asked = 0

    async def publish(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            batch = range(self.published, self.published + 3)
            await self.client.publish(
                [new_event("message", {"content": str(each)}, stream_id=f"stream-{self.number}") for each in batch]
            )
            self.published = batch.stop
            await asyncio.sleep(0.02)

    async def follow(self, subscription: Subscription, neighbour: "Talker", stop: asyncio.Event) -> None:
        async for event in subscription:
            assert event.message.content == str(self.read), f"client {self.number} expected {self.read}"
            self.read += 1
            if stop.is_set() and self.read == neighbour.published:
                return

    async def ask(self, stop: asyncio.Event) -> None:
        """Of an agent that stays all the time, though its neighbours come and go."""
        while not stop.is_set():
            text = f"question {self.asked} of {self.number}"
            reply = await self.client.send(f"a{self.number % (AGENTS // 2)}", text, timeout=30)
            assert reply.content == text
            self.asked += 1
            await asyncio.sleep(0.05)


async def chat(network: Any, number: int, stop: asyncio.Event) -> int:
    """One person on the channel that stays; the answers must come in the order of the questions."""
    said = 0
    while not stop.is_set():
        network.say(f"room{number}", f"person{number}", f"line {said}", token="steady")
        said += 1
        heard = await network.wait_heard(said, f"room{number}", timeout=60)
        assert [each.text for each in heard] == [f"line {each}" for each in range(said)]
    return said


async def test_F20_reload_under_load_touches_nothing_that_stays(tmp_path: Path) -> None:
    """50 agents, 44 streams and 6 chats; 25 reloads, a fifth of them broken (P1.6, G6 in small)."""
    rng = random.Random(20)
    async with InProcess(tmp_path, configuration(0, rng)) as gateway, asyncio.TaskGroup() as group:
        adapter, supervisor = gateway.adapter("steady"), gateway.house.channels.get("steady").supervisor
        clients = [gateway.client(f"talker{number}") for number in range(STREAMS)]
        talkers = [Talker(number, client) for number, client in enumerate(clients)]
        await asyncio.gather(*(client.__aenter__() for client in clients))
        subscriptions = [
            await client.subscribe(event_filter(types=["message"], stream_id=f"stream-{(n + 1) % STREAMS}")).started()
            for n, client in enumerate(clients)
        ]
        stop = asyncio.Event()
        pairs = zip(talkers, subscriptions, strict=True)
        following = [
            group.create_task(talker.follow(subscription, talkers[(talker.number + 1) % STREAMS], stop))
            for talker, subscription in pairs
        ]
        working = [group.create_task(talker.publish(stop)) for talker in talkers]
        working += [group.create_task(talker.ask(stop)) for talker in talkers]
        chats = [group.create_task(chat(adapter.platform, number, stop)) for number in range(CHATS)]

        applied = await reload_again_and_again(gateway, talkers, rng)

        stop.set()
        await asyncio.gather(*working, *chats)
        # A last event for each reader, so that it wakes up and sees that it is through.
        for talker in talkers:
            talker.published += 1
            last = {"content": str(talker.published - 1)}
            await talker.client.publish(new_event("message", last, stream_id=f"stream-{talker.number}"))
        await asyncio.wait_for(asyncio.gather(*following), 60)

        assert applied == ROUNDS - BROKEN
        assert gateway.adapter("steady") is adapter
        assert gateway.house.channels.get("steady").supervisor is supervisor
        assert [client._conversation.connects for client in clients] == [1] * STREAMS
        assert [subscription.connects for subscription in subscriptions] == [1] * STREAMS
        assert all(talker.asked >= ROUNDS and talker.read >= ROUNDS for talker in talkers)
        assert all(task.result() > 3 for task in chats)
        assert adapter.platform.unacknowledged("steady") == 0
        for subscription in subscriptions:
            subscription.close()
        await asyncio.gather(*(client.close() for client in clients))


async def progress(talkers: list[Talker]) -> None:
    """Wait until everybody has been heard since the last reload."""
    before = [(talker.asked, talker.read) for talker in talkers]
    async with asyncio.timeout(60):
        while any(
            talker.asked == asked or talker.read == read for talker, (asked, read) in zip(talkers, before, strict=True)
        ):
            await asyncio.sleep(0.005)


async def reload_again_and_again(gateway: InProcess, talkers: list[Talker], rng: random.Random) -> int:
    """How many were applied; a refused one must leave the digest and the agents as they were."""
    applied, client = 0, talkers[0].client
    broken = set(range(ROUNDS // BROKEN - 1, ROUNDS, ROUNDS // BROKEN))
    for number in range(ROUNDS):
        await progress(talkers)
        good = configuration(number + 1, rng)
        before = (gateway.house.reloader.config, gateway.house.agents.describe())
        if number not in broken:
            gateway.write(good)
            await client.call("AdminService/ReloadConfig", admin.ReloadConfigRequest(), admin.ReloadConfigResponse)
            names = re.findall(r"^  ([\w-]+): \{model", good, re.MULTILINE)
            assert gateway.house.agents.names() == names
            applied += 1
            continue
        gateway.write(BREAKS[(number // BROKEN + 1) % len(BREAKS)](good))
        with pytest.raises(GatewayError):
            await client.call("AdminService/ReloadConfig", admin.ReloadConfigRequest(), admin.ReloadConfigResponse)
        assert (gateway.house.reloader.config, gateway.house.agents.describe()) == before
    return applied

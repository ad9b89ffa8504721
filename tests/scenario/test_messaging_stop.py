"""A stop of the daemon in the middle of what is asked of the message engine."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from gatewayctl.client import Call, Client
from gatewayd.conversation.speaking import Speaking
from gatewayd.core.workers import PublishMessage
from tests.rigs import talkers
from tests.rigs.house import eventually
from tests.rigs.in_process import InProcess

CONFIG = """
agents:
  speaker: {class: "tests.rigs.talkers:Speaker", timeout: 60s}
  keeper: {class: "tests.rigs.talkers:Keeper", topics: [done]}
  far: {remote: true, timeout: 60s}
"""
NAMES = ["keeper/a", "keeper/b"]


@pytest.fixture(autouse=True)
def scene() -> talkers.Scene:
    return talkers.renew()


async def _saves(client: Client) -> list[str]:
    return await client.save_state("mine", NAMES)


async def _loads(client: Client) -> list[str]:
    return list((await client.load_state("mine", NAMES)).loaded)


@pytest.mark.parametrize("asks", [_saves, _loads])
async def test_a_stop_waits_for_states_that_are_saved_or_loaded(
    tmp_path: Path, scene: talkers.Scene, asks: Callable[[Client], Awaitable[list[str]]]
) -> None:
    gateway = InProcess(tmp_path, CONFIG)
    await gateway.start()
    async with gateway.client("c") as client:
        scene.go.set()
        for key in "ab":
            await client.send("speaker", f"send keeper/{key} hello")
        await client.save_state("mine", NAMES)
        scene.go.clear()
        begun = len(scene.said)
        asking = asyncio.create_task(asks(client))
        await scene.until(begun + 1)
        house = gateway.house
        stopping = asyncio.create_task(gateway.stop(60.0))

        async def waits_or_is_past_it() -> bool:
            return house.runtime.lanes.closed or bool(house.messaging.engine._traffic._waiting)

        await eventually(waits_or_is_past_it)
        assert not house.runtime.lanes.closed
        scene.go.set()
        assert await asyncio.wait_for(asking, 60) == NAMES
        await stopping


async def test_what_a_worker_publishes_from_its_call_is_taken_in_one_step(tmp_path: Path, scene: talkers.Scene) -> None:
    """So a stop finds it not begun, or with the engine, which it waits for."""
    calls: asyncio.Queue[Call] = asyncio.Queue()
    over = asyncio.Event()

    async def answer(call: Call) -> str:
        calls.put_nowait(call)
        await over.wait()
        return "done"

    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client, gateway.client("w") as worker:
        worker.serve_agent("far", answer)
        asked = asyncio.create_task(client.send("far", "x"))
        call_id = (await asyncio.wait_for(calls.get(), 60)).call_id
        house: Any = gateway.house
        speaking = Speaking(agents=house.agents, heard=house.messaging.engine.agents_for, rates=house.runtime)
        held = house.agents.workers.held(("local", "w"), call_id)
        with pytest.raises(StopIteration) as taken:
            speaking.publish(PublishMessage("", call_id, "done/x", "news"), held).send(None)
        assert taken.value.value == 1
        assert await scene.until(1) == ["keeper/x done/x far/default news"]
        over.set()
        assert (await asyncio.wait_for(asked, 60)).content == "done"
        scene.go.set()

"""Tools that agents call when other agents ask them: each call has its own key, and none that is cut off is hidden."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gatewayd.core.event import EventType
from gatewayd.core.filter import EventFilter
from gatewayd.wire import data_of
from tests.rigs import talkers
from tests.rigs.house import eventually
from tests.rigs.in_process import InProcess

CONFIG = """
gateway: {drain_timeout: 1}
agents:
  stages: {class: "tests.rigs.talkers:Stages", timeout: 60s}
  worker: {class: "tests.rigs.talkers:Worker", timeout: 60s}
  asks: {class: "tests.rigs.talkers:Speaker"}
  tells: {class: "tests.rigs.talkers:Announcer", timeout: 60s}
  hears: {class: "tests.rigs.talkers:Worker", topics: [paid]}
  too: {class: "tests.rigs.talkers:Worker", topics: [paid]}
"""


@pytest.fixture(autouse=True)
def scene() -> talkers.Scene:
    return talkers.renew()


async def test_equal_messages_call_tools_with_keys_of_their_own(tmp_path: Path, scene: talkers.Scene) -> None:
    """Asked twice for the same, it is done twice; each agent that hears a topic does it for itself."""
    scene.go.set()
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        assert (await client.send("stages", "go")).content == "all paid"
        said = await scene.until(6)

    assert len({line.rpartition(" ")[2] for line in said}) == 6


async def test_what_is_run_again_after_a_cut_has_the_keys_that_it_had(tmp_path: Path, scene: talkers.Scene) -> None:
    """From the last checkpoint on; and the call that was cut off is told of."""
    gateway = InProcess(tmp_path, CONFIG)
    await gateway.start()
    async with gateway.client("c") as client:
        sending = asyncio.create_task(client.send("stages", "go"))
        for count in (1, 2, 3):
            await scene.until(count)
            scene.go.set()
            scene.go = asyncio.Event()
        await scene.until(4)

        async def begun() -> bool:
            (one,) = gateway.house.runtime._live.values()
            return len((await gateway.house.store.restart_of(one.execution.id)).begun) == 1

        await eventually(begun)
        sending.cancel()
    await gateway.stop(0.0)
    scene.go.set()
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        said = await scene.until(8)
        (cut,) = await _events(gateway, EventType.EXECUTION_INTERRUPTED, 1)
        assert [call.split()[0] for call in cut["begun_calls"]] == ["pay"]

    scopes = [line.rpartition(" ")[2] for line in said]
    assert scopes[4:6] == scopes[2:4]
    assert len(set(scopes)) == 6


async def test_a_call_that_an_asked_agent_tells_of_by_itself_is_named_after_a_cut(
    tmp_path: Path, scene: talkers.Scene
) -> None:
    gateway = InProcess(tmp_path, CONFIG)
    await gateway.start()
    async with gateway.client("c") as client:
        sending = asyncio.create_task(client.send("asks", "send tells now"))
        await scene.until(1)
        sending.cancel()
    await gateway.stop(0.0)
    scene.go.set()
    async with InProcess(tmp_path, CONFIG) as gateway:
        (cut,) = await _events(gateway, EventType.EXECUTION_INTERRUPTED, 1)
        assert cut["begun_calls"] == ["pay (tells/call-1)"]


async def test_calls_of_what_was_published_go_on_after_the_execution(tmp_path: Path, scene: talkers.Scene) -> None:
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        asked = asyncio.create_task(client.send("stages", "go"))
        for count in (1, 2, 3, 4):
            await scene.until(count)
            scene.go.set()
            scene.go = asyncio.Event()
        assert (await asked).content == "all paid"
        await scene.until(6)
        scene.go.set()
        completed = await _events(gateway, EventType.TOOL_CALL_COMPLETED, 6)

    assert len({event["tool_use_id"] for event in completed}) == 6


async def _events(gateway: InProcess, kind: EventType, count: int) -> list[Mapping[str, Any]]:
    """The data of all events of a type, once there are so many."""

    async def there() -> list[Mapping[str, Any]] | None:
        page = await gateway.house.store.read_forward(0, EventFilter(frozenset({kind})), 99)
        return [data_of(event) for event in page.events] if len(page.events) >= count else None

    return await eventually(there)

"""Calls to an agent whose workers are away: they wait for them, and hold up nobody else."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from gateway.v1 import execution_pb2, runtime_service_pb2

from gatewayctl.client import Call, Client, GatewayError
from gatewayd.agents import absence
from gatewayd.core.event import EventType
from gatewayd.core.filter import EventFilter
from tests.rigs.house import eventually, house
from tests.rigs.in_process import InProcess

CONFIG = """
runtime: {max_concurrent_executions: 2}
agents:
  far: {remote: true, timeout: 60s}
  near: {model: offline/echo}
entry_points:
  far: {agent: far, max_concurrent: 1}
"""


async def _waiting(gateway: InProcess, count: int) -> None:
    async def so_many() -> bool:
        return gateway.house.runtime.counts().get("running") == count

    await eventually(so_many)


async def test_they_take_no_place_from_others_and_are_answered_when_somebody_comes(tmp_path: Path) -> None:
    """More of them than may run at once; an entry point's own bound holds for them all the same."""
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client, AsyncExitStack() as stack:
        others = [await stack.enter_async_context(gateway.client(f"c{number}")) for number in range(5)]
        asked = [asyncio.create_task(other.send("far", "work")) for other in others]
        await _waiting(gateway, 5)
        for number in range(2):
            await client.trigger("far", f"t{number}")
        await _waiting(gateway, 6)

        assert (await asyncio.wait_for(client.send("near", "hello"), 60)).content == "hello"

        async def answer(call: object) -> str:
            return "done"

        async with gateway.client("worker") as worker:
            worker.serve_agent("far", answer)
            assert {(await asyncio.wait_for(one, 60)).content for one in asked} == {"done"}
            await _waiting_none(gateway)
        lanes = gateway.house.runtime.lanes
        assert (lanes.busy, lanes.free) == (0, 2)


async def _waiting_none(gateway: InProcess) -> None:
    async def none() -> bool:
        counts = gateway.house.runtime.counts()
        return not counts.get("running") and not counts.get("queued")

    await eventually(none)


async def test_there_is_a_bound_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(absence, "MAX_ABSENT", 1)
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client, gateway.client("d") as other:
        first = asyncio.create_task(client.send("far", "one"))
        await _waiting(gateway, 1)
        with pytest.raises(GatewayError) as refused:
            await asyncio.wait_for(other.send("far", "two"), 60)
        assert refused.value.reason == "UNAVAILABLE"
        first.cancel()


SOON = """
gateway: {reconnect_timeout: 300ms}
agents: {far: {remote: true, timeout: 60s}}
entry_points: {far: {agent: far}}
"""

CHAT = """
channels:
  shop: {platform: sim, server: "unix:@net", token: shop, routing: {default: far}}
"""


async def _asks(call: Call) -> str:
    if call.state is None:
        await call.wait_for_input("Who?", {"asked": call.text}, node_id="name")
        return ""
    return f"{call.state['asked']}: {call.inputs['name']}"


async def _state(client: Client, execution_id: str) -> execution_pb2.Execution:
    request = runtime_service_pb2.GetExecutionRequest(execution_id=execution_id)
    answer = await client.call("RuntimeService/GetExecution", request, runtime_service_pb2.GetExecutionResponse)
    return answer.execution


async def _in_state(client: Client, execution_id: str, state: int) -> execution_pb2.Execution:
    async def there() -> execution_pb2.Execution | None:
        found = await _state(client, execution_id)
        return found if found.state == state else None

    return await eventually(there)


async def _rested(gateway: InProcess, count: int) -> None:
    """Wait until so many pauses were told."""

    async def told() -> bool:
        page = await gateway.house.store.read_forward(0, EventFilter(frozenset({EventType.EXECUTION_PAUSED})), 99)
        return len(page.events) == count

    await eventually(told)


async def test_what_comes_back_and_finds_nobody_rests_again_with_what_it_has(tmp_path: Path) -> None:
    """Its checkpoint and its input are kept until somebody resumes it and a worker is there."""
    async with InProcess(tmp_path, SOON) as gateway, gateway.client("c") as client:
        async with gateway.client("worker") as worker, worker.serve_agent("far", _asks):
            asking = client.stream("far", "go")
            run = await asking.accepted()
            await _in_state(client, run, execution_pb2.EXECUTION_STATE_INPUT_REQUIRED)
        await client.inject_input(run, "Ann", node_id="name")
        await _rested(gateway, 1)
        kept = await _in_state(client, run, execution_pb2.EXECUTION_STATE_PAUSED)
        assert kept.reason == "no worker of far is there; resume it when one is"
        await client.resume(run)
        await _rested(gateway, 2)
        await _in_state(client, run, execution_pb2.EXECUTION_STATE_PAUSED)
        async with gateway.client("worker") as worker, worker.serve_agent("far", _asks):
            await client.resume(run)
            assert (await asyncio.wait_for(asking.wait(), 60)).content == "go: Ann"


async def test_a_chat_is_told_that_its_agent_is_away_and_gets_its_answer_later(tmp_path: Path) -> None:
    async with house(tmp_path, SOON + CHAT) as rig:
        async with rig.daemon.client("worker") as worker, worker.serve_agent("far", _asks):
            said = rig.network.say("bea", "bea", "hello", token="shop")
            assert await rig.hear("bea") == ["Who?"]
            run = (await rig.trace(said, "shop")).message.execution_id
            await _in_state(rig.client, run, execution_pb2.EXECUTION_STATE_INPUT_REQUIRED)
        rig.network.say("bea", "bea", "Bea", token="shop")
        assert "far is not available right now. What it has done is kept" in (await rig.hear("bea", 2))[1]
        await _in_state(rig.client, run, execution_pb2.EXECUTION_STATE_PAUSED)
        async with rig.daemon.client("worker") as worker, worker.serve_agent("far", _asks):
            await rig.client.resume(run)
            assert (await rig.hear("bea", 3))[2] == "hello: Bea"
            assert (await rig.story(said, "shop")).message.execution_id == run


async def test_what_begins_and_finds_nobody_fails_at_once_also_with_a_state_that_it_was_given(tmp_path: Path) -> None:
    async with InProcess(tmp_path, SOON) as gateway, gateway.client("c") as client:
        with pytest.raises(GatewayError, match="not available right now"):
            await client.send("far", "x")
        run = await client.trigger("far", "x", memory={"n": 1})
        await _in_state(client, run.execution_id, execution_pb2.EXECUTION_STATE_FAILED)

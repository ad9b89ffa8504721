"""Calls to an agent whose workers are away: they wait for them, and hold up nobody else."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from gatewayctl.client import GatewayError
from gatewayd.agents import absence
from tests.rigs.house import eventually
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
        places = gateway.house.runtime.lanes
        assert (places.busy, places.free) == (0, 2)


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

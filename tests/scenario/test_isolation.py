"""`isolation_level` through the daemon: what executions of an entry point share, and who writes over whom."""

import asyncio
from pathlib import Path

import pytest
from gateway.v1 import goal_pb2
from gateway.v1 import runtime_service_pb2 as pb

from gatewayctl.client import Client, Result
from tests.rigs.house import eventually
from tests.rigs.in_process import InProcess

SHARER = """
from gatewayd.agents.base import *
from gatewayd.core.errors import GatewayError
from gatewayd.core.state import StateScope

SCOPES = {scope.value: scope for scope in StateScope}

class Sharer:
    '''Each word is one step: get:KEY, set:SCOPE:KEY:VALUE, wait:KEY (until somebody has set it for everybody).'''

    def __init__(self, name, options): ...

    async def run(self, turn, ctx):
        for word in turn.text.split():
            verb, *rest = word.split(":")
            try:
                if verb == "get":
                    yield TextOutput(f"{await ctx.state.get(rest[0])} ")
                elif verb == "wait":
                    while await ctx.state.entry(rest[0], StateScope.GLOBAL) is None:
                        await ctx.clock.sleep(0.01)
                else:
                    await ctx.state.set(rest[1], rest[2], scope=SCOPES[rest[0]])
                    yield TextOutput("ok ")
            except GatewayError as error:
                yield TextOutput(f"{error.reason} ")
"""
CONFIG = """
agents: {sharer: {class: "sharer:Sharer"}}
entry_points:
  alone: {agent: sharer, isolation_level: isolated}
  shared: {agent: sharer}
  careful: {agent: sharer, isolation_level: synchronized}
"""


@pytest.fixture(autouse=True)
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "sharer.py").write_text(SHARER)
    monkeypatch.syspath_prepend(str(tmp_path))


async def run(client: Client, entry_point: str, *steps: str) -> list[str]:
    found: Result = await client.trigger_and_wait(entry_point, " ".join(steps), timeout=60)
    assert found.state == "succeeded", found.error
    return found.output.split()


async def test_an_entry_point_says_what_its_executions_share(tmp_path: Path) -> None:
    """Shared: its stream's and everybody's keys; isolated: its execution's alone (P6.1, P6.7)."""
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        assert await run(client, "shared", "set:global:a:1", "set:stream:b:2", "set:execution:c:3") == ["ok"] * 3
        assert await run(client, "shared", "get:a", "get:b", "get:c") == ["1", "2", "None"]
        assert await run(client, "alone", "get:a", "get:b", "set:execution:c:4", "get:c") == ["None", "None", "ok", "4"]
        assert await run(client, "alone", "set:global:a:9", "set:stream:b:9") == ["INVALID_ARGUMENT"] * 2
        assert await run(client, "shared", "get:a") == ["1"]


async def test_a_synchronized_execution_never_writes_over_what_it_has_not_read(tmp_path: Path) -> None:
    """Compare and set by itself: STATE_CONFLICT when another came in between; a shared one writes over it."""
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        await client.state.set("a", "first")
        for entry_point, wanted, kept in (
            ("careful", ["first", "STATE_CONFLICT", "theirs", "ok"], "again"),
            ("shared", ["first", "ok", "mine", "ok"], "again"),
        ):
            await client.state.set("a", "first")
            await client.state.delete("go")
            steps = ("get:a", "wait:go", "set:global:a:mine", "get:a", "set:global:a:again")
            running = asyncio.create_task(run(client, entry_point, *steps))

            async def has_read() -> bool:
                return any(one.text.startswith("first") for one in gateway.house.runtime._live.values())

            await eventually(has_read)
            await client.state.set("a", "theirs")
            await client.state.set("go", True)
            assert await running == wanted
            held = await client.state.get("a")
            assert held is not None
            assert held.value == kept


async def test_a_reload_changes_what_later_executions_share_and_one_of_a_removed_entry_point_shares_least(
    tmp_path: Path,
) -> None:
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        await client.state.set("a", "x")
        assert await run(client, "alone", "get:a") == ["None"]
        await gateway.reload(CONFIG.replace("isolated", "shared") + "runtime: {max_concurrent_executions: 1}\n")
        assert await run(client, "alone", "get:a") == ["x"]

        first = await client.trigger("shared", "wait:go")
        queued = asyncio.create_task(run(client, "shared", "get:a"))

        async def waits() -> bool:
            return gateway.house.runtime.lanes.queued == 1

        await eventually(waits)
        await gateway.reload("agents: {sharer: {class: 'sharer:Sharer'}}\n")
        await client.state.set("go", True)
        assert await queued == ["None"]
        assert first.execution_id


async def test_the_figures_of_the_runtime_tell_of_what_is_shared(tmp_path: Path) -> None:
    """Keys by scope with the bytes they take, goals, and what went over the bus (P6.2)."""
    goals = "goals: {g: {criteria: [{id: a, measure: executions}]}}\n"
    config = CONFIG.replace("shared: {agent: sharer}", "shared: {agent: sharer, goal: g}") + goals

    async with InProcess(tmp_path, config) as gateway, gateway.client("c") as client:

        async def figures(decisions: int) -> pb.GetRuntimeStatsResponse | None:
            answer = await client.call(
                "RuntimeService/GetRuntimeStats", pb.GetRuntimeStatsRequest(), pb.GetRuntimeStatsResponse
            )
            return answer if answer.goals[0].decisions == decisions else None

        before = await eventually(lambda: figures(0))
        await run(client, "shared", "set:global:a:1", "set:stream:b:2", "set:stream:c:3", "set:execution:d:4")
        after = await eventually(lambda: figures(1))

    assert (before.shared_state.keys, before.shared_state.bytes) == (0, 0)
    assert dict(after.shared_state.keys_by_scope) == {"global": 1, "stream": 2, "execution": 1}
    assert (after.shared_state.keys, after.shared_state.max_bytes) == (4, 64 << 20)
    assert 0 < after.shared_state.bytes < 10_000
    assert (after.goals[0].id, after.goals[0].progress) == ("g", 1.0)
    assert after.goals[0].recommendation == goal_pb2.GOAL_RECOMMENDATION_COMPLETE
    assert after.bus.published >= before.bus.published + 7
    assert after.bus.subscriptions >= 1

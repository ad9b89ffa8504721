"""Erasing a person reaches what entry points were given of their words, and what came of that."""

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from gateway.v1 import session_service_pb2 as pb

from gatewayctl.client import Client
from tests.rigs.house import eventually
from tests.rigs.in_process import InProcess

AGENTS = """
from gatewayd.agents.base import *

class Noting:
    '''Says what it was given, and reports it.'''

    def __init__(self, name, options): ...

    async def run(self, turn, ctx):
        await ctx.state.set("heard", turn.text)
        if ctx.goal is not None:
            await ctx.goal.outcome("heard", True, turn.text)
        yield TextOutput(turn.text)
"""
CONFIG = """
agents: {echo: {model: offline/echo}, noting: {class: "noting:Noting"}}
channels: {desk: {platform: local, routing: {default: echo}}}
goals: {hearing: {criteria: [{id: heard}]}}
entry_points:
  desk: {agent: noting, goal: hearing, trigger: message, trigger_config: {channel: desk}}
  after: {agent: noting, trigger: event, trigger_config: {event_types: [execution_completed], filter_stream: desk}}
"""


@pytest.fixture(autouse=True)
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "noting.py").write_text(AGENTS)
    monkeypatch.syspath_prepend(str(tmp_path))


async def session_of(gateway: InProcess, execution_id: str) -> str:
    execution = await gateway.house.store.get_execution(execution_id)
    assert execution is not None
    return execution.session_id


async def erase(client: Client, session_id: str) -> pb.EraseSessionResponse:
    request = pb.EraseSessionRequest(session_id=session_id)
    return await client.call("SessionService/EraseSession", request, pb.EraseSessionResponse)


async def test_no_word_is_left_in_inputs_results_events_state_and_evidence(tmp_path: Path) -> None:
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("eve") as eve, gateway.client("op") as op:
        mine = await eve.send("", "the canary of eve", channel="desk")
        async with gateway.client("bob") as bob:
            theirs = await bob.send("", "the sparrow of bob", channel="desk")

        async def settled() -> bool | None:
            counts = gateway.house.runtime.per_entry_point()
            done = [counts.get(name, {}).get("succeeded", 0) for name in ("desk", "after")]
            return True if min(done) >= 2 and not gateway.house.runtime.counts().get("running") else None

        await eventually(settled)
        session_id, other = [await session_of(gateway, one.execution_id) for one in (mine, theirs)]
        assert session_id != other
        before = "\n".join((await op.goal("hearing")).criteria["heard"].evidence)
        assert "canary" in before
        assert "sparrow" in before

        erased = await erase(op, session_id)

        assert (erased.sessions, erased.executions) == (1, 3)
        after = "\n".join((await op.goal("hearing")).criteria["heard"].evidence)
        assert "canary" not in after
        assert "sparrow" in after
        assert (await op.goal("hearing")).criteria["heard"].outcomes == 2
    with closing(sqlite3.connect(tmp_path / "state" / "gatewayd.db")) as file:
        dump = "\n".join(file.iterdump())
        wires = b"\n".join(row[0] for row in file.execute("SELECT wire FROM events"))
    assert "canary" not in dump
    assert b"canary" not in wires
    assert "sparrow" in dump
    assert b"sparrow" in wires

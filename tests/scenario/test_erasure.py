"""Erasing a person reaches what entry points were given of their words, and what came of that."""

import os
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

import pytest
from gateway.v1 import session_service_pb2 as pb

from gatewayctl.client import Client, GatewayError
from tests.rigs.entry_points import execution, executions, state_name
from tests.rigs.house import House, eventually
from tests.rigs.in_process import InProcess
from tests.rigs.process import Daemon

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
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=os.pathsep)


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


@pytest.mark.parametrize("commit", [2, 3, 5, 6])
async def test_killed_at_any_commit_an_erasure_has_not_begun_or_is_finished_at_the_next_start(
    tmp_path: Path, commit: int
) -> None:
    """Nothing of a conversation may be left behind that its own words led to."""
    daemon, armed = Daemon(tmp_path, CONFIG), tmp_path / "armed"
    crash = ["--crash-at", f"store.after_commit:{commit}", "--armed-by", str(armed), "--"]
    await daemon.start(command=[sys.executable, "-m", "gatewayd.testing.crashing", *crash])
    async with daemon.client() as eve:
        mine = await eve.send("", "the canary of eve", channel="desk")
        rig = House(daemon, eve, {})
        for name in ("desk", "after"):

            async def ended(name: str = name) -> bool:
                return [state_name(one) for one in await executions(rig, name)] == ["succeeded"]

            await eventually(ended)
        session_id = (await execution(rig, mine.execution_id)).session_id
        armed.touch()
        with pytest.raises(GatewayError):
            await erase(eve, session_id)
    assert await daemon.ended() == -9

    await daemon.start()
    assert await daemon.stop() == 0

    with closing(sqlite3.connect(tmp_path / "state" / "gatewayd.db")) as file:
        begun = not file.execute("SELECT 1 FROM history").fetchall()
        dump = "\n".join(file.iterdump())
        wires = b"\n".join(row[0] for row in file.execute("SELECT wire FROM events"))
    assert begun or commit == 2  # the end of the session is the first one
    assert ("canary" in dump) is not begun
    assert (b"canary" in wires) is not begun

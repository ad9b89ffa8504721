"""Goals by those who report of them: workers of their calls, many at once, and what each of them may see."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from gateway.v1 import goal_pb2

from gatewayctl.client import Call, Client, Goal, InvalidArgument, NotFound, PermissionDenied
from tests.rigs.entry_points import entry_points, reload
from tests.rigs.goals import GOALS, ask, goal_when
from tests.rigs.house import House, house

TOKENS = {name: f"gw_{name}_" + "0" * 43 for name in ("robot", "other", "worker", "reader")}
SCOPES = {
    "robot": '"runtime:sup*"',
    "other": '"runtime:lonely"',
    "worker": '"agents.register:helper"',
    "reader": "admin.read",
}
HELD = """
agents:
  helper: {remote: true}
  echo: {model: offline/echo}
entry_points:
  support: {agent: helper, goal: helpful}
  echoing: {agent: echo, goal: helpful}
  lonely: {agent: echo}
clients:
"""


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[House]:
    clients = "".join(
        f"  {name}: {{token_sha256: {hashlib.sha256(token.encode()).hexdigest()}, scopes: [{SCOPES[name]}]}}\n"
        for name, token in TOKENS.items()
    )
    async with house(tmp_path, HELD + clients + GOALS) as rig:
        yield rig


async def test_a_worker_reports_of_the_calls_that_it_has(rig: House) -> None:
    """Without a scope for the entry point, and of no other execution; the owner of the evidence reads it."""
    refused: list[str] = []

    def client(name: str) -> Client:
        return Client(f"127.0.0.1:{rig.daemon.port}", token=TOKENS[name], client_id=name, connect_timeout=60)

    (another,) = await ask(rig.client, "hello", entry_point="echoing")
    async with client("worker") as worker, client("robot") as robot, client("other") as other, client("reader") as all_:

        async def answer(call: Call) -> str:
            await worker.report_outcome(call.execution_id, "answered", 0.9, "a whole answer")
            try:
                await worker.report_outcome(another, "answered", True)
            except NotFound as error:
                refused.append(error.reason)
            return "here it is"

        async with worker.serve_agent("helper", answer):
            done = await robot.trigger_and_wait("support", "help me", timeout=60)
            assert (done.state, refused) == ("succeeded", ["NOT_FOUND"])
        with pytest.raises(NotFound):  # the call has ended
            await worker.report_outcome(done.execution_id, "answered", True)

        mine = await robot.goal("helpful")
        assert mine.criteria["answered"].evidence == ("a whole answer",)
        assert (await all_.goal("helpful")).criteria["answered"].evidence == ()
        assert [one.id for one in await robot.goals()] == ["helpful"]
        request = goal_pb2.GetGoalProgressRequest(goal_id="helpful")
        for reader, named, more in ((robot, ["support"], 1), (all_, ["echoing", "support"], 0)):
            told = await reader.call("RuntimeService/GetGoalProgress", request, goal_pb2.GetGoalProgressResponse)
            metrics = told.goal.metrics
            assert (sorted(metrics.entry_points), metrics.other_entry_points) == (named, more)
        rig.daemon.environ |= {"GATEWAYD_ADDRESS": f"127.0.0.1:{rig.daemon.port}", "GATEWAYD_TOKEN": TOKENS["robot"]}
        code, out, _ = await rig.daemon.ctl("goals", "helpful")
        assert (code, "support and 1 more that you may not start" in out, "echoing" in out) == (0, True, False)
        assert await other.goals() == []
        with pytest.raises(NotFound, match="no goal"):
            await other.goal("helpful")
        with pytest.raises(NotFound, match="no execution"):
            await other.report_outcome(done.execution_id, "answered", False)
        with pytest.raises(PermissionDenied):
            await worker.goals()
        late: Goal = await robot.report_outcome(done.execution_id, "answered", 0.2, "not so good after all")
        assert late.criteria["answered"].progress == 0.2
        with pytest.raises(InvalidArgument, match="no criterion 'helped'"):
            await robot.report_outcome(done.execution_id, "helped", True)
        (lonely,) = await ask(other, "alone", entry_point="lonely")
        with pytest.raises(NotFound, match="has no goal"):
            await other.report_outcome(lonely, "answered", True)


async def test_many_reports_at_once_all_count(rig: House) -> None:
    ids = await ask(rig.client, *["hello"] * 3, entry_point="echoing")

    await asyncio.gather(
        *(
            rig.client.report_outcome(ids[number % 3], "answered", number % 4 == 0, item=str(number))
            for number in range(40)
        )
    )

    found = await goal_when(rig.client, 3)
    assert (found.criteria[0].outcomes, found.criteria[0].good) == (8, 10)
    assert (found.metrics.decisions, found.metrics.successful_outcomes) == (43, 13)


async def test_gatewayctl_shows_goals_and_who_has_them(rig: House) -> None:
    (done,) = await ask(rig.client, "hello", entry_point="echoing")
    await rig.client.report_outcome(done, "answered", True, "it\x1b[2J helped")
    await rig.client.report_violation(done, "no-secrets", "the password was hello")
    await goal_when(rig.client, 1)

    listed = await rig.daemon.ctl("goals")
    shown = await rig.daemon.ctl("goals", "helpful")
    unknown = await rig.daemon.ctl("goals", "nothing")
    entries = await rig.daemon.ctl("entry-points")
    stats = await rig.daemon.ctl("entry-points", "stats")

    assert listed[0] == shown[0] == entries[0] == stats[0] == 0
    assert "100%" in listed[1]
    assert "adjust" in listed[1]
    assert "echoing" in shown[1]
    assert "\\x1b[2J helped" in shown[1]
    assert "the password was hello" in shown[1]
    assert unknown[0] == 4
    assert {name: one.goal for name, one in (await entry_points(rig)).items()} == {
        "support": "helpful",
        "echoing": "helpful",
        "lonely": "",
    }
    assert "helpful" in entries[1]
    assert "goal helpful" in stats[1]
    await reload(rig, "agents: {echo: {model: offline/echo}}\n")
    assert "no goals" in (await rig.daemon.ctl("goals"))[1]

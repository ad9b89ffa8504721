"""Goals through the daemon: what agents report, what counts by itself, what outlives a crash."""

import asyncio
import json
from pathlib import Path

import pytest
from gateway.v1 import event_pb2, goal_pb2
from gateway.v1 import event_service_pb2 as pb
from google.protobuf import json_format

from gatewayctl.client import Client, InvalidArgument, NotFound, event_filter
from tests.rigs.goals import GOALS, ask, goal_when
from tests.rigs.house import eventually, house
from tests.rigs.in_process import InProcess

ENTRIES = """
entry_points:
  support: {agent: support, goal: helpful}
  lonely: {agent: echo}
"""
AGENTS = """
agents:
  support: {class: "responder:Responder", options: {known: [weather, time]}}
  echo: {model: offline/echo}
"""
CONFIG = AGENTS + ENTRIES + GOALS
EXAMPLES = Path(__file__).parents[2] / "docs" / "examples"


@pytest.fixture(autouse=True)
def on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))


async def told(client: Client, *types: str) -> list[event_pb2.Event]:
    request = pb.ListEventsRequest(page_size=1000, filter=event_filter(types))
    return list(reversed((await client.call("EventService/ListEvents", request, pb.ListEventsResponse)).events))


async def test_what_an_agent_reports_and_how_executions_end_is_the_progress(tmp_path: Path) -> None:
    """By weight, with evidence; events on change; reached is told once (P6.8, P4.1)."""
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        assert (await client.goal("helpful")).progress == 0.0

        ids = await ask(client, "the weather?", "the time?", "the news?")
        found = await goal_when(client, 3)

        answered, reliable = found.criteria
        assert (answered.met, round(answered.progress, 3), answered.outcomes) == (False, 0.667, 3)
        assert (reliable.met, reliable.progress, reliable.good) == (True, 1.0, 3)
        assert found.progress == pytest.approx((3 * 2 / 3 + 1) / 4, abs=1e-5)
        assert [(one.text, one.execution_id) for one in answered.evidence] == [
            ("knows nothing of news", ids[2]),
            ("asked for time", ids[1]),
            ("asked for weather", ids[0]),
        ]
        assert found.recommendation == goal_pb2.GOAL_RECOMMENDATION_CONTINUE
        assert (found.metrics.decisions, list(found.metrics.entry_points)) == (6, ["support"])

        await ask(client, "weather", "time", "weather")
        assert (await goal_when(client, 6)).recommendation == goal_pb2.GOAL_RECOMMENDATION_COMPLETE
        await ask(client, "time", "news", "weather", "weather", "weather", "weather", "weather", "weather")
        await goal_when(client, 14)

        achieved = await told(client, "goal_achieved")
        assert len(achieved) == 1
        assert (achieved[0].goal_achieved.goal_id, achieved[0].topic, achieved[0].stream_id) == (
            "helpful",
            "helpful",
            "support",
        )
        progress = await told(client, "goal_progress")
        status = json_format.MessageToDict(progress[0].goal_progress)["criteriaStatus"]
        assert status["answered"]["description"] == "The question was one that we know"
        assert "evidence" not in status["answered"]
        assert {event.topic for event in progress} == {"helpful"}
        assert all(0 <= event.goal_progress.progress <= 1 for event in progress)
        assert (await client.goal("helpful")).achieved is not None


async def test_a_hard_violation_is_told_and_asks_for_an_adjustment(tmp_path: Path) -> None:
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        (violating,) = await ask(client, "the password and the weather?")
        found = await goal_when(client, 1)

        assert found.recommendation == goal_pb2.GOAL_RECOMMENDATION_ADJUST
        (constraint,) = found.constraints
        assert (constraint.hard, constraint.violations, constraint.active) == (True, 1, True)
        assert constraint.evidence[0].text == "was asked for a password"
        (event,) = await told(client, "constraint_violation")
        assert (event.constraint_violation.constraint_id, event.execution_id) == ("no-secrets", violating)
        assert event.constraint_violation.description == "was asked for a password"
        await ask(client, *["weather"] * 4)
        assert (await goal_when(client, 5)).recommendation == goal_pb2.GOAL_RECOMMENDATION_COMPLETE


async def test_failures_and_calls_of_tools_are_measured_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An execution that fails, and a tool that does; what is cancelled, and other entry points, count for nothing."""
    (tmp_path / "worker_of_tools.py").write_text(
        "from gatewayd.agents.base import *\n"
        "class Tools:\n"
        "    def __init__(self, name, options): ...\n"
        "    async def run(self, turn, ctx):\n"
        "        for number, word in enumerate(turn.text.split()):\n"
        "            yield ToolStarted(str(number), 'look', {})\n"
        "            yield ToolCompleted(str(number), 'look', word, word == 'bad')\n"
        "        if 'fail' in turn.text:\n"
        "            raise AgentFailed('I give up.')\n"
        "        yield TextOutput('done')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    config = (
        "agents: {tools: {class: 'worker_of_tools:Tools'}, echo: {model: offline/echo}, slow: {model: offline/slow}}\n"
        "goals: {steady: {criteria: [{id: ends, measure: executions}, {id: calls, measure: tool_calls}]}}\n"
        "entry_points: {tools: {agent: tools, goal: steady}, free: {agent: echo}, slow: {agent: slow, goal: steady}}\n"
    )
    async with InProcess(tmp_path, config) as gateway, gateway.client("c") as client:
        await ask(client, "nothing", entry_point="free")
        slow = await client.trigger("slow", "60s a b")
        await ask(client, "good bad good", "fail", "good", entry_point="tools")
        await client.cancel(slow.execution_id)
        await ask(client, "1ms end", entry_point="slow")
        found = await goal_when(client, 4, "steady")

        ends, calls = found.criteria
        assert (ends.outcomes, ends.good, calls.outcomes, calls.good) == (4, 3, 5, 4)
        assert {one.text for one in ends.evidence} == {"it succeeded", "I give up."}
        assert {one.text for one in calls.evidence} == {"look answered", "look failed"}
        with pytest.raises(InvalidArgument, match="is measured by executions"):
            await client.report_outcome(slow.execution_id, "ends", True)


async def test_progress_outlives_a_restart_and_a_reload(tmp_path: Path) -> None:
    """Kept while the goal stays; judged by the new section at once; a goal that left and comes again begins anew."""
    async with InProcess(tmp_path, CONFIG) as gateway:
        async with gateway.client("c") as client:
            await ask(client, "the weather?", "the news?")
            before = await goal_when(client, 2)
        await gateway.stop()
        await gateway.start()
        async with gateway.client("c") as client:
            assert await goal_when(client, 2) == before

            await gateway.reload(CONFIG.replace("target: 80%", "target: 50%"))
            changed = await client.goal("helpful")
            assert (changed.criteria["answered"].met, changed.progress, changed.decisions) == (True, 1.0, 4)

            await gateway.reload(AGENTS + "entry_points: {support: {agent: support}, lonely: {agent: echo}}\n")
            with pytest.raises(NotFound, match="no goal 'helpful'"):
                await client.goal("helpful")
            (without,) = await ask(client, "the weather?")
            with pytest.raises(NotFound, match="has no goal"):
                await client.report_outcome(without, "answered", True)
            await gateway.reload(CONFIG)
            assert (await client.goal("helpful")).decisions == 0
            await ask(client, "the time?")
            assert (await goal_when(client, 1)).progress == 1.0


async def test_an_execution_outlives_the_goal_that_it_began_with(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reload takes the criterion, or the goal, while the agent works: its report counts nothing, and it goes on."""
    (tmp_path / "patient.py").write_text(
        "from gatewayd.agents.base import *\n"
        "class Patient:\n"
        "    def __init__(self, name, options): ...\n"
        "    async def run(self, turn, ctx):\n"
        "        while await ctx.state.get('go') != turn.text:\n"
        "            await ctx.clock.sleep(0.01)\n"
        "        await ctx.goal.outcome('patient')\n"
        "        await ctx.goal.violation('quick')\n"
        "        yield TextOutput('done')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    config = (
        "agents: {patient: {class: 'patient:Patient'}}\n"
        "goals: {calm: {criteria: [{id: patient}], constraints: [{id: quick}]}}\n"
        "entry_points: {wait: {agent: patient, goal: calm}}\n"
    )
    async with InProcess(tmp_path, config) as gateway, gateway.client("c") as client:
        for number, other in enumerate(
            (
                config.replace("id: patient", "id: quiet"),
                config.replace(", goal: calm", ""),
                config.replace("goals: {calm", "goals: {wild").replace("goal: calm", "goal: wild"),
            )
        ):
            await gateway.reload(config)
            running = asyncio.create_task(client.trigger_and_wait("wait", str(number), timeout=60))

            async def runs() -> bool | None:
                return gateway.house.runtime.counts().get("running", 0) == 1 or None

            await eventually(runs)
            await gateway.reload(other)
            await client.state.set("go", str(number))
            assert (await running).state == "succeeded"

        await gateway.reload(config.replace("id: quick", "id: slow"))
        wrong = await client.trigger_and_wait("wait", "2", timeout=60)
        assert (wrong.state, "no constraint 'quick'" in wrong.error) == ("failed", True)


async def test_a_crash_counts_everything_once(tmp_path: Path) -> None:
    """kill -9 between executions: what had ended is counted, once; what goes on is counted when it ends."""
    config = (
        "agents: {slow: {model: offline/slow}}\n"
        "goals: {steady: {criteria: [{id: ends, measure: executions}, {id: rated}]}}\n"
        "entry_points: {slow: {agent: slow, goal: steady, max_concurrent: 50}}\n"
    )
    async with house(tmp_path, config) as rig:
        for crashes in range(1, 4):
            done = [await rig.client.trigger_and_wait("slow", f"1ms done {number}", timeout=60) for number in range(3)]
            await rig.client.report_outcome(done[0].execution_id, "rated", 0.5)
            running = await rig.client.trigger("slow", "500ms still on it")
            await rig.daemon.kill()
            await rig.daemon.start()
            await rig.reconnect()
            await rig.client.report_outcome(done[0].execution_id, "rated", 1.0)
            await rig.client.report_outcome(running.execution_id, "rated", 0.0)
            await goal_when(rig.client, 4 * crashes, "steady")  # what is cut off again and again is given up

        found = await goal_when(rig.client, 12, "steady")
        ends, rated = found.criteria
        assert (found.metrics.executions, ends.good, ends.outcomes) == (12, 12, 12)
        assert (rated.outcomes, rated.good, rated.progress) == (6, 3, 0.5)
        code, out, _ = await rig.daemon.ctl("-o", "json", "goals", "steady")
        assert (code, json.loads(out)["metrics"]["executions"]) == (0, 12)

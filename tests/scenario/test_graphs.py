"""Graphs in the real daemon: the way that conditions choose, retries, waiting for people, pauses, reloads, kill -9."""

from pathlib import Path

import pytest
from gateway.v1.execution_pb2 import GraphQuality

from gatewayctl.client import ExecutionFailed, GatewayError, NotFound
from tests.rigs.entry_points import entry_points, execution, execution_is, reload, state_name
from tests.rigs.graphs import Diary, give, pause, resume
from tests.rigs.house import House, eventually, house

AGENTS = "provider: {retries: 0}\nagents:\n  echo: {model: offline/echo}\n  slow: {model: offline/slow}\n"


@pytest.fixture
def diary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Diary:
    return Diary(tmp_path, monkeypatch)


async def labels(rig: House, execution_id: str, *types: str) -> list[tuple[str, str]]:
    """Durable events of the execution in their order: types and nodes."""
    events = await rig.events(*types, execution_id=execution_id)
    return [(event.WhichOneof("data") or "", event.node_id) for event in events]


ROUTER = (
    AGENTS
    + """  fails: {model: offline/fail}
graphs:
  desk:
    description: Sorts what it is given
    timeout: 1m
    nodes:
      sort: {kind: router}
      time: {kind: tool, tool: current_time, arguments: {timezone: "{{task.zone}}"}}
      say: {kind: agent, agent: echo, prompt: "{{task.text}}!"}
      broken: {agent: fails}
      sorry: {agent: echo, prompt: "sorry for {{task.kind}}: {{error}}"}
    edges:
      - {from: sort, to: time, when: task.kind == "time"}
      - {from: sort, to: broken, when: 'task.kind in ["fail", "worse"]'}
      - {from: sort, to: say}
      - {from: broken, to: sorry, when: failure and task.kind == "fail"}
entry_points:
  desk: {graph: desk}
  only: {graph: desk, entry_node: say}
  bounded: {graph: bounded}
"""
).replace(
    "entry_points:\n",
    "  bounded: {timeout: 300ms, nodes: {wait: {agent: slow}}}\nentry_points:\n",
)


async def test_the_way_is_chosen_by_what_is_known_and_the_last_node_answers(tmp_path: Path) -> None:
    async with house(tmp_path, ROUTER) as rig:
        zone = await rig.client.trigger_and_wait("desk", {"kind": "time", "zone": "Europe/Berlin"})
        said = await rig.client.trigger_and_wait("desk", {"text": "hello"})
        sorry = await rig.client.trigger_and_wait("desk", {"kind": "fail"})
        worse = await rig.client.trigger_and_wait("desk", {"kind": "worse"})
        only = await rig.client.trigger_and_wait("only", {"text": "straight", "kind": "fail"})
        bounded = await rig.client.trigger_and_wait("bounded", "30s too long")

        assert zone.output.endswith("(Europe/Berlin)")
        assert said.output == "hello!"
        assert sorry.output.startswith("sorry for fail: The model is not available")
        assert (worse.state, only.output) == ("failed", "straight!")
        assert (bounded.state, bounded.output) == ("failed", "")
        assert (await execution(rig, zone.execution_id)).agent == "graph:desk"
        assert (await execution(rig, only.execution_id)).agent == "graph:desk:say"
        assert await labels(rig, zone.execution_id) == [
            ("execution_queued", ""),
            ("execution_started", ""),
            ("node_loop_started", "sort"),
            ("node_loop_iteration", "sort"),
            ("node_loop_completed", "sort"),
            ("node_loop_started", "time"),
            ("node_loop_iteration", "time"),
            ("tool_call_started", "time"),
            ("tool_call_completed", "time"),
            ("node_loop_completed", "time"),
            ("execution_completed", ""),
        ]
        listed = await entry_points(rig)
        assert [(one.agent, one.graph, one.entry_node, one.description) for one in listed.values()] == [
            ("", "bounded", "wait", ""),
            ("", "desk", "sort", "Sorts what it is given"),
            ("", "desk", "say", "Sorts what it is given"),
        ]
        code, out, _ = await rig.daemon.ctl("entry-points")
        assert code == 0
        assert "graph desk at say" in out


async def test_an_agent_can_be_a_graph_with_a_timeout_of_its_own(tmp_path: Path) -> None:
    """In a chat as anywhere, also as the agent of another graph's node."""
    config = AGENTS + (
        "  shouts: {graph: loud, greeting: Hey, timeout: 500ms}\n  outer: {graph: outer}\n"
        "graphs:\n  loud:\n    nodes: {a: {agent: slow}, b: {agent: echo, prompt: '{{output}}!'}}\n"
        "    edges: [{from: a, to: b}]\n"
        "  outer: {nodes: {in: {agent: shouts, prompt: '0s again {{task}}'}}}\n"
    )
    async with house(tmp_path, config) as rig:
        reply = await rig.client.send("shouts", "0s hello")
        nested = await rig.client.send("outer", "hello")

        assert (reply.content, nested.content) == ("hello!", "again hello!")
        assert await labels(rig, nested.execution_id, "node_loop_started") == [
            ("node_loop_started", "in"),
            ("node_loop_started", "in/a"),
            ("node_loop_started", "in/b"),
        ]
        with pytest.raises(ExecutionFailed, match="did not finish in time"):
            await rig.client.send("shouts", "30s never")
        code, out, _ = await rig.daemon.ctl("agents")
        assert code == 0
        assert any(line.split()[:1] == ["shouts"] and "graph" in line for line in out.splitlines()), out


RETRIES = (
    AGENTS
    + """graphs:
  stubborn:
    entry_node: try
    nodes:
      try: {function: "steps:twice", retries: RETRIES}
      after: {function: "steps:step", arguments: {n: 1}}
    edges: [{from: try, to: after}]
entry_points: {go: {graph: stubborn}}
"""
)


async def test_a_node_is_tried_as_often_as_the_file_says_with_one_key(tmp_path: Path, diary: Diary) -> None:
    async with house(tmp_path, RETRIES.replace("RETRIES", "1")) as rig:
        failed = await rig.client.trigger_and_wait("go", "x")
        assert (failed.state, failed.error) == ("failed", "try 2 failed")

        await reload(rig, RETRIES.replace("RETRIES", "2"))
        good = await rig.client.trigger_and_wait("go", "x")

        assert good.output == '{"node": "after", "was": "third time"}'
        tried = [one["key"] for one in diary.entries("tried") if one["execution"] == good.execution_id]
        assert len(tried) == 3
        assert len(set(tried)) == 1
        ended = [(await execution(rig, one.execution_id)).graph for one in (failed, good)]
        assert [(list(one.path), one.steps, one.retries) for one in ended] == [
            (["try"], 1, 1),
            (["try", "after"], 2, 2),
        ]
        assert [GraphQuality.Name(one.quality) for one in ended] == ["GRAPH_QUALITY_FAILED", "GRAPH_QUALITY_DEGRADED"]
        assert dict(ended[0].failures) == {"try": 1}
        assert ended[1].latency.ToMilliseconds() > 500
        code, out, _ = await rig.daemon.ctl("executions", "show", good.execution_id)
        assert code == 0
        assert any(line.split() == ["path", "try", "after"] for line in out.splitlines()), out


ASKING = (
    AGENTS
    + """graphs:
  chat:
    entry_node: ask
    nodes:
      ask: {agent: echo, client_facing: true, prompt: "Who are you? ({{visits}})", max_iterations: 2}
      note: {function: "steps:step"}
      approve: {kind: router, input: true, prompt: "May {{memory.ask}} come in?"}
      in: {agent: echo, prompt: "{{memory.ask}} is in: {{memory.approve}}"}
    edges:
      - {from: ask, to: ask, when: output == "again"}
      - {from: ask, to: note}
      - {from: note, to: approve}
      - {from: approve, to: in, when: output contains "yes"}
entry_points: {door: {graph: chat}}
"""
)


async def test_a_node_waits_for_people_over_a_restart_and_each_execution_gets_its_own_input(
    tmp_path: Path, diary: Diary
) -> None:
    """Two executions at the same node; input goes to the one that is named, and nothing is done twice."""
    async with house(tmp_path, ASKING) as rig:
        first, second = [(await rig.client.trigger("door", f"knock {n}")).execution_id for n in range(2)]
        for one in (first, second):
            await execution_is(rig, one, "input_required")
        (asked,) = await rig.events("client_input_requested", execution_id=first)
        assert (asked.node_id, asked.client_input_requested.prompt) == ("ask", "Who are you? (1)")
        assert await rig.daemon.stop() == 0
        await rig.daemon.start()
        await rig.reconnect()

        with pytest.raises(GatewayError, match="waits for no input: 'ask' does") as refused:
            await give(rig, first, "approve", "yes")
        assert refused.value.reason == "NOT_WAITING"
        with pytest.raises(NotFound):
            await give(rig, "nobody", "ask", "yes")
        await give(rig, second, "ask", "Bob")
        await execution_is(rig, second, "input_required")
        await give(rig, first, "ask", "again")
        await execution_is(rig, first, "input_required")
        await give(rig, first, "ask", "Ada")
        (blocked,) = await rig.events("node_input_blocked", execution_id=second)
        assert (blocked.node_id, blocked.node_input_blocked.prompt) == ("approve", "May Bob come in?")

        async def is_blocked() -> bool:
            return bool(await rig.events("node_input_blocked", execution_id=first))

        await eventually(is_blocked)
        await execution_is(rig, first, "input_required")
        await give(rig, first, "approve", "yes please")
        await give(rig, second, "approve", "no")

        assert (await execution_is(rig, first, "succeeded")).output == "Ada is in: yes please"
        assert (await execution_is(rig, second, "succeeded")).output == "no"
        assert sorted(diary.nodes()) == ["note", "note"]


GATES = (
    AGENTS
    + """graphs:
  way:
    entry_node: one
    nodes:
      one: {function: "steps:step"}
      two: {function: "steps:gate"}
      three: {function: "steps:step"}
      four: {function: "steps:gate"}
      five: {function: "steps:step"}
    edges: [{from: one, to: two}, {from: two, to: three}, {from: three, to: four}, {from: four, to: five}]
entry_points: {go: {graph: way}}
"""
)


async def test_a_pause_is_between_two_nodes_and_outlives_a_restart(tmp_path: Path, diary: Diary) -> None:
    async with house(tmp_path, GATES) as rig:
        started = await rig.client.trigger("go", "x")
        await diary.until("two", "begun")
        await pause(rig, started.execution_id)
        diary.open("two")
        await execution_is(rig, started.execution_id, "paused")
        assert diary.nodes() == ["one", "two"]
        await rig.daemon.kill()
        await rig.daemon.start()
        await rig.reconnect()
        assert state_name(await execution(rig, started.execution_id)) == "paused"
        diary.open("four")

        await resume(rig, started.execution_id)

        done = await execution_is(rig, started.execution_id, "succeeded")
        assert done.output == '{"node": "five", "was": "four passed"}'
        assert diary.nodes() == ["one", "two", "three", "four", "five"]


async def test_killed_between_two_nodes_each_node_is_done_once(tmp_path: Path, diary: Diary) -> None:
    """kill -9 in the second and in the fourth node: what was complete stays done, the cut-off node begins again."""
    async with house(tmp_path, GATES) as rig:
        started = await rig.client.trigger("go", "x")
        for node in ("two", "four"):
            await diary.until(node, "begun")
            await rig.daemon.kill()
            diary.open(node)
            await rig.daemon.start()
            await rig.reconnect()
        done = await execution_is(rig, started.execution_id, "succeeded")

        assert done.output == '{"node": "five", "was": "four passed"}'
        assert diary.nodes() == ["one", "two", "three", "four", "five"]
        begun = [one["key"] for one in diary.entries("begun") if one["node"] == "two"]
        assert len(begun) == 2
        assert len(set(begun)) == 1, "the node that was cut off is told by its key that it is the same visit"
        assert len({one["key"] for one in diary.entries("done")}) == 5


async def test_what_runs_ends_on_its_graph_and_what_goes_on_later_takes_the_one_that_is_there(
    tmp_path: Path, diary: Diary
) -> None:
    """A reload takes the graph away: the running execution ends; a paused one comes back to what is there then."""
    async with house(tmp_path, GATES) as rig:
        runs, rests = [(await rig.client.trigger("go", "x")).execution_id for _ in range(2)]
        await diary.until("two", "begun")
        await pause(rig, rests)
        diary.open("two")
        await execution_is(rig, rests, "paused")
        await diary.until("four", "begun")
        await reload(rig, AGENTS)
        diary.open("four")
        assert (await execution_is(rig, runs, "succeeded")).output == '{"node": "five", "was": "four passed"}'

        changed = GATES.replace("{from: two, to: three}", "{from: two, to: five}")
        changed = changed.replace(", {from: four, to: five}", "").replace(", {from: three, to: four}", "")
        for node in ("three", "four"):
            changed = "\n".join(line for line in changed.splitlines() if f"  {node}: " not in line)
        await reload(rig, changed)
        other = (await rig.client.trigger("go", "x")).execution_id
        assert (await execution_is(rig, other, "succeeded")).output == '{"node": "five", "was": "two passed"}'
        await resume(rig, rests)
        assert (await execution_is(rig, rests, "succeeded")).output == '{"node": "five", "was": "two passed"}'


async def test_a_graph_that_lost_the_node_of_a_paused_execution_says_so(tmp_path: Path, diary: Diary) -> None:
    async with house(tmp_path, GATES) as rig:
        gone, lost = [(await rig.client.trigger("go", "x")).execution_id for _ in range(2)]
        await diary.until("two", "begun")
        for one in (gone, lost):
            await pause(rig, one)
        diary.open("two")
        for one in (gone, lost):
            await execution_is(rig, one, "paused")

        await reload(rig, AGENTS + 'graphs: {way: {nodes: {other: {function: "steps:step"}}}}\n')
        await resume(rig, lost)
        assert (await execution_is(rig, lost, "failed")).error.startswith("The graph way has no node two any more")
        await reload(rig, AGENTS)
        await resume(rig, gone)
        assert (await execution_is(rig, gone, "failed")).error == "there is no graph 'way'"


async def test_a_session_state_says_at_which_node_it_begins_and_what_is_known(tmp_path: Path, diary: Diary) -> None:
    config = GATES.replace(
        'five: {function: "steps:step"}', "five: {agent: echo, prompt: '{{memory.four}} {{memory.two.n}} {{task}}'}"
    )
    async with house(tmp_path, config) as rig:
        known = {"four": "from before", "two": {"n": 2}}
        begun = await rig.client.trigger("go", "x", memory=known, paused_at="five")
        lost = await rig.client.trigger("go", "x", paused_at="six")

        assert (await execution_is(rig, begun.execution_id, "succeeded")).output == "from before 2 x"
        assert (await execution_is(rig, lost.execution_id, "failed")).error.startswith("The graph way has no node six")
        assert diary.nodes() == []

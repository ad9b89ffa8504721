"""The walk through a graph: which node comes next, what it is given, what is tried again, what is told of it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from graph_rig import Fn, Rig, path, says

from gatewayd.agents.base import AgentContext, AgentFailed, GraphOutput, Output, Suspended, TextOutput, Turn
from gatewayd.agents.tools.base import ToolContext, ToolFailed
from gatewayd.core.graph_result import GraphResult
from gatewayd.core.work import ExecutionState

ROUTER = """
nodes:
  sort: {agent: sort, prompt: "Which kind? {{task}}"}
  refund: {agent: refund, prompt: "{{memory.sort.kind}} of {{memory.sort.sum}}: {{task}}"}
  other: {agent: other}
edges:
  - {from: sort, to: refund, when: 'output.kind == "refund" and output.sum > 10'}
  - {from: sort, to: other}
"""


@pytest.mark.parametrize(
    ("sum_", "answer", "way"), [(12, "refund of 12: go", ["sort", "refund"]), (2, "other got", ["sort", "other"])]
)
async def test_the_first_edge_that_fits_says_what_comes_next(sum_: int, answer: str, way: list[str]) -> None:
    """And what a node said is there for conditions and prompts of later ones."""
    asked = []
    rig = Rig(
        ROUTER,
        {
            "sort": says(lambda text: asked.append(text) or f'{{"kind": "refund", "sum": {sum_}}}'),
            "refund": says(lambda text: text),
            "other": says(lambda text: f"other {'got' if text.startswith('{') else text}"),
        },
    )
    ctx = rig.context()

    assert await rig.run(ctx) == answer
    assert path(ctx) == way
    assert asked == ["Which kind? go"]


async def test_where_no_edge_fits_the_graph_ends_with_what_the_node_said() -> None:
    rig = Rig("nodes: {a: {agent: a}, b: {agent: b}}\nedges: [{from: a, to: b, when: output == 'x'}]")
    rig.agents |= {"a": says("the end"), "b": says("never")}
    ctx = rig.context()

    assert await rig.run(ctx) == "the end"
    assert [(node, at) for node, at, _ in ctx.checkpoints] == [("a", "start"), ("a", "complete")]


async def test_each_iteration_is_told_and_too_many_end_it() -> None:
    rig = Rig("nodes: {a: {agent: a, max_iterations: 3}, b: {agent: b}}\nedges: [{from: a, to: a}]\nentry_node: a")
    rig.agents["a"] = says("again")
    ctx = rig.context()

    with pytest.raises(AgentFailed, match="came to its node a more than 3 times"):
        await rig.run(ctx)

    assert [(kind, data) for kind, _, data in ctx.told if "loop" in kind] == [
        ("node_loop_started", {"max_iterations": 3}),
        ("node_loop_iteration", {"iteration": 1}),
        ("node_loop_iteration", {"iteration": 2}),
        ("node_loop_iteration", {"iteration": 3}),
    ]


async def test_a_loop_ends_when_its_condition_says_so() -> None:
    """The number of visits is a fact, and a node that is left and come to again counts on."""
    edges = "[{from: a, to: b, when: visits < 3}, {from: b, to: a}]"
    rig = Rig(f"entry_node: a\nnodes: {{a: {{agent: a}}, b: {{agent: a}}}}\nedges: {edges}", {"a": says("x")})
    ctx = rig.context()

    assert await rig.run(ctx) == "x"
    assert path(ctx) == ["a", "b", "a", "b", "a"]
    assert [data["iterations"] for kind, node, data in ctx.told if (kind, node) == ("node_loop_completed", "a")] == [
        1,
        2,
        3,
    ]


async def test_a_failure_takes_the_edge_that_is_for_it_and_is_an_error_without_one() -> None:
    async def fails(turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        yield TextOutput("half")
        raise AgentFailed("It is closed.")

    nodes = "nodes: {a: {agent: a}, b: {agent: b, prompt: '{{error}} {{output}}'}}\n"
    rig = Rig(nodes + "edges: [{from: a, to: b, when: failure}]", {"a": Fn(fails), "b": says(lambda text: text)})

    assert await rig.run() == "It is closed. go"
    with pytest.raises(AgentFailed, match=r"^It is closed\.$"):
        await rig.run(graph=rig.graph(nodes + "edges: [{from: a, to: b}]"))


async def test_a_node_is_tried_again_with_a_pause_and_the_same_keys() -> None:
    keys = []

    async def flaky(ctx: ToolContext) -> str:
        """Fail twice."""
        keys.append((ctx.idempotency_key, ctx.clock.monotonic()))
        if len(keys) < 3:
            raise ToolFailed("not yet")
        return "done"

    rig = Rig("entry_node: a\nnodes: {a: {tool: flaky, retries: 2}, b: {tool: flaky}}\nedges: [{from: a, to: b}]")
    rig.tools["flaky"] = flaky
    ctx = rig.context()

    assert await rig.run(ctx) == "done"
    assert [moment for _, moment in keys] == [0.0, 0.5, 1.5, 1.5]
    assert len({key for key, _ in keys[:3]}) == 1
    assert keys[3][0] != keys[0][0], "an equal call of another node is another call"
    assert ctx.checkpoints[-1][2]["retries"] == 2


async def test_a_node_that_takes_too_long_fails_and_one_that_is_silent_is_told_of() -> None:
    async def slow(turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        for _ in range(3):
            await ctx.clock.sleep(4)
            yield TextOutput(".")
        ctx.emit_custom("still.here")
        await ctx.clock.sleep(60)

    rig = Rig("nodes: {a: {agent: a, timeout: 40s, stall_timeout: 5s}}", {"a": Fn(slow)})
    ctx = rig.context()

    with pytest.raises(AgentFailed, match=r"The node a did not finish in time\."):
        await rig.run(ctx)

    assert rig.clock.monotonic() == 40
    stalled = [(node, data) for kind, node, data in ctx.told if kind == "node_stalled"]
    assert stalled == [("a", {"reason": "no progress for 5 s"})]


async def test_the_agents_own_timeout_holds_where_the_node_has_none() -> None:
    async def hangs(turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        await ctx.clock.sleep(1000)
        yield TextOutput("never")

    rig = Rig("nodes: {a: {agent: a}}", {"a": Fn(hangs, timeout=7.0)})

    with pytest.raises(AgentFailed, match="did not finish in time"):
        await rig.run()
    assert rig.clock.monotonic() == 7


async def test_defects_and_missing_agents_are_failures_of_the_node() -> None:
    """And a cancellation that nobody asked for; the one that somebody did passes."""

    async def breaks(turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        if turn.text == "exit":
            raise SystemExit(3)
        raise asyncio.CancelledError
        yield

    rig = Rig("nodes: {a: {agent: a}, b: {agent: gone}}\nedges: [{from: a, to: b, when: failure}]", {"a": Fn(breaks)})
    for task in ("exit", "cancelled"):
        ctx = rig.context()
        with pytest.raises(AgentFailed, match="there is no agent 'gone'"):
            await rig.run(ctx, task=task)
        assert ctx.checkpoints[-1][2]["last"][1].startswith("Something went wrong in the node a (execution ")


async def test_a_cancelled_walk_ends_at_once() -> None:
    closed = []

    async def hangs(turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        try:
            yield TextOutput("...")
            await asyncio.sleep(3600)
        finally:
            closed.append(True)

    rig = Rig("nodes: {a: {agent: a, retries: 5}}", {"a": Fn(hangs)})
    ctx = rig.context()
    task = asyncio.create_task(rig.run(ctx))
    while not any(kind == "node_internal_output" for kind, _, _ in ctx.told):
        await asyncio.sleep(0)
    task.cancel()

    with pytest.raises(asyncio.CancelledError):
        await task
    assert closed == [True]


async def test_what_it_came_to_is_told_in_figures() -> None:
    """Over a retry, a failed node, a loop and a graph inside; time at work goes on counting in the next run."""

    async def thinks(turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        await ctx.clock.sleep(2)
        ctx.log_step("thought", input_tokens=10, output_tokens=3)
        yield TextOutput("thought")

    async def flaky(turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        ctx.log_step("tried", input_tokens=1)
        raise AgentFailed("no")
        yield

    rig = Rig(
        "entry_node: a\n"
        "nodes: {a: {agent: inner}, b: {agent: flaky, retries: 1}, c: {kind: router, input: true, prompt: Well}}\n"
        "edges: [{from: a, to: a, when: visits < 2}, {from: a, to: b}, {from: b, to: c, when: failure}]"
    )
    inner = rig.graph("nodes: {x: {agent: thinks}}")
    rig.agents |= {"inner": Fn(inner.run), "thinks": Fn(thinks), "flaky": Fn(flaky)}

    async def last(**inputs: str) -> GraphResult:
        ctx = rig.context(state if inputs else None, **inputs)
        told: list[GraphResult] = []
        try:
            async for output in rig.graph().run(Turn("go", "s", "p"), ctx):
                if isinstance(output, GraphOutput):
                    told.append(output.result)
        except Suspended:
            state.update(ctx.checkpoints[-1][2])
        return told[-1]

    state: dict[str, Any] = {}
    before = await rig.clock.run(last())
    await rig.clock.advance(1000)
    after = await rig.clock.run(last(c="yes"))

    assert (before.path, before.steps) == (("a", "a", "b", "c"), 4)
    assert (after.path, after.steps, after.retries, dict(after.failures)) == (("a", "a", "b", "c"), 4, 1, {"b": 1})
    assert (after.tokens, after.seconds) == (28, 4.5)
    assert after.quality(ExecutionState.SUCCEEDED) == "degraded"
    assert after.quality(ExecutionState.CANCELLED) == "failed"
    assert GraphResult("g", ("a",), 1).quality(ExecutionState.SUCCEEDED) == "clean"
    assert GraphResult("g").quality(ExecutionState.PAUSED) == ""


async def test_a_long_output_is_cut_for_later_nodes_and_whole_in_the_answer() -> None:
    whole = "x" * 40_000
    text = "entry_node: a\nnodes: {a: {agent: a}, b: {agent: b}}\nedges: [{from: a, to: b, when: output == 'never'}]"
    rig = Rig(text, {"a": says(whole), "b": says(lambda text: text)})
    assert await rig.run() == whole

    passed = await rig.run(graph=rig.graph(text.replace("output == 'never'", "success")))
    assert passed == "x" * 32_768 + "\n[cut: 7232 more characters]"

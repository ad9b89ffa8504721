"""Nodes that are tools and functions: their arguments, what they give, and what can be none."""

from typing import Any

import pytest
from graph_rig import Rig, says

from gatewayd.agents.base import AgentFailed, GraphOutput, TextOutput, ToolCompleted, ToolStarted, Turn
from gatewayd.agents.graph.functions import NodeCall, find_function
from gatewayd.agents.tools.base import ToolContext
from gatewayd.plugins import PluginError


async def shout(call: NodeCall) -> object:
    """For the test below."""
    return {"loud": call.arguments["word"].upper(), "was": call.output, "task": call.task, "memory": dict(call.memory)}


def plain(call: NodeCall) -> str:
    """No coroutine."""
    return call.task


async def test_tools_and_functions_get_their_arguments_and_give_data() -> None:
    given: list[Any] = []

    async def note(ctx: ToolContext, text: str, number: int = 0) -> str:
        """Keep it."""
        del ctx
        given.append((text, number))
        return f"noted {text}"

    text = f"""
entry_node: f
nodes:
  f: {{function: '{__name__}:shout', arguments: {{word: "{{{{task}}}}", n: 1}}}}
  t: {{tool: note, arguments: {{text: "{{{{output.loud}}}}!", number: 7}}}}
  r: {{kind: router}}
edges: [{{from: f, to: t, when: output.loud == 'GO'}}, {{from: t, to: r}}]
"""
    rig = Rig(text, tools={"note": note})
    ctx = rig.context()
    outputs = [one async for one in rig.graph().run(Turn("go", "s", "p"), ctx) if not isinstance(one, GraphOutput)]

    assert given == [("GO!", 7)]
    assert [type(one) for one in outputs] == [ToolStarted, ToolCompleted, TextOutput]
    assert outputs[-1] == TextOutput("noted GO!")
    assert (outputs[0].tool_use_id, outputs[0].tool_input) == ("2/t", {"text": "GO!", "number": 7})  # type: ignore[union-attr]
    assert [node for kind, node, _ in ctx.told if kind == "node_internal_output"] == ["f", "t"]


@pytest.mark.parametrize(
    ("reference", "said"),
    [
        ("shout", "write module:function"),
        ("no_such_module_here:f", "cannot be imported"),
        (f"{__name__}:nothing", "cannot be imported"),
        (f"{__name__}:plain", "is no async function"),
    ],
)
def test_what_is_no_function_of_a_node_is_told(reference: str, said: str) -> None:
    with pytest.raises(PluginError, match=said):
        find_function(reference)


@pytest.mark.parametrize(
    "output",
    [
        '{"x": NaN}',
        '{"x": 1e999}',
        '{"x": "\\ud800"}',
        '{"x": ' + "[" * 40 + "]" * 40 + "}",
        '{"x": "' + "y" * 70_000 + '"}',
    ],
    ids=["nan", "infinite", "surrogate", "deep", "long"],
)
async def test_what_a_model_makes_up_cannot_harm_a_tool(output: str) -> None:
    """JSON that is none, or too much, never becomes arguments: the call is refused, and the node has failed."""

    async def take(ctx: ToolContext, x: Any) -> str:
        """Take it."""
        del ctx
        return f"took {x}"

    rig = Rig("entry_node: a\nnodes: {a: {agent: a}, t: {tool: take}}\nedges: [{from: a, to: t}]", {"a": says(output)})
    rig.tools["take"] = take

    with pytest.raises(AgentFailed):
        await rig.run()


@pytest.mark.parametrize("more", ["", ", retries: 1", ", client_facing: true, input: false"])
@pytest.mark.parametrize("last", [True, False])
async def test_nothing_comes_between_a_tools_result_and_the_completion_of_its_node(more: str, last: bool) -> None:
    """So the two are one unit of the store: a crash leaves both or neither."""

    async def act(ctx: ToolContext) -> str:
        """Do it."""
        del ctx
        return "done"

    edge = "" if last else "edges: [{from: t, to: r}]"
    rig = Rig(f"entry_node: t\nnodes: {{t: {{tool: act{more}}}{'' if last else ', r: {kind: router}'}}}\n{edge}")
    rig.tools["act"] = act
    ctx = rig.context()
    seen: list[str] = []

    async for output in rig.graph().run(Turn("go", "s", "p"), ctx):
        seen.append(type(output).__name__)
        if isinstance(output, ToolCompleted):
            before = len(ctx.told), len(ctx.checkpoints)
        elif seen[-2:-1] == ["ToolCompleted"]:
            assert not last, "an output came between"
    if last:
        assert seen[-1] == "ToolCompleted"
    first_behind = ctx.checkpoints[before[1]]
    assert first_behind[:2] == ("t", "complete")
    assert len(ctx.checkpoints[: before[1]]) == 1
    assert ctx.told[before[0]][0] == "node_loop_completed", "told behind the checkpoint"

"""A walk that goes on: from each of its checkpoints, with the input that it waited for, on a graph that has changed."""

from collections.abc import AsyncIterator

import pytest
from graph_rig import Fn, Rig, path, says

from gatewayd.agents.base import AgentContext, AgentFailed, GraphOutput, Output, Suspended, TextOutput, Turn
from gatewayd.testing.agent_contract import AgentContract, AgentSubject
from gatewayd.testing.fakes import FakeClock

CHAIN = (
    "entry_node: a\nnodes: {a: {agent: a}, b: {agent: b}, c: {agent: c}}\nedges: [{from: a, to: b}, {from: b, to: c}]"
)
ASK = """
entry_node: greet
nodes:
  greet: {agent: greet, client_facing: true, max_iterations: 3}
  done: {agent: done, prompt: "You said {{output}}"}
edges:
  - {from: greet, to: greet, when: output != "stop"}
  - {from: greet, to: done}
"""


def counting() -> tuple[Rig, list[str]]:
    done: list[str] = []
    rig = Rig(CHAIN)
    for name in "abc":
        rig.agents[name] = says(lambda text, name=name: done.append(name) or f"{text}{name}")
    return rig, done


async def test_from_each_checkpoint_it_goes_on_and_does_nothing_twice_that_was_complete() -> None:
    rig, done = counting()
    whole = rig.context()
    assert await rig.run(whole) == "goabc"
    assert len(whole.checkpoints) == 6

    for node, at, state in whole.checkpoints:
        done.clear()
        answer = await rig.run(rig.context(state))

        left = "abc"["abc".index(node) + (at == "complete") :]
        assert done == list(left)
        assert answer == ("goabc" if left else ""), "the text of what had ended is restored by the runtime"


async def test_a_pause_between_two_nodes_leaves_and_the_next_run_goes_on() -> None:
    rig, done = counting()
    ctx = rig.context()
    ctx.pausing = True

    state = await rig.leaves(ctx)

    assert (done, path(ctx)) == ([], ["a"])
    assert await rig.run(rig.context(state)) == "goabc"


async def test_a_node_that_faces_the_client_speaks_and_waits_and_what_is_said_is_its_output() -> None:
    asked = iter(["Hello?", "And?"])
    rig = Rig(ASK, {"greet": says(lambda _: next(asked)), "done": says(lambda text: text)})
    first = rig.context()
    state = await rig.leaves(first)

    assert ("client_output_delta", "greet", {"content": "Hello?", "offset": 0}) in first.told
    assert first.told[-1] == ("client_input_requested", "greet", {"prompt": "Hello?"})

    nothing = rig.context(state)
    state = await rig.leaves(nothing)
    assert nothing.told == [("client_input_requested", "greet", {"prompt": "Hello?"})]

    second = rig.context(state, greet="more")
    state = await rig.leaves(second)
    assert ("client_output_delta", "greet", {"content": "And?", "offset": 6}) in second.told
    assert second.told[0][0] == "node_loop_iteration"

    assert await rig.run(rig.context(state, greet="stop")) == "You said stop"


async def test_who_does_not_face_the_client_is_blocked() -> None:
    text = "entry_node: r\nnodes: {r: {kind: router, input: true, prompt: 'Approve {{task}}?'}, b: {agent: b}}\n"
    rig = Rig(text + "edges: [{from: r, to: b, when: output == 'yes'}]", {"b": says("done")})
    ctx = rig.context()

    state = await rig.leaves(ctx)

    assert ctx.told[-1] == ("node_input_blocked", "r", {"prompt": "Approve go?"})
    assert ("node_internal_output", "r", {"content": "Approve go?"}) in ctx.told
    assert await rig.run(rig.context(state, r="yes")) == "done"
    assert await rig.run(rig.context(state, r="no")) == "no"


async def test_an_agent_of_a_node_leaves_and_comes_back_by_itself() -> None:
    """Its checkpoints are nested under the node's, its input is the node's, and the node does not ask a second time."""

    async def asks(turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        if ctx.resumed is None:
            yield TextOutput("Name? ")
            await ctx.checkpoint({"step": 1})
            await ctx.wait_for_input("Who are you?", {"step": 2})
        yield TextOutput(f"Hello {ctx.inputs.get('')}, {ctx.resumed}")

    rig = Rig("entry_node: a\nnodes: {a: {agent: a, client_facing: true}, b: {agent: b}}\nedges: [{from: a, to: b}]")
    rig.agents |= {"a": Fn(asks), "b": says(lambda text: text)}
    ctx = rig.context()

    state = await rig.leaves(ctx)

    assert ctx.told[-1] == ("client_input_requested", "a", {"prompt": "Who are you?"})
    assert [state["inner"] for _, _, state in ctx.checkpoints] == [None, {"step": 1}, {"step": 2}]
    assert await rig.run(rig.context(state, a="Ada")) == "Name? Hello Ada, {'step': 2}"


async def test_a_graph_inside_of_a_node_names_its_nodes_after_it() -> None:
    rig = Rig("nodes: {outer: {agent: inner, client_facing: true, input: false}}")
    inner = rig.graph("entry_node: x\nnodes: {x: {kind: router, client_facing: true, prompt: 'Well?'}, y: {agent: y}}\n"
                      "edges: [{from: x, to: y}]")  # fmt: skip
    rig.agents |= {"inner": Fn(inner.run), "y": says(lambda text: f"y got {text}")}
    ctx = rig.context()

    state = await rig.leaves(ctx)

    assert ctx.told[-1] == ("client_input_requested", "outer/x", {"prompt": "Well?"})
    resumed = rig.context(state)
    resumed.inputs = {"outer/x": "this"}
    assert await rig.run(resumed) == "y got this"


async def test_a_last_node_streams_its_text_and_one_that_may_be_tried_again_waits_with_it() -> None:
    async def pieces(turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        yield TextOutput("one ")
        await ctx.checkpoint({})
        yield TextOutput("two")

    rig = Rig("nodes: {a: {agent: a}}", {"a": Fn(pieces)})
    for text, wanted in (("", ["one ", "two"]), ("nodes: {a: {agent: a, retries: 1}}", ["one two"])):
        said = [one async for one in rig.graph(text).run(Turn("go", "s", "p"), rig.context())]
        outputs = [one for one in said if not isinstance(one, GraphOutput)]
        assert outputs == [TextOutput(each) for each in wanted]


async def test_cut_off_in_a_streaming_node_the_rest_is_put_out() -> None:
    async def pieces(turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
        if ctx.resumed is None:
            yield TextOutput("one ")
            await ctx.checkpoint({"half": True})
            raise Suspended
        yield TextOutput("two")

    rig = Rig("nodes: {a: {agent: a}}", {"a": Fn(pieces)})
    state = await rig.leaves(rig.context())
    ctx = rig.context(state)

    assert await rig.run(ctx) == "two"
    assert ctx.checkpoints[-1][2]["last"] == ["one two", ""]


async def test_it_goes_on_along_the_graph_as_it_is_now_or_says_why_it_cannot() -> None:
    rig, done = counting()
    ctx = rig.context()
    await rig.run(ctx)
    after_a = ctx.checkpoints[1][2]
    done.clear()

    shorter = rig.graph("entry_node: a\nnodes: {a: {agent: a}, c: {agent: c}}\nedges: [{from: a, to: c}]")
    assert await rig.run(rig.context(after_a), graph=shorter) == "goac"
    assert done == ["c"]
    ended = rig.graph("nodes: {a: {agent: a}}")
    assert await rig.run(rig.context(after_a), graph=ended) == "goa"
    other = rig.graph("nodes: {x: {agent: a}}")
    with pytest.raises(AgentFailed, match="The graph g has no node a any more"):
        await rig.run(rig.context(after_a), graph=other)


async def test_a_session_state_says_where_to_begin_and_what_is_remembered() -> None:
    rig = Rig("entry_node: a\nnodes: {a: {agent: a}, b: {agent: b, prompt: '{{memory.a}} {{memory.a.k}}'}}\n"
              "edges: [{from: a, to: b}]")  # fmt: skip
    rig.agents |= {"a": says("never"), "b": says(lambda text: text)}

    ctx = rig.context({"memory": {"a": {"k": 1}}, "paused_at": "b"})

    assert await rig.run(ctx) == '{"k": 1} 1'
    assert path(ctx) == ["b"]
    with pytest.raises(AgentFailed, match="has no node z any more"):
        await rig.run(rig.context({"paused_at": "z"}))


class TestGraphsAreAgents(AgentContract):
    @pytest.fixture
    def subject(self) -> AgentSubject:
        clock = FakeClock()
        opened: list[str] = []

        async def hangs(turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
            opened.append("hangs")
            try:
                yield TextOutput("so far")
                await clock.sleep(1e6)
            finally:
                opened.remove("hangs")

        async def fails(turn: Turn, ctx: AgentContext) -> AsyncIterator[Output]:
            raise AgentFailed("It is closed.")
            yield

        def made(agent: Fn) -> Rig:
            return Rig("nodes: {a: {agent: a}}", {"a": agent}, clock=clock)

        return AgentSubject(
            clock=clock,
            answering=lambda: (made(says("the answer")).graph(), "the answer"),
            failing=lambda: made(Fn(fails)).graph(),
            hanging=lambda: made(Fn(hangs)).graph(),
            idle=lambda: not opened,
        )

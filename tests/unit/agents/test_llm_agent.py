"""The loop of an agent that a model answers for."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.agents.base import (
    AgentFailed,
    Output,
    ReasoningOutput,
    Suspended,
    TextOutput,
    ToolCompleted,
    ToolStarted,
    Turn,
)
from gatewayd.agents.llm import CUT_MARK, MAX_CALLS_PER_STEP, LLMAgent
from gatewayd.agents.tools.base import ToolContext, ToolFailed
from gatewayd.agents.tools.functions import FunctionTool
from gatewayd.agents.tools.toolbox import Toolbox
from gatewayd.config.model import AgentSection
from gatewayd.providers.base import (
    Finished,
    FinishReason,
    ModelRefused,
    ModelTruncated,
    ModelUnavailable,
    Reasoning,
    Role,
    Text,
    ToolCallPiece,
)
from gatewayd.storage.records import HistoryEntry
from gatewayd.testing.fakes import FakeClock, FakeContext, Pause, Scripted, ScriptedProvider, calls, collect, says

DONE = Finished(FinishReason.STOP)
CALLED = Finished(FinishReason.TOOL_CALLS)


class Rig:
    """An agent with the tool `add` and a scripted model."""

    def __init__(self, *scripts: list[Scripted], **section: object) -> None:
        self.clock = FakeClock()
        self.model = ScriptedProvider(*scripts, clock=self.clock)
        self.ran: list[tuple[int, int]] = []
        self.keys: list[str] = []
        self.context = FakeContext(self.clock)

        async def add(a: int, b: int, ctx: ToolContext) -> str:
            """Add two numbers."""
            self.ran.append((a, b))
            self.keys.append(ctx.idempotency_key)
            if a < 0:
                raise ToolFailed("no negative numbers")
            return str(a + b)

        self.toolbox = Toolbox("a", [FunctionTool(add)])
        self.agent = LLMAgent(
            "a",
            AgentSection(**section),  # type: ignore[arg-type]
            provider=self.model,
            model="m",
            tools=self.toolbox,
            timeout=30,
        )

    async def run(self, text: str = "hi", history: tuple[HistoryEntry, ...] = ()) -> list[Output]:
        turn = Turn(text, "session", "principal", history=history)
        return await self.clock.run(collect(self.agent.run(turn, self.context)))

    async def fail(self) -> AgentFailed:
        with pytest.raises(AgentFailed) as caught:
            await self.run()
        return caught.value

    def roles(self, call: int = -1) -> list[Role]:
        return [message.role for message in self.model.prompts[call].messages]


def said(outputs: list[Output]) -> str:
    return "".join(output.content for output in outputs if isinstance(output, TextOutput))


async def test_the_answer_streams_and_the_prompt_holds_all_that_came_before() -> None:
    rig = Rig(says("Hel", "lo"), instructions="Be kind.", role="clerk", temperature=0.3, max_tokens=50)
    history = (HistoryEntry("user", "earlier", 1.0), HistoryEntry("assistant", "indeed", 2.0))
    assert await rig.run("hi", history) == [TextOutput("Hel"), TextOutput("lo")]
    prompt = rig.model.prompts[0]
    assert [(message.role.value, message.content) for message in prompt.messages] == [
        ("system", "Be kind.\n\nRole: clerk"),
        ("user", "earlier"),
        ("assistant", "indeed"),
        ("user", "hi"),
    ]
    assert (prompt.temperature, prompt.max_tokens, prompt.timeout) == (0.3, 50, 30)
    assert [tool.name for tool in prompt.tools] == ["add"]


async def test_reasoning_is_put_out_but_is_no_part_of_the_answer() -> None:
    outputs = await Rig([Reasoning("hm"), Text("a"), DONE]).run()
    assert outputs == [ReasoningOutput("hm"), TextOutput("a")]


async def test_a_tool_is_called_and_its_result_answered() -> None:
    rig = Rig([Text("Adding."), *calls("add", '{"a": 2, "b": 3}')], says("5"))
    assert await rig.run() == [
        TextOutput("Adding."),
        ToolStarted("call-1", "add", {"a": 2, "b": 3}),
        ToolCompleted("call-1", "add", "5", is_error=False),
        TextOutput("\n\n"),
        TextOutput("5"),
    ]
    assert rig.roles() == [Role.USER, Role.ASSISTANT, Role.TOOL]
    asked = rig.model.prompts[1].messages[1]
    assert json.loads(asked.tool_calls[0].arguments) == {"a": 2, "b": 3}
    assert rig.model.prompts[1].messages[2].tool_call_id == "call-1"


async def test_several_calls_of_one_step_run_in_order_with_ids_of_their_own() -> None:
    pieces = [ToolCallPiece(i, "", "add", json.dumps({"a": i, "b": 0})) for i in range(3)]
    rig = Rig([*pieces, CALLED], says("done"))
    outputs = await rig.run()
    assert rig.ran == [(0, 0), (1, 0), (2, 0)]
    assert len({output.tool_use_id for output in outputs if isinstance(output, ToolStarted)}) == 3


async def test_the_model_reads_what_was_wrong_and_goes_on() -> None:
    rig = Rig(
        calls("delete_everything"),
        calls("add", '{"a": 1'),
        calls("add", '{"a": "x", "b": 1}'),
        calls("add", '{"a": 1, "b": 1, "c": 1}'),
        calls("add", '{"a": -1, "b": 1}'),
        says("I give up."),
    )
    outputs = await rig.run()
    results = [output for output in outputs if isinstance(output, ToolCompleted)]
    assert all(result.is_error for result in results)
    assert [result.result.partition(":")[0] for result in results] == ["Error"] * 5
    assert "no negative numbers" in results[-1].result
    assert rig.ran == [(-1, 1)]
    assert rig.agent.tool_stats() == {"calls": 5, "refused": 2, "failed": 3}
    assert rig.model.prompts[2].messages[-2].tool_calls[0].arguments == "{}", "half a JSON text must not go back"


@pytest.mark.parametrize("reason", [FinishReason.STOP, FinishReason.LENGTH])
async def test_F66_a_call_that_the_model_did_not_finish_is_never_run(reason: FinishReason) -> None:
    rig = Rig([ToolCallPiece(0, "1", "add", '{"a": 1, "b": 2}'), Finished(reason)])
    assert "broke off" in str(await rig.fail())
    assert rig.ran == []


_PIECES = st.lists(
    st.one_of(
        st.builds(Text, st.text(max_size=5)),
        st.builds(
            ToolCallPiece,
            st.integers(-2, 200),
            st.text(max_size=3),
            st.sampled_from(["", "add", "x", "ad\ud800"]),
            st.sampled_from(["", '{"a": 1, ', '"b": 2}', '{"a": 1, "b": 2}', "[]", "{}", '{"a": "\\ud800"}']),
        ),
    ),
    max_size=12,
)


@given(pieces=_PIECES, finish=st.sampled_from([*FinishReason, None]))
def test_F66_whatever_a_model_sends_only_whole_calls_run_and_failures_are_told(
    pieces: list[Scripted], finish: FinishReason | None
) -> None:
    end: Scripted = ModelTruncated("cut") if finish is None else Finished(finish)
    rig = Rig([*pieces, end], says("end"))
    try:
        outputs = asyncio.run(rig.run())
    except AgentFailed:
        assert rig.ran == []
    else:
        started = [output.tool_use_id for output in outputs if isinstance(output, ToolStarted)]
        assert started == [output.tool_use_id for output in outputs if isinstance(output, ToolCompleted)]
        assert finish is FinishReason.TOOL_CALLS or not rig.ran


async def test_more_calls_than_allowed_at_a_time_are_refused() -> None:
    pieces = [ToolCallPiece(i, f"c{i}", "add", '{"a": 1, "b": 1}') for i in range(MAX_CALLS_PER_STEP + 2)]
    rig = Rig([*pieces, CALLED], says("done"))
    await rig.run()
    assert len(rig.ran) == MAX_CALLS_PER_STEP
    assert rig.roles().count(Role.TOOL) == MAX_CALLS_PER_STEP + 2, "every call needs a result"
    assert len(set(rig.keys)) == MAX_CALLS_PER_STEP, "equal calls are not one call"


async def test_a_call_has_the_same_key_when_the_turn_is_run_again() -> None:
    keys = []
    for _ in range(2):
        rig = Rig(calls("add", '{"b": 1, "a": 1}'), says("done"))
        await rig.run()
        keys.append(rig.keys)
    assert keys[0] == keys[1]


async def test_the_last_step_offers_no_tools_and_a_loop_ends() -> None:
    call = calls("add", '{"a": 1, "b": 1}')
    rig = Rig(call, call, says("enough"), max_steps=3)
    assert said(await rig.run()) == "enough"
    assert [prompt.tool_choice for prompt in rig.model.prompts] == ["auto", "auto", "none"]
    assert "3 steps" in str(await Rig(call, call, call, max_steps=3).fail())


async def test_a_required_tool_is_required_once() -> None:
    rig = Rig(calls("add", '{"a": 1, "b": 1}'), says("2"), tool_choice="required")
    await rig.run()
    assert [prompt.tool_choice for prompt in rig.model.prompts] == ["required", "auto"]


async def test_steering_is_taken_in_between_steps_and_not_after_the_last() -> None:
    rig = Rig(calls("add", '{"a": 1, "b": 1}'), says("both"))
    rig.context.steering = ["and also this"]
    await rig.run()
    assert [message.content for message in rig.model.prompts[0].messages] == ["hi", "and also this"]

    rig = Rig([Pause(5), *calls("add", '{"a": 1, "b": 1}')], [Pause(5), *says("both")])
    task = asyncio.ensure_future(collect(rig.agent.run(Turn("hi", "s", "p"), rig.context)))
    await rig.clock.advance(1)
    rig.context.steering = ["meanwhile"]
    await rig.clock.advance(6)
    rig.context.steering = ["too late"]
    await rig.clock.advance(5)
    await task
    assert rig.model.prompts[1].messages[-1].content == "meanwhile"
    assert rig.context.steering == ["too late"]


async def test_F66_an_answer_that_was_cut_says_so() -> None:
    assert said(await Rig([Text("Long"), Finished(FinishReason.LENGTH)]).run()) == "Long" + CUT_MARK
    assert "length limit" in str(await Rig([Finished(FinishReason.LENGTH)]).fail())


async def test_F66_an_empty_answer_is_a_failure_unless_a_tool_did_the_work() -> None:
    assert "empty answer" in str(await Rig([Text("  "), DONE]).fail())
    assert said(await Rig(calls("add", '{"a": 1, "b": 1}'), [DONE]).run()) == ""


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ([ModelUnavailable("connect: 10.0.0.1")], "not available right now"),
        ([ModelRefused("401")], "refused"),
        ([Text("half"), ModelTruncated("cut")], "broke off"),
        ([Text("x"), Finished(FinishReason.CONTENT_FILTER)], "withheld"),
    ],
)
async def test_F64_a_failing_model_is_told_to_the_user_without_details(script: list[Scripted], told: str) -> None:
    failure = await Rig(script).fail()
    assert told in str(failure)
    assert "10.0.0.1" not in str(failure)
    assert failure.cause


async def test_cancelling_a_turn_closes_the_stream_to_the_model() -> None:
    rig = Rig([Text("a"), Pause(100)])
    task = asyncio.ensure_future(collect(rig.agent.run(Turn("hi", "s", "p"), rig.context)))
    await rig.clock.settle()
    assert rig.model.open_streams == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rig.model.open_streams == 0


async def test_leaving_a_turn_in_the_middle_closes_the_stream_to_the_model() -> None:
    rig = Rig(says("a", "b"))
    outputs = rig.agent.run(Turn("hi", "s", "p"), rig.context)
    await anext(outputs)
    await outputs.aclose()  # type: ignore[attr-defined]
    assert rig.model.open_streams == 0


async def test_a_turn_goes_on_from_any_of_its_checkpoints_as_if_nothing_had_been() -> None:
    """No model is asked for what it has said, and a call that is made again has its key."""
    first = [
        ToolCallPiece(0, "c1", "add", '{"a": 1, "b": 1}'),
        ToolCallPiece(1, "c2", "add", '{"a": 1, "b": 1}'),
        CALLED,
    ]
    scripts = [[Text("Adding."), *first], calls("add", '{"a": 1, "b": 1}', "c3"), says("6")]
    whole = Rig(*scripts, instructions="Be kind.")
    await whole.run()
    kept = whole.context.checkpoints
    assert [at for _, at, _ in kept] == ["start", "complete", "complete", "start", "complete"]
    assert len(set(whole.keys)) == 3

    for place, (_, _, state) in enumerate(kept):
        model_steps, made = (1, place) if place < 3 else (2, place - 1)
        rig = Rig(*scripts[model_steps:], instructions="Be kind.")
        rig.context.resumed = state
        outputs = await rig.run()

        assert rig.keys == whole.keys[made:]
        assert said(outputs) == "\n\n6", "the text before it was put out by the run before"
        assert [one.messages for one in rig.model.prompts] == [
            one.messages for one in whole.model.prompts[model_steps:]
        ]
        assert [one.tool_choice for one in rig.model.prompts] == ["auto"] * (3 - model_steps)
        assert rig.context.checkpoints == kept[place + 1 :]


async def test_a_turn_that_comes_back_at_its_last_step_may_make_no_more() -> None:
    rig = Rig(max_steps=1)
    call = ["c1", "add", '{"a": 1, "b": 1}']
    asked = ["assistant", "", [call], ""]
    state = {"step": 1, "has_text": False, "messages": [asked], "calls": [call], "answered": 0, "said": []}
    rig.context.resumed = state
    assert "1 steps" in str(await rig.fail())
    assert rig.ran == [(1, 1)]


async def test_a_pause_ends_the_run_and_what_another_kind_of_agent_kept_is_no_beginning() -> None:
    rig = Rig(calls("add", '{"a": 1, "b": 1}'))
    rig.context.pausing = True
    with pytest.raises(Suspended):
        await rig.run()
    assert rig.ran == []

    other = Rig(says("hi"))
    other.context.resumed = {"done": 3}
    assert "another kind of agent" in str(await other.fail())
    assert other.model.prompts == []


async def test_what_is_known_from_before_is_told_to_the_model() -> None:
    rig = Rig(says("hi"))
    rig.context.resumed = {"memory": {"name": "Ann"}, "paused_at": ""}
    await rig.run("who?")
    known, asked = rig.model.prompts[0].messages
    assert (known.role, asked.content) == (Role.SYSTEM, "who?")
    assert '{"name": "Ann"}' in known.content


async def test_what_was_steered_in_is_no_part_of_what_is_kept() -> None:
    """It goes back to the queue when the turn pauses, and is answered there."""
    rig = Rig(calls("add", '{"a": 1, "b": 1}'), says("both"))
    rig.context.steering = ["and also this"]
    await rig.run()
    assert all("and also this" not in json.dumps(state) for _, _, state in rig.context.checkpoints)

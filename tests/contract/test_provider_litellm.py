"""LiteLLM keeps the contract of a provider, against a real server, and keeps to its place in the process."""

import asyncio
import contextlib
import logging
import socket
import sys
from collections.abc import AsyncIterator

import pytest

from gatewayd.agents.base import AgentFailed, TextOutput, ToolCompleted, Turn
from gatewayd.agents.llm import LLMAgent
from gatewayd.agents.tools.builtin import current_time
from gatewayd.agents.tools.functions import FunctionTool
from gatewayd.agents.tools.toolbox import Toolbox
from gatewayd.config.model import AgentSection
from gatewayd.core.clock import SystemClock
from gatewayd.core.secret import Secret
from gatewayd.providers.base import (
    ChatMessage,
    Finished,
    FinishReason,
    ModelRefused,
    ModelTruncated,
    ModelUnavailable,
    Prompt,
    Reasoning,
    Role,
    Text,
    ToolCall,
)
from gatewayd.providers.breaker import Breakers
from gatewayd.providers.fallback import FallbackProvider, Target
from gatewayd.providers.litellm import LiteLLMProvider
from gatewayd.testing.fakes import EvenRandomness, FakeClock, FakeContext, collect, until
from gatewayd.testing.provider_contract import CURRENT_TIME, Ask, ProviderContract, Subject, Taken, _real_turn
from tests.platforms.openai_server import OpenAIServer, Script, Stall, error, text, tool_call

# LiteLLM reads deprecated attributes of pydantic's; turned into errors they would break its streams.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

BEHAVIOURS = {
    "echo": Ask("openai/echo", "one two three"),
    "tool": Ask("openai/tools", "what time is it?"),
    "unavailable": Ask("openai/broken", "hello"),
    "refused": Ask("openai/unauthorized", "hello"),
    "truncated": Ask("openai/truncated", "hello"),
    "silent": Ask("openai/stall-first", "hello"),
    "stalled": Ask("openai/stall-mid", "hello"),
}


@pytest.fixture
async def server() -> AsyncIterator[OpenAIServer]:
    async with OpenAIServer() as running:
        yield running


@pytest.fixture
async def subject(server: OpenAIServer) -> AsyncIterator[Subject]:
    clock = FakeClock()
    provider = LiteLLMProvider(clock)
    await provider.load()
    yield Subject(provider, clock, BEHAVIOURS, {"base_url": server.url, "api_key": Secret("sk-s3cr3t-key")})
    await provider.close()


async def ask(subject: Subject, scenario: str, **fields: object) -> list[object]:
    messages = (ChatMessage(Role.USER, "hello"),)
    return await collect(subject.provider.stream(Prompt(f"openai/{scenario}", messages, **subject.settings, **fields)))  # type: ignore[arg-type]


class TestLiteLLM(ProviderContract):
    pass


async def test_the_request_says_all_that_the_prompt_says(server: OpenAIServer, subject: Subject) -> None:
    call = ToolCall("call_1", "current_time", '{"timezone": "UTC"}')
    messages = (
        ChatMessage(Role.SYSTEM, "Be brief."),
        ChatMessage(Role.USER, "Time?"),
        ChatMessage(Role.ASSISTANT, "", tool_calls=(call,)),
        ChatMessage(Role.TOOL, "noon", tool_call_id="call_1"),
    )
    prompt = Prompt("openai/echo", messages, (CURRENT_TIME,), "none", temperature=0.5, max_tokens=9, **subject.settings)
    await collect(subject.provider.stream(prompt))
    request = server.requests[-1]
    assert (request["model"], request["stream"], request["tool_choice"]) == ("echo", True, "none")
    assert (request["temperature"], request["max_tokens"]) == (0.5, 9)
    assert [message["role"] for message in request["messages"]] == ["system", "user", "assistant", "tool"]
    assert request["messages"][2]["tool_calls"][0]["function"]["arguments"] == call.arguments
    assert request["messages"][3]["tool_call_id"] == "call_1"
    assert request["tools"][0]["function"]["parameters"] == CURRENT_TIME.parameters
    assert server.keys[-1] == "sk-s3cr3t-key"


async def test_a_key_of_the_environment_is_not_sent_to_a_server_of_ours(
    server: OpenAIServer, subject: Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-somebody-else")
    await collect(subject.provider.stream(Prompt("openai/echo", (ChatMessage(Role.USER, "x"),), base_url=server.url)))
    assert server.keys == ["none"]


async def test_reasoning_and_usage_come_through(subject: Subject) -> None:
    deltas = await ask(subject, "reasoning")
    assert deltas[:2] == [Reasoning("Let me "), Reasoning("think.")]
    finished = deltas[-1]
    assert isinstance(finished, Finished)
    assert (finished.usage.input_tokens, finished.usage.output_tokens) == (7, 1)


@pytest.mark.parametrize("scenario", ["truncated", "truncated-done", "disconnect", "bad-json"])
async def test_F66_a_cut_stream_is_never_an_answer(subject: Subject, scenario: str) -> None:
    with pytest.raises(ModelTruncated):
        await ask(subject, scenario)


@pytest.mark.parametrize("scenario", ["broken", "overloaded", "limited-bare", "limited"])
async def test_F65_an_overloaded_server_is_unavailable(subject: Subject, scenario: str) -> None:
    """500, 529, 429 without and with a wait."""
    with pytest.raises(ModelUnavailable) as caught:
        await ask(subject, scenario)
    assert caught.value.retry_after == (3.0 if scenario == "limited" else None)


@pytest.mark.parametrize("scenario", ["bad-utf8", "truncated-tool-call", "huge"])
async def test_F66_what_makes_no_sense_before_any_text_may_be_asked_again(subject: Subject, scenario: str) -> None:
    """Invalid UTF-8, half a tool call, one piece of 10 MB."""
    with pytest.raises(ModelUnavailable):
        await ask(subject, scenario, tools=(CURRENT_TIME,))


async def test_F66_a_stream_of_nothing_ends_at_its_deadline(server: OpenAIServer, subject: Subject) -> None:
    """By the real clock: pieces without content are no sign of life."""
    provider = LiteLLMProvider(SystemClock())
    await provider.load()
    prompt = Prompt("openai/endless-empty", (ChatMessage(Role.USER, "x"),), timeout=0.5, **subject.settings)  # type: ignore[arg-type]
    with pytest.raises(ModelUnavailable, match="nothing within"):
        await collect(provider.stream(prompt))
    await until(lambda: server.dropped == 1, _real_turn)
    await provider.close()


@pytest.mark.parametrize("scenario", ["unauthorized", "unknown-model"])
async def test_what_will_not_work_is_refused(subject: Subject, scenario: str) -> None:
    with pytest.raises(ModelRefused):
        await ask(subject, scenario)


async def test_F65_the_wait_that_a_server_asks_for_is_passed_on(server: OpenAIServer, subject: Subject) -> None:
    server.script(error(429, retry_after="7"), error(503, retry_after="Fri, 15 Jan 2027 08:00:30 GMT"))
    for seconds in (7.0, 30.0):
        with pytest.raises(ModelUnavailable) as caught:
            await ask(subject, "echo")
        assert caught.value.retry_after == pytest.approx(seconds)
    assert len(server.requests) == 2, "LiteLLM retried by itself"


async def test_a_refused_connection_is_unavailable_at_once(subject: Subject) -> None:
    prompt = Prompt("openai/echo", (ChatMessage(Role.USER, "x"),), base_url="http://127.0.0.1:1/v1")
    with pytest.raises(ModelUnavailable):
        await collect(subject.provider.stream(prompt))


async def test_F64_a_server_that_never_takes_the_connection_is_given_up_at_the_deadline(subject: Subject) -> None:
    with socket.socket() as door, contextlib.ExitStack() as crowd:
        door.bind(("127.0.0.1", 0))
        door.listen(0)
        for _ in range(4):  # the queue of the door is full, and the kernel answers nobody else
            waiting = crowd.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(door.getsockname())
        settings = {**subject.settings, "base_url": f"http://127.0.0.1:{door.getsockname()[1]}/v1"}
        taken = Taken(subject, Prompt("openai/echo", (ChatMessage(Role.USER, "x"),), timeout=30, **settings))  # type: ignore[arg-type]
        await until(lambda: subject.clock.waiting > 0, _real_turn)
        await subject.clock.advance(29)
        assert not taken.task.done()
        await subject.clock.advance(1)
        with pytest.raises(ModelUnavailable, match="did not begin to answer"):
            await taken.task


async def test_F66_an_endless_stream_ends_at_its_bound(server: OpenAIServer, subject: Subject) -> None:
    with pytest.raises(ModelTruncated, match="without an end"):
        await ask(subject, "endless")
    await until(lambda: server.dropped == 1, _real_turn)


async def test_F66_half_a_surrogate_pair_becomes_text_that_can_be_stored(subject: Subject) -> None:
    answer = "".join(delta.content for delta in await ask(subject, "half-surrogate") if isinstance(delta, Text))
    assert answer == "a\ufffdb"


async def test_F66_an_empty_answer_is_only_finished(subject: Subject) -> None:
    deltas = await ask(subject, "empty")
    assert [getattr(delta, "reason", None) for delta in deltas] == [FinishReason.STOP]


async def test_cancelling_ends_the_request_to_the_server(server: OpenAIServer, subject: Subject) -> None:
    taken = Taken(subject, subject.prompt("stalled"))
    await until(lambda: bool(taken.text), _real_turn)
    taken.task.cancel()
    await until(lambda: server.dropped == 1, _real_turn)


def agent(subject: Subject, *models: str, retries: int = 0) -> LLMAgent:
    key, url = subject.settings["api_key"], subject.settings["base_url"]
    chain = FallbackProvider(
        [Target(subject.provider, model, url, key) for model in models],
        breakers=Breakers(subject.clock),
        clock=subject.clock,
        randomness=EvenRandomness(),
        retries=retries,
    )
    toolbox = Toolbox("a", [FunctionTool(current_time)])
    return LLMAgent("a", AgentSection(), provider=chain, model=models[0], tools=toolbox, timeout=30)


async def test_a_turn_with_a_tool_over_the_wire(server: OpenAIServer, subject: Subject) -> None:
    outputs = await collect(agent(subject, "openai/tools").run(Turn("Time?", "s", "p"), FakeContext(subject.clock)))
    assert "".join(o.content for o in outputs if isinstance(o, TextOutput)).startswith("The tool says: Friday 2027-01")
    assert [message["role"] for message in server.requests[-1]["messages"]] == ["user", "assistant", "tool"]


async def test_F64_silence_before_the_first_word_is_tried_again(server: OpenAIServer, subject: Subject) -> None:
    server.script(Script([Stall()]), text("second", " try"))
    one = agent(subject, "openai/echo", retries=1)
    turn = asyncio.ensure_future(collect(one.run(Turn("x", "s", "p"), FakeContext(subject.clock))))
    await until(lambda: len(server.requests) == 1 and subject.clock.waiting > 0, _real_turn)
    await subject.clock.advance(30)
    await until(lambda: server.dropped == 1, _real_turn)
    await subject.clock.advance(1)
    assert "".join(o.content for o in await turn if isinstance(o, TextOutput)) == "second try"
    assert len(server.requests) == 2


async def test_F64_silence_after_text_is_told_and_not_tried_again(server: OpenAIServer, subject: Subject) -> None:
    outputs: list[object] = []

    async def run() -> None:
        async for output in agent(subject, "openai/stall-mid", retries=3).run(Turn("x", "s", "p"), context):
            outputs.append(output)

    context = FakeContext(subject.clock)
    turn = asyncio.ensure_future(run())
    await until(lambda: bool(outputs), _real_turn)
    await subject.clock.advance(30)
    with pytest.raises(AgentFailed, match="broke off"):
        await turn
    assert outputs == [TextOutput("Hello")]
    assert len(server.requests) == 1


async def test_F65_the_fallback_model_answers_when_the_first_is_down(subject: Subject) -> None:
    chain = agent(subject, "openai/overloaded", "openai/echo")
    outputs = await collect(chain.run(Turn("hi there", "s", "p"), FakeContext(subject.clock)))
    assert "".join(o.content for o in outputs if isinstance(o, TextOutput)) == "hi there"


async def test_F66_half_a_tool_call_is_never_run(server: OpenAIServer, subject: Subject) -> None:
    one = agent(subject, "openai/cut-tool-call")
    with pytest.raises(AgentFailed):
        await collect(one.run(Turn("x", "s", "p"), FakeContext(subject.clock)))
    other = agent(subject, "openai/echo")
    server.script(tool_call("current_time", '{"timezone": "Eu'), text("sorry"))
    outputs = await collect(other.run(Turn("x", "s", "p"), FakeContext(subject.clock)))
    results = [output for output in outputs if isinstance(output, ToolCompleted)]
    assert [result.is_error for result in results] == [True]
    assert server.requests[-1]["messages"][-2]["tool_calls"][0]["function"]["arguments"] == "{}"


async def test_litellm_is_quiet_and_its_server_side_stays_out(
    subject: Subject, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        with pytest.raises(ModelRefused):
            await ask(subject, "unauthorized")
    assert caplog.records == []
    assert all(not logging.getLogger(name).handlers for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"))
    # Some small modules of the package come with `import litellm` itself; the server must not.
    assert "litellm.proxy.proxy_server" not in sys.modules

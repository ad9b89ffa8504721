"""What the offline models say."""

import json

import pytest

from gatewayd.providers.base import (
    ChatMessage,
    Delta,
    Finished,
    FinishReason,
    ModelRefused,
    ModelTruncated,
    ModelUnavailable,
    Prompt,
    Role,
    Text,
    ToolCall,
    ToolCallPiece,
)
from gatewayd.providers.offline import OfflineProvider, known_model
from gatewayd.testing.fakes import FakeClock, collect
from gatewayd.testing.provider_contract import CURRENT_TIME


def user(*texts: str) -> tuple[ChatMessage, ...]:
    return tuple(ChatMessage(Role.USER, text) for text in texts)


async def ask(model: str, *texts: str, clock: FakeClock | None = None, **fields: object) -> list[Delta]:
    clock = clock or FakeClock()
    prompt = Prompt(f"offline/{model}", user(*texts), **fields)  # type: ignore[arg-type]
    return await clock.run(collect(OfflineProvider(clock).stream(prompt)))


def said(deltas: list[Delta]) -> str:
    return "".join(delta.content for delta in deltas if isinstance(delta, Text))


@pytest.mark.parametrize("text", ["hello there", "  two  spaces\nand a line ", "ümlaut 😀", " ", ""])
async def test_echo_gives_back_exactly_what_was_said(text: str) -> None:
    assert said(await ask("echo", text)) == text


async def test_count_streams_numbers() -> None:
    deltas = await ask("count", "count to 5 please")
    assert said(deltas) == "1 2 3 4 5"
    assert sum(isinstance(delta, Text) for delta in deltas) == 5
    assert said(await ask("count", "just count")).endswith(" 10")


async def test_slow_pauses_before_each_word() -> None:
    clock = FakeClock()
    assert said(await ask("slow", "3s hello there", clock=clock)) == "hello there"
    assert clock.monotonic() == 6
    await ask("slow", "250ms a b c d", clock=clock)
    assert clock.monotonic() == 7


async def test_fail_fails_as_it_is_told() -> None:
    for text, verdict in (
        ("be unavailable", ModelUnavailable),
        ("refused", ModelRefused),
        ("truncated", ModelTruncated),
    ):
        with pytest.raises(verdict):
            await ask("fail", text)


async def test_a_limit_on_tokens_cuts_the_answer() -> None:
    deltas = await ask("echo", "one two three", max_tokens=2)
    assert said(deltas) == "one two "
    assert isinstance(deltas[-1], Finished)
    assert deltas[-1].reason is FinishReason.LENGTH


def test_a_wrong_name_is_told_with_the_right_ones() -> None:
    assert known_model("offline/echo") is None
    assert known_model("openai/gpt-4o") is None
    assert "offline/assistant" in (known_model("offline/assitant") or "")


async def test_the_assistant_counts_the_turns_of_the_conversation() -> None:
    assert (
        said(await ask("assistant", "a", "b", "blue")) == "You said: “blue”. That was message 3 of this conversation."
    )
    assert "2 messages" in said(await ask("assistant", "x", "how many messages have I sent?"))


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("what time is it?", {}),
        ("What's the time in Asia/Tokyo?", {"timezone": "Asia/Tokyo"}),
        ("tell me the current time", {}),
        ("what is today's date", {}),
    ],
)
async def test_the_assistant_asks_a_tool_for_the_time(text: str, arguments: dict[str, str]) -> None:
    deltas = await ask("assistant", text, tools=(CURRENT_TIME,))
    pieces = [delta for delta in deltas if isinstance(delta, ToolCallPiece)]
    assert json.loads("".join(piece.arguments for piece in pieces)) == arguments
    assert pieces[0].name == "current_time"


async def test_the_assistant_does_without_a_tool_that_it_was_not_given() -> None:
    assert "no tool" in said(await ask("assistant", "what time is it?"))
    assert "no tool" in said(await ask("assistant", "what time is it?", tools=(CURRENT_TIME,), tool_choice="none"))


async def test_the_assistant_tells_what_the_tool_said() -> None:
    call = ToolCall("c", "current_time", "{}")
    messages = (
        *user("time?"),
        ChatMessage(Role.ASSISTANT, "", (call,)),
        ChatMessage(Role.TOOL, "noon", tool_call_id="c"),
    )
    stream = OfflineProvider(FakeClock()).stream(Prompt("offline/assistant", messages))
    assert said(await collect(stream)) == "It is noon."


async def test_the_assistant_calls_what_it_is_told_to_call() -> None:
    deltas = await ask("assistant", 'call rm_rf {"path": "/"}', tools=(CURRENT_TIME,))
    pieces = [delta for delta in deltas if isinstance(delta, ToolCallPiece)]
    assert (pieces[0].name, "".join(piece.arguments for piece in pieces)) == ("rm_rf", '{"path": "/"}')

"""What every model provider promises, as tests. A provider's own test class derives from this and says how its

backend is made to behave:

    class TestMine(ProviderContract):
        @pytest.fixture
        async def subject(self): ...  # yields a `Subject`

The promises are those of `gatewayd.providers.base`.
"""

import asyncio
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import pytest

from gatewayd.core.value import value
from gatewayd.providers.base import (
    ChatMessage,
    Delta,
    Finished,
    FinishReason,
    LLMProvider,
    ModelError,
    ModelRefused,
    ModelTruncated,
    ModelUnavailable,
    Prompt,
    Role,
    Text,
    ToolCallPiece,
    ToolSchema,
)
from gatewayd.testing.fakes import FakeClock, collect, until

CURRENT_TIME = ToolSchema(
    "current_time", "Tell the time.", {"type": "object", "properties": {"timezone": {"type": "string"}}}
)


@value(frozen=True, slots=True)
class Ask:
    """How to make the backend behave: the model to name, and what to say to it."""

    model: str
    text: str


@value(frozen=True, slots=True)
class Subject:
    """A loaded provider, its clock, and the behaviours of its backend by name.

    `echo` (answers "one two three" with exactly that), `tool` (calls `current_time` with an object), `unavailable`,
    `refused`, `truncated` (after some text), `silent` (never begins), `stalled` (some text, then nothing).
    A behaviour that a backend cannot show is left out, and its tests are skipped.
    """

    provider: LLMProvider
    clock: FakeClock
    behaviours: Mapping[str, Ask]
    settings: Mapping[str, Any]
    """Further fields of the prompt, such as `base_url`."""

    def prompt(self, behaviour: str, **fields: Any) -> Prompt:
        if behaviour not in self.behaviours:
            pytest.skip(f"this backend cannot be made {behaviour!r}")
        ask = self.behaviours[behaviour]
        messages = (ChatMessage(Role.SYSTEM, "Be brief."), ChatMessage(Role.USER, ask.text))
        return Prompt(**{"model": ask.model, "messages": messages, **self.settings, **fields})


class Taken:
    """Reads a stream in a task, so that a test can look while it runs."""

    def __init__(self, subject: Subject, prompt: Prompt) -> None:
        self.deltas: list[Delta] = []
        self.task = asyncio.ensure_future(self._read(subject, prompt))

    async def _read(self, subject: Subject, prompt: Prompt) -> None:
        async for delta in subject.provider.stream(prompt):
            self.deltas.append(delta)

    @property
    def text(self) -> str:
        return "".join(delta.content for delta in self.deltas if isinstance(delta, Text))


async def _real_turn() -> None:
    # The backend may be behind a socket, where virtual time does not help.
    await asyncio.sleep(0.001)


class ProviderContract:
    """Derive, and give the fixture `subject`."""

    async def test_a_stream_is_text_and_then_finished(self, subject: Subject) -> None:
        deltas = await collect(subject.provider.stream(subject.prompt("echo")))
        assert "".join(delta.content for delta in deltas if isinstance(delta, Text)) == "one two three"
        assert isinstance(deltas[-1], Finished)
        assert deltas[-1].reason is FinishReason.STOP
        assert sum(isinstance(delta, Finished) for delta in deltas) == 1
        assert sum(isinstance(delta, Text) for delta in deltas) > 1, "it does not stream"

    async def test_the_pieces_of_a_tool_call_add_up(self, subject: Subject) -> None:
        prompt = subject.prompt("tool", tools=(CURRENT_TIME,))
        deltas = await collect(subject.provider.stream(prompt))
        pieces = [delta for delta in deltas if isinstance(delta, ToolCallPiece)]
        assert {piece.index for piece in pieces} == {0}
        assert "".join(piece.name for piece in pieces) == "current_time"
        assert "".join(piece.id for piece in pieces)
        assert "".join(piece.arguments for piece in pieces).startswith("{")
        assert deltas[-1] == Finished(FinishReason.TOOL_CALLS, getattr(deltas[-1], "usage", None))  # type: ignore[arg-type]

    async def test_a_model_that_is_away_is_unavailable(self, subject: Subject) -> None:
        with pytest.raises(ModelUnavailable):
            await collect(subject.provider.stream(subject.prompt("unavailable")))

    async def test_a_refusal_is_told_from_an_outage(self, subject: Subject) -> None:
        with pytest.raises(ModelRefused):
            await collect(subject.provider.stream(subject.prompt("refused")))

    async def test_a_stream_that_breaks_off_is_an_error_after_its_text(self, subject: Subject) -> None:
        taken = Taken(subject, subject.prompt("truncated"))
        with pytest.raises(ModelTruncated):
            await taken.task
        assert taken.text
        assert not any(isinstance(delta, Finished) for delta in taken.deltas)

    async def test_silence_before_the_first_delta_ends_at_the_deadline(self, subject: Subject) -> None:
        taken = Taken(subject, subject.prompt("silent", timeout=30.0))
        await until(lambda: subject.clock.waiting > 0, _real_turn)
        await subject.clock.advance(29)
        assert not taken.task.done()
        await subject.clock.advance(1)
        with pytest.raises(ModelUnavailable):
            await taken.task
        assert subject.clock.waiting == 0

    async def test_silence_after_text_ends_at_the_deadline_and_is_no_answer(self, subject: Subject) -> None:
        taken = Taken(subject, subject.prompt("stalled", timeout=30.0))
        await until(lambda: bool(taken.text), _real_turn)
        await subject.clock.advance(30)
        with pytest.raises(ModelTruncated):
            await taken.task

    async def test_cancelling_passes(self, subject: Subject) -> None:
        taken = Taken(subject, subject.prompt("stalled"))
        await until(lambda: bool(taken.text), _real_turn)
        taken.task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await taken.task
        assert subject.clock.waiting == 0

    async def test_a_stream_may_be_left_in_the_middle_and_the_next_one_works(self, subject: Subject) -> None:
        stream = subject.provider.stream(subject.prompt("echo"))
        async with aclosing(stream):  # type: ignore[type-var]
            await anext(stream)
        assert isinstance((await collect(subject.provider.stream(subject.prompt("echo"))))[-1], Finished)

    async def test_streams_run_side_by_side(self, subject: Subject) -> None:
        taken = [Taken(subject, subject.prompt("echo")) for _ in range(10)]
        await asyncio.gather(*(each.task for each in taken))
        assert {each.text for each in taken} == {"one two three"}

    async def test_errors_hold_no_key_and_no_message_text(self, subject: Subject) -> None:
        for behaviour in ("unavailable", "refused", "truncated"):
            if behaviour in subject.behaviours:
                prompt = subject.prompt(behaviour)
                with pytest.raises(ModelError) as caught:
                    await collect(subject.provider.stream(prompt))
                assert "s3cr3t" not in str(caught.value)
                assert prompt.messages[0].content not in str(caught.value)

    async def test_loading_and_closing_twice_is_harmless(self, subject: Subject) -> None:
        await subject.provider.load()
        await subject.provider.close()
        await subject.provider.close()

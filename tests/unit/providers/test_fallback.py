"""Which model is asked when, and what is said when none answers."""

import asyncio
from contextlib import aclosing

import pytest

from gatewayd.core.secret import Secret
from gatewayd.providers.base import (
    Delta,
    Finished,
    FinishReason,
    ModelError,
    ModelRefused,
    ModelTruncated,
    ModelUnavailable,
    Prompt,
    Reasoning,
    Text,
    ToolCallPiece,
)
from gatewayd.providers.breaker import FAILURES, Breakers, BreakerState
from gatewayd.providers.fallback import FallbackProvider, Target
from gatewayd.testing.fakes import EvenRandomness, FakeClock, Pause, ScriptedProvider, calls, collect, says

PROMPT = Prompt("", ())
DOWN = [ModelUnavailable("down")]


class Rig:
    def __init__(self, models: int = 2, retries: int = 2) -> None:
        self.clock = FakeClock()
        self.breakers = Breakers(self.clock)
        self.providers = [ScriptedProvider(clock=self.clock) for _ in range(models)]
        targets = [
            Target(provider, f"m{number}", f"http://{number}", Secret(f"k{number}"))
            for number, provider in enumerate(self.providers)
        ]
        self.chain = FallbackProvider(
            targets, breakers=self.breakers, clock=self.clock, randomness=EvenRandomness(), retries=retries
        )

    async def ask(self) -> list[Delta]:
        return await self.clock.run(collect(self.chain.stream(PROMPT)))

    def tries(self) -> list[int]:
        return [len(provider.prompts) for provider in self.providers]


def said(deltas: list[Delta]) -> str:
    return "".join(delta.content for delta in deltas if isinstance(delta, Text))


async def test_the_first_model_answers_with_its_own_address_and_key() -> None:
    rig = Rig()
    rig.providers[0].add(*says("a", "b"))
    assert said(await rig.ask()) == "ab"
    asked = rig.providers[0].prompts[0]
    assert (asked.model, asked.base_url, asked.api_key) == ("m0", "http://0", Secret("k0"))
    assert rig.tries() == [1, 0]


async def test_F65_it_is_tried_again_with_growing_pauses_and_then_the_next_is() -> None:
    rig = Rig()
    for _ in range(3):
        rig.providers[0].add(*DOWN)
    rig.providers[1].add(*says("b"))
    assert said(await rig.ask()) == "b"
    assert rig.tries() == [3, 1]
    assert rig.clock.monotonic() == 0.5 + 1.0


async def test_a_refusal_is_not_repeated_and_no_fault_of_the_server() -> None:
    rig = Rig()
    rig.providers[0].add(ModelRefused("too long"))
    rig.providers[1].add(*says("b"))
    assert said(await rig.ask()) == "b"
    assert rig.tries() == [1, 1]
    assert rig.breakers.get("m0", "http://0").stats().failures == 0


async def test_F64_nothing_is_tried_after_text() -> None:
    rig = Rig()
    rig.providers[0].add(Text("half"), ModelTruncated("cut"))
    with pytest.raises(ModelTruncated):
        await rig.ask()
    assert rig.tries() == [1, 0]


async def test_reasoning_and_pieces_of_calls_are_not_text() -> None:
    rig = Rig(models=1)
    rig.providers[0].add(Reasoning("hm"), ToolCallPiece(0, "1", "lost"), ModelTruncated("cut"))
    rig.providers[0].add(*calls("kept"))
    deltas = await rig.ask()
    assert [delta.name for delta in deltas if isinstance(delta, ToolCallPiece)] == ["kept"]
    assert isinstance(deltas[-1], Finished)
    assert deltas[-1].reason is FinishReason.TOOL_CALLS


async def test_F65_the_server_says_how_long_to_wait() -> None:
    rig = Rig(models=1)
    rig.providers[0].add(ModelUnavailable("429", retry_after=10))
    rig.providers[0].add(*says("a"))
    await rig.ask()
    assert rig.clock.monotonic() == pytest.approx(10.5)


async def test_F65_a_wait_that_is_too_long_goes_to_the_next_model_at_once() -> None:
    rig = Rig()
    rig.providers[0].add(ModelUnavailable("429", retry_after=600))
    rig.providers[1].add(*says("b"))
    await rig.ask()
    assert rig.tries() == [1, 1]
    assert rig.clock.monotonic() == 0


@pytest.mark.parametrize(
    ("first", "second", "verdict"),
    [
        (ModelRefused("r"), ModelRefused("s"), ModelRefused),
        (ModelRefused("r"), ModelUnavailable("u"), ModelUnavailable),
        (ModelTruncated("t"), ModelRefused("r"), ModelUnavailable),
    ],
)
async def test_the_last_word_names_every_model(
    first: ModelError, second: ModelError, verdict: type[ModelError]
) -> None:
    rig = Rig(retries=0)
    rig.providers[0].add(first)
    rig.providers[1].add(second)
    with pytest.raises(verdict, match=rf"m0: {first}; m1: {second}"):
        await rig.ask()


async def test_F65_a_model_that_keeps_failing_is_left_alone_and_asked_again_later() -> None:
    rig = Rig(retries=0)
    for _ in range(FAILURES):
        rig.providers[0].add(*DOWN)
    for _ in range(FAILURES + 1):
        rig.providers[1].add(*says("b"))
        assert said(await rig.ask()) == "b"
    assert rig.tries() == [FAILURES, FAILURES + 1]
    await rig.clock.advance(31)
    rig.providers[0].add(*says("a"))
    assert said(await rig.ask()) == "a"
    assert rig.breakers.get("m0", "http://0").state is BreakerState.CLOSED


async def test_F65_when_all_rest_the_answer_is_at_once_and_says_so() -> None:
    rig = Rig(models=1, retries=0)
    for _ in range(FAILURES):
        rig.providers[0].add(*DOWN)
        with pytest.raises(ModelUnavailable):
            await rig.ask()
    with pytest.raises(ModelUnavailable, match="rests for another 30 s") as caught:
        await rig.ask()
    assert caught.value.retry_after == 30
    assert rig.tries() == [FAILURES]


async def test_cancelling_closes_the_stream_and_is_nobodys_failure() -> None:
    rig = Rig(models=1)
    rig.providers[0].add(Text("a"), Pause(100))
    task = asyncio.ensure_future(collect(rig.chain.stream(PROMPT)))
    await rig.clock.settle()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert rig.providers[0].open_streams == 0
    assert rig.breakers.get("m0", "http://0").stats().failures == 0
    assert rig.clock.waiting == 0


async def test_leaving_in_the_middle_closes_the_stream() -> None:
    rig = Rig(models=1)
    rig.providers[0].add(*says("a", "b"))
    async with aclosing(rig.chain.stream(PROMPT)) as deltas:  # type: ignore[type-var]
        await anext(deltas)
        assert rig.providers[0].open_streams == 1
    assert rig.providers[0].open_streams == 0

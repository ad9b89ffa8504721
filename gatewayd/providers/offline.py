"""Models that are answered inside the daemon, without a network or an account.

They exist so that the whole gateway can be tried and tested at once: deterministic, streaming word by word, able to
call tools. `offline/slow` and `offline/fail` show what a slow and a failing model do to a gateway.
"""

import re
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing

from gatewayd.core.clock import Clock
from gatewayd.providers import assistant
from gatewayd.providers.base import (
    Delta,
    Finished,
    FinishReason,
    ModelRefused,
    ModelTruncated,
    ModelUnavailable,
    Prompt,
    Role,
    Text,
    Usage,
)
from gatewayd.providers.bounds import bounded

PREFIX = "offline/"
MAX_COUNT = 100_000
"""The highest number that `offline/count` counts to."""
MAX_PAUSE = 3600.0
"""The longest pause between two words of `offline/slow`, in seconds."""

_WORD = re.compile(r"\s*\S+\s*")
_NUMBER = re.compile(r"\d{1,9}")
_PAUSE = re.compile(r"\s*(\d{1,9}(?:\.\d{1,3})?)(ms|s)\s+")


class OfflineProvider:
    """Answers every model named `offline/…`."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    async def load(self) -> None:
        return None

    def stream(self, prompt: Prompt) -> AsyncIterator[Delta]:
        return bounded(self._answer(prompt), clock=self._clock, timeout=prompt.timeout)

    async def close(self) -> None:
        return None

    async def _answer(self, prompt: Prompt) -> AsyncGenerator[Delta, None]:
        problem = known_model(prompt.model)
        if problem is not None:
            raise ModelRefused(problem)
        async with aclosing(_MODELS[prompt.model.removeprefix(PREFIX)](prompt, self._clock)) as deltas:
            written = 0
            async for delta in deltas:
                if isinstance(delta, Finished):
                    read = len(" ".join([message.content for message in prompt.messages]).split())
                    yield Finished(delta.reason, Usage(read, written))
                    return
                written += 1
                if prompt.max_tokens is not None and written > prompt.max_tokens:
                    yield Finished(FinishReason.LENGTH, Usage(0, written))
                    return
                yield delta


def names() -> frozenset[str]:
    """The models inside the daemon, as agents name them."""
    return frozenset(PREFIX + name for name in _MODELS)


def known_model(model: str) -> str | None:
    """What is wrong with the name of an `offline/` model; None when nothing is, and for other providers' models."""
    if not model.startswith(PREFIX) or model.removeprefix(PREFIX) in _MODELS:
        return None
    return f"there is no model {model!r}; the models inside the daemon are " + ", ".join(
        PREFIX + name for name in _MODELS
    )


def _words(text: str) -> Iterator[Text]:
    """The text word by word, its spaces kept, so that the pieces add up to it exactly."""
    found = _WORD.findall(text)
    if not found and text:
        found = [text]
    return (Text(word) for word in found)


def _user_text(prompt: Prompt) -> str:
    return next((message.content for message in reversed(prompt.messages) if message.role is Role.USER), "")


async def _assistant(prompt: Prompt, clock: Clock) -> AsyncGenerator[Delta, None]:
    answer = assistant.answer(prompt)
    if isinstance(answer, str):
        for word in _words(answer):
            yield word
            await clock.sleep(0)
        yield Finished(FinishReason.STOP)
        return
    for piece in answer:
        yield piece
    yield Finished(FinishReason.TOOL_CALLS)


async def _echo(prompt: Prompt, clock: Clock) -> AsyncGenerator[Delta, None]:
    for word in _words(_user_text(prompt)):
        yield word
        await clock.sleep(0)
    yield Finished(FinishReason.STOP)


async def _count(prompt: Prompt, clock: Clock) -> AsyncGenerator[Delta, None]:
    number = _NUMBER.search(_user_text(prompt))
    last = min(int(number[0]) if number else 10, MAX_COUNT)
    for step in range(1, last + 1):
        yield Text(str(step) if step == 1 else f" {step}")
        await clock.sleep(0)
    yield Finished(FinishReason.STOP)


async def _slow(prompt: Prompt, clock: Clock) -> AsyncGenerator[Delta, None]:
    """`3s hello there` waits three seconds before each word; without a number it is one second."""
    text = _user_text(prompt)
    pause = 1.0
    if match := _PAUSE.match(text):
        pause = min(float(match[1]) * (0.001 if match[2] == "ms" else 1.0), MAX_PAUSE)
        text = text[match.end() :]
    for word in _words(text):
        await clock.sleep(pause)
        yield word
    yield Finished(FinishReason.STOP)


async def _fail(prompt: Prompt, clock: Clock) -> AsyncGenerator[Delta, None]:
    """Fails as the text says: `refused`, `truncated` (after a few words), anything else as `unavailable`."""
    text = _user_text(prompt)
    await clock.sleep(0)
    if "refused" in text:
        raise ModelRefused("offline/fail refuses, as it was told to")
    if "truncated" in text:
        for word in _words("This answer breaks off "):
            yield word
        raise ModelTruncated("offline/fail broke off, as it was told to")
    raise ModelUnavailable("offline/fail is not available, as it was told to")


_MODELS: dict[str, Callable[[Prompt, Clock], AsyncGenerator[Delta, None]]] = {
    "assistant": _assistant,
    "echo": _echo,
    "count": _count,
    "slow": _slow,
    "fail": _fail,
}

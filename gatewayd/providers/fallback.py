"""A chain of models: retries with back-off, then the next model, as long as no text was put out.

Once a reader has seen text, another try would say it twice, so a failure ends the stream. Pieces of tool calls are
held back until `Finished` (nobody may act on them sooner), so a stream that breaks off in them can still be retried.
Everything is bounded: tries per model, each wait, the number of models.
"""

import logging
from collections.abc import AsyncIterator, Sequence
from typing import Final

from gatewayd.core.clock import Clock, Randomness, jittered
from gatewayd.core.secret import Secret
from gatewayd.core.value import value
from gatewayd.providers.base import (
    Delta,
    Finished,
    LLMProvider,
    ModelError,
    ModelRefused,
    ModelUnavailable,
    Prompt,
    Text,
    ToolCallPiece,
)
from gatewayd.providers.bounds import closing
from gatewayd.providers.breaker import Breaker, Breakers

FIRST_DELAY: Final = 0.5
"""Seconds before the first retry of a model; each further one waits twice as long."""
LONGEST_DELAY: Final = 8.0
"""Seconds of the longest back-off of our own."""
LONGEST_RETRY_AFTER: Final = 20.0
"""Seconds that a provider may ask to wait; for a longer wait the chain goes to the next model at once."""

_log = logging.getLogger(__name__)


@value(frozen=True, slots=True)
class Target:
    """One model and how to reach it."""

    provider: LLMProvider
    model: str
    base_url: str = ""
    api_key: Secret | None = None


class FallbackProvider:
    """An `LLMProvider` over several; the prompt's own model, address and key are replaced by each target's."""

    def __init__(
        self, targets: Sequence[Target], *, breakers: Breakers, clock: Clock, randomness: Randomness, retries: int
    ) -> None:
        self._targets = tuple(targets)
        self._breakers = breakers
        self._clock = clock
        self._randomness = randomness
        self._retries = retries

    async def load(self) -> None:
        for target in self._targets:
            await target.provider.load()

    async def close(self) -> None:
        """Nothing: the providers belong to whoever made them."""

    async def stream(self, prompt: Prompt) -> AsyncIterator[Delta]:
        """In one generator: each piece of text passes all that lies between a model and its reader."""
        failures: list[tuple[str, ModelError]] = []
        shown = False
        for target in self._targets:
            request = _request(prompt, target)
            breaker = self._breakers.get(target.model, target.base_url)
            attempt = 0
            while True:
                held: list[ToolCallPiece] = []
                try:
                    with _Trial(breaker) as trial:
                        async with closing(target.provider.stream(request)) as deltas:
                            async for delta in deltas:
                                if isinstance(delta, ToolCallPiece):
                                    held.append(delta)
                                    continue
                                if isinstance(delta, Finished):
                                    trial.finished = True
                                    for piece in held:
                                        yield piece
                                shown = shown or isinstance(delta, Text)
                                yield delta
                    return
                except ModelError as error:
                    if shown:
                        _tell(target, attempt, error, None)
                        raise
                    delay = self._pause(target, breaker, attempt, error)
                    if delay is None:
                        failures.append((target.model, error))
                        break
                attempt += 1
                await self._clock.sleep(delay)
        raise _summary(failures)

    def _pause(self, target: Target, breaker: Breaker, attempt: int, error: ModelError) -> float | None:
        """Seconds to wait before this model is tried again; None when the next one is asked."""
        if isinstance(error, _Resting):
            return None
        delay = self._delay(attempt, error)
        _tell(target, attempt, error, delay)
        return delay if breaker.retry_in <= 0 else None

    def _delay(self, attempt: int, error: ModelError) -> float | None:
        """Seconds to wait before this model is tried again; None when it is not."""
        if attempt >= self._retries or isinstance(error, ModelRefused):
            return None
        delay = jittered(min(FIRST_DELAY * 2**attempt, LONGEST_DELAY), self._randomness)
        wanted = error.retry_after if isinstance(error, ModelUnavailable) else None
        if wanted is None:
            return delay
        # A little over what was asked: a waiter that comes early is told to wait again.
        return None if wanted > LONGEST_RETRY_AFTER else max(delay, wanted * self._randomness.uniform(1.0, 1.1))


def _request(prompt: Prompt, target: Target) -> Prompt:
    """The prompt for that target; by hand, because `replace` takes five times as long."""
    return Prompt(
        target.model,
        prompt.messages,
        prompt.tools,
        prompt.tool_choice,
        prompt.temperature,
        prompt.max_tokens,
        target.base_url,
        target.api_key,
        prompt.timeout,
    )


class _Resting(ModelUnavailable):
    """The model was not asked."""


class _Trial:
    """One try, and what the breaker is told of it, whatever happens. `_Resting` where it admits none."""

    __slots__ = ("_breaker", "finished")

    def __init__(self, breaker: Breaker) -> None:
        self._breaker = breaker
        self.finished = False

    def __enter__(self) -> "_Trial":
        if not self._breaker.admit():
            rest = self._breaker.retry_in
            raise _Resting(f"failed too often and rests for another {rest:.0f} s", retry_after=rest)
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if isinstance(error, ModelError) and not isinstance(error, ModelRefused):
            self._breaker.failed(getattr(error, "retry_after", None))
        elif isinstance(error, ModelRefused) or self.finished:
            self._breaker.succeeded()
        else:
            self._breaker.abandoned()


def _tell(target: Target, attempt: int, error: ModelError, delay: float | None) -> None:
    fields = {"model": target.model, "attempt": attempt + 1, "error": str(error), "retry_in": delay}
    _log.warning("model_failed", extra=fields)


def _summary(failures: Sequence[tuple[str, ModelError]]) -> ModelError:
    """The last word on a chain in which every model failed: what each of them said last."""
    text = "; ".join(f"{model}: {error}" for model, error in failures)
    if all(isinstance(error, ModelRefused) for _, error in failures):
        return ModelRefused(text)
    waits = [error.retry_after for _, error in failures if isinstance(error, ModelUnavailable) and error.retry_after]
    return ModelUnavailable(text, retry_after=min(waits, default=None))

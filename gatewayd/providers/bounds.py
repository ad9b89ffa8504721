"""Deadlines and sizes that hold for every model's stream, whatever its provider.

A provider wraps its raw stream in `bounded()`. What passes the bounds becomes a verdict: `ModelUnavailable` while no
text has come yet (another try may work), `ModelTruncated` once some has.
"""

from collections.abc import AsyncIterator
from typing import Generic, TypeVar

from gatewayd.core.clock import Clock
from gatewayd.providers.base import (
    Delta,
    Finished,
    ModelError,
    ModelTruncated,
    ModelUnavailable,
    Reasoning,
    Text,
    ToolCallPiece,
)

MAX_DELTA = 1024 * 1024
"""Longest piece of text, reasoning or tool arguments in one delta, in characters."""
MAX_STREAM = 4 * 1024 * 1024
"""Longest stream, all its deltas together, in characters."""
MAX_DELTAS = 1_000_000
"""Most deltas of a stream, so that one of empty deltas ends too."""

_T = TypeVar("_T")


class closing(Generic[_T]):  # noqa: N801 (read like `contextlib.aclosing`, which wants an `aclose`)
    """The stream, closed at the end of the block: leaving it in the middle ends the request to the model now."""

    __slots__ = ("_stream",)

    def __init__(self, stream: AsyncIterator[_T]) -> None:
        self._stream = stream

    async def __aenter__(self) -> AsyncIterator[_T]:
        return self._stream

    async def __aexit__(self, *_: object) -> None:
        close = getattr(self._stream, "aclose", None)
        if close is not None:
            await close()


async def bounded(stream: AsyncIterator[Delta], *, clock: Clock, timeout: float) -> AsyncIterator[Delta]:
    """The stream up to and with its `Finished`.

    `timeout` is the number of seconds that the first delta, and each one after another, may take.
    """
    shown, total, count = False, 0, 0
    async with closing(stream) as source:
        while True:
            try:
                async with clock.timeout(timeout):
                    delta = await anext(source, None)
            except TimeoutError:
                where = "went silent in mid-answer" if count else "did not begin to answer"
                raise _cut(shown, f"{where}: nothing within {timeout:g} s") from None
            if delta is None:
                raise _cut(shown, "ended the stream without saying that it was finished")
            count += 1
            size = _size(delta)
            total += size
            if size > MAX_DELTA:
                raise _cut(shown, f"sent one piece of more than {MAX_DELTA} characters")
            if total > MAX_STREAM or count > MAX_DELTAS:
                raise _cut(shown, f"sent more than {MAX_STREAM} characters or {MAX_DELTAS} pieces without an end")
            yield _storable(delta)
            if isinstance(delta, Finished):
                return
            shown = shown or isinstance(delta, Text)


def _cut(shown: bool, what: str) -> ModelError:
    return ModelTruncated(f"the model {what}") if shown else ModelUnavailable(f"the model {what}")


def _storable(delta: Delta) -> Delta:
    """The delta without halves of surrogate pairs, which JSON can spell and nothing can store or send."""
    if isinstance(delta, Text | Reasoning) and not delta.content.isascii():
        return type(delta)(delta.content.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    return delta


def _size(delta: Delta) -> int:
    if isinstance(delta, Finished):
        return 0
    if isinstance(delta, ToolCallPiece):
        return len(delta.id) + len(delta.name) + len(delta.arguments)
    return len(delta.content)

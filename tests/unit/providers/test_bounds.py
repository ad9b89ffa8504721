"""What no stream may do, whoever sends it."""

from collections.abc import AsyncIterator

import pytest

from gatewayd.providers.base import (
    Delta,
    Finished,
    FinishReason,
    ModelTruncated,
    ModelUnavailable,
    Reasoning,
    Text,
    ToolCallPiece,
)
from gatewayd.providers.bounds import MAX_DELTA, MAX_STREAM, bounded
from gatewayd.testing.fakes import FakeClock, collect

DONE = Finished(FinishReason.STOP)


async def give(*deltas: Delta, times: int = 1) -> AsyncIterator[Delta]:
    for _ in range(times):
        for delta in deltas:
            yield delta


async def read(stream: AsyncIterator[Delta]) -> list[Delta]:
    return await collect(bounded(stream, clock=FakeClock(), timeout=1))


async def test_a_stream_within_its_bounds_is_passed_on() -> None:
    deltas = (Reasoning("r"), Text("é"), ToolCallPiece(0, "i", "n", "{}"), DONE)
    assert await read(give(*deltas)) == list(deltas)


async def test_nothing_comes_after_finished() -> None:
    assert await read(give(DONE, Text("late"))) == [DONE]


@pytest.mark.parametrize("delta", [Text("x" * (MAX_DELTA + 1)), ToolCallPiece(0, arguments="x" * (MAX_DELTA + 1))])
async def test_F66_one_piece_has_a_bound(delta: Delta) -> None:
    with pytest.raises(ModelUnavailable):
        await read(give(delta, DONE))


async def test_F66_the_whole_has_a_bound() -> None:
    with pytest.raises(ModelTruncated):
        await read(give(Text("x" * MAX_DELTA), times=MAX_STREAM // MAX_DELTA + 1))


async def test_F66_a_stream_that_ends_without_finished_was_cut() -> None:
    with pytest.raises(ModelTruncated):
        await read(give(Text("half")))
    with pytest.raises(ModelUnavailable):
        await read(give())


async def test_F66_halves_of_surrogate_pairs_are_replaced_and_whole_ones_kept() -> None:
    deltas = await read(give(Text("a\ud800"), Text("\U0001f600"), Text("\ud83d\ude00"), DONE))
    assert [delta.content for delta in deltas if isinstance(delta, Text)] == ["a\ufffd", "\U0001f600", "\U0001f600"]

"""Seals: what is on disk must be readable by every later version."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.storage.sqlite.seal import seal, seal_event, size_of

VALUES = st.lists(st.text() | st.integers(-(1 << 62), 1 << 62) | st.floats(allow_nan=False), max_size=6)


def test_seals_are_those_of_the_first_release() -> None:
    # If this fails, every database in the world would be refused: the form of a seal is part of the file format.
    assert seal("x1", "", 3, 1_800_000_000.25, "é\x1f", 0.0) == 0xFBC6ACBE
    assert seal_event(7, "ann", 1_800_000_000.25, b"\x00wire") == 0x5964F694


@given(VALUES, st.integers(0, 5), st.text(min_size=1))
def test_another_value_has_another_seal(values: list[object], place: int, text: str) -> None:
    changed = [*values[:place], text, *values[place:]]
    assert seal(*values, "end") != seal(*changed, "end")


@pytest.mark.parametrize(("text", "size"), [("", 0), ("abc", 3), ("é", 2), ("😀", 4)])
def test_sizes_are_in_bytes(text: str, size: int) -> None:
    assert size_of(text) == size
    assert size_of(text, text) == 2 * size

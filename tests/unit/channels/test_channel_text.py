"""Text is cut where a reader would cut it, and nothing of it is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewayd.channels.graphemes import is_boundary
from gatewayd.channels.text import split

CLUSTERS = [
    "e\u0301",  # a letter and its mark
    "👨‍👩‍👧‍👦",  # a family joined by ZWJ
    "🇩🇪",
    "👍🏽",
    "❤️",
    "🏴\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f",
    "각",
    "\u1100\u1161\u11a8",
    "क्ष",
    "\r\n",
    "1️⃣",
]

plain = st.text(
    st.one_of(
        st.characters(codec="utf-8", exclude_characters="`~"),
        st.sampled_from([*" \n\n..!?", *CLUSTERS[1], *CLUSTERS[2], "\u0301"]),
    ),
    max_size=300,
)


@given(plain, st.integers(1, 60))
def test_pieces_are_the_text_without_the_white_space_at_the_cuts(text: str, limit: int) -> None:
    pieces = split(text, limit)

    place = 0
    for piece in pieces:
        assert 1 <= len(piece) <= limit
        assert piece.strip()
        found = text.index(piece, place)
        assert not text[place:found].strip()
        place = found + len(piece)
    assert not text[place:].strip()


@given(st.lists(st.sampled_from([*CLUSTERS, "a", " ", "\n", "x. "]), max_size=80), st.integers(12, 40))
def test_no_cut_falls_within_a_character(parts: list[str], limit: int) -> None:
    text = "".join(parts)

    place = 0
    for piece in split(text, limit):
        start = text.index(piece, place)
        place = start + len(piece)
        assert is_boundary(text, start)
        assert is_boundary(text, place) or text[place:].startswith("\n")


@pytest.mark.parametrize("cluster", CLUSTERS)
def test_a_character_of_several_code_points_has_no_boundary_inside(cluster: str) -> None:
    assert not any(is_boundary(cluster, place) for place in range(1, len(cluster)))


def test_flags_are_cut_in_pairs() -> None:
    assert split("🇩🇪🇫🇷🇮🇹", 3) == ["🇩🇪", "🇫🇷", "🇮🇹"]


def test_a_character_longer_than_the_limit_is_cut_all_the_same() -> None:
    pieces = split("a" + "\u0301" * 50, 20)

    assert "".join(pieces) == "a" + "\u0301" * 50
    assert all(len(piece) <= 20 for piece in pieces)


@pytest.mark.parametrize(
    ("text", "limit", "pieces"),
    [
        ("one two three", 100, ["one two three"]),
        ("first one\n\nsecond one", 15, ["first one", "second one"]),
        ("a line here\nanother line", 15, ["a line here", "another line"]),
        ("One is. Two is here.", 13, ["One is.", "Two is here."]),
        ("alpha beta gamma", 11, ["alpha beta", "gamma"]),
        ("abcdefghij", 4, ["abcd", "efgh", "ij"]),
        ("alpha beta", 5, ["alpha", "beta"]),
        ("", 5, []),
        (" \n\t ", 5, []),
        ("if x:\n    y()\n    z()\n", 14, ["if x:\n    y()", "    z()"]),
    ],
)
def test_the_nicest_cut_is_taken(text: str, limit: int, pieces: list[str]) -> None:
    assert split(text, limit) == pieces


def test_a_fence_is_closed_and_opened_again() -> None:
    code = "\n".join(f"print({n})" for n in range(20))
    pieces = split(f"Look:\n```python\n{code}\n```\nDone.", 60)

    assert len(pieces) > 2
    for piece in pieces:
        assert len(piece) <= 60
        assert piece.count("```") % 2 == 0
    lines = [line for piece in pieces for line in piece.split("\n") if not line.startswith("```")]
    assert lines == ["Look:", *code.split("\n"), "Done."]
    assert all("```python\n" in piece for piece in pieces if "print" in piece)


@given(
    st.lists(st.sampled_from(["some words here", "```", "```py", "    indented()", "x = 1", ""]), max_size=40),
    st.integers(24, 80),
)
def test_fences_stay_balanced_in_every_piece_but_the_last(lines: list[str], limit: int) -> None:
    pieces = split("\n".join(lines), limit)

    for piece in pieces:
        assert 1 <= len(piece) <= limit
    for piece in pieces[:-1]:
        assert fences_balanced(piece), pieces


def fences_balanced(piece: str) -> bool:
    opened = False
    for line in piece.split("\n"):
        if line == "```":
            opened = not opened
        elif line.startswith("```"):
            opened = True
    return not opened

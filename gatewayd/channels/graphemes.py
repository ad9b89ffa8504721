"""Where text may be cut: between the characters that people see, not between code points.

A conservative reading of UAX #29 (https://unicode.org/reports/tr29) with the standard library's tables alone: where
these say too little (which characters are emoji, which viramas join) more is kept together, never less.
"""

import unicodedata

_ZWJ = "\u200d"
_EMOJI_MODIFIERS = range(0x1F3FB, 0x1F400)
_TAGS = range(0xE0020, 0xE0080)
_REGIONAL = range(0x1F1E6, 0x1F200)
_HALFWIDTH_MARKS = range(0xFF9E, 0xFFA0)
_HANGUL_L = (range(0x1100, 0x1160), range(0xA960, 0xA97D))
_HANGUL_V = (range(0x1160, 0x11A8), range(0xD7B0, 0xD7C7))
_HANGUL_T = (range(0x11A8, 0x1200), range(0xD7CB, 0xD7FC))
_HANGUL_SYLLABLES = range(0xAC00, 0xD7A4)
_TRAILING_KINDS = 28
"""Syllables come in blocks of 28, the first of which (LV) has no trailing consonant yet."""
_PREPEND = frozenset("\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd") | {chr(n) for n in range(0x600, 0x606)}
_VIRAMA = 9
"""Canonical combining class of the marks that join two consonants."""


def is_boundary(text: str, place: int) -> bool:
    """Whether the text may be cut before the code point at `place`."""
    if place <= 0 or place >= len(text):
        return True
    left, right = text[place - 1], text[place]
    if left < "\u0300" and right < "\u0300":  # nearly all text, at once
        return not (left == "\r" and right == "\n")
    if _is_control(left) or _is_control(right):
        return True
    if _extends(right) or left == _ZWJ or left in _PREPEND:
        return False
    if unicodedata.combining(left) == _VIRAMA and unicodedata.category(right) == "Lo":
        return False
    if ord(left) in _REGIONAL and ord(right) in _REGIONAL:
        return _regional_run(text, place) % 2 == 0
    return not _hangul_joins(ord(left), ord(right))


def floor_boundary(text: str, place: int) -> int:
    """The last boundary at or before `place`."""
    while not is_boundary(text, place):
        place -= 1
    return max(0, place)


def _is_control(character: str) -> bool:
    if character in (_ZWJ, "\u200c") or ord(character) in _TAGS or character in _PREPEND:
        return False
    return unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp", "Cs")


def _extends(character: str) -> bool:
    """Marks, joiners, variation selectors (marks too), skin tones, tags: what belongs to the character before."""
    code = ord(character)
    return (
        unicodedata.category(character) in ("Mn", "Me", "Mc")
        or character in (_ZWJ, "\u200c")
        or code in _EMOJI_MODIFIERS
        or code in _TAGS
        or code in _HALFWIDTH_MARKS
    )


def _regional_run(text: str, place: int) -> int:
    """How many regional indicators stand before `place`: flags are pairs, counted from the left."""
    start = place
    while start > 0 and ord(text[start - 1]) in _REGIONAL:
        start -= 1
    return place - start


def _within(code: int, ranges: tuple[range, ...]) -> bool:
    return any(code in each for each in ranges)


def _hangul_joins(left: int, right: int) -> bool:
    syllable = left in _HANGUL_SYLLABLES
    open_syllable = syllable and (left - _HANGUL_SYLLABLES.start) % _TRAILING_KINDS == 0
    if _within(left, _HANGUL_L):
        return _within(right, _HANGUL_L) or _within(right, _HANGUL_V) or right in _HANGUL_SYLLABLES
    if _within(left, _HANGUL_V) or open_syllable:
        return _within(right, _HANGUL_V) or _within(right, _HANGUL_T)
    if _within(left, _HANGUL_T) or syllable:
        return _within(right, _HANGUL_T)
    return False

"""Cut text to a platform's limit, where a reader would cut it, with code fences valid in every piece.

A cut falls between paragraphs, else lines, sentences, words, and at the least between the characters that people
see. White space at a cut is dropped. What is inside a code fence is closed at the end of a piece and opened again in
the next one.
"""

import re

from gatewayd.channels.graphemes import floor_boundary, is_boundary

_MIN_FILL = 4
"""A nicer cut is taken only if the piece is at least a fourth full, so that a text does not fall into crumbs."""
_FENCE = re.compile(r"[ ]{0,3}(`{3,}|~{3,})[^\n]*")
_PARAGRAPH = re.compile(r"\n[^\S\n]*\n\s*")
_LINE = re.compile(r"\n")
_SENTENCE = re.compile(r"[.!?…]['\")\]»”’]*\s|[。！？]")
_WORD = re.compile(r"\s")
_BLANK_LINES = re.compile(r"(?:[^\S\n]*\n)+")
_SPACES = re.compile(r"[^\S\n]+")


def split(text: str, limit: int) -> list[str]:
    """The pieces in order, each of 1 to `limit` code points; none for text that is only white space."""
    if limit < 1:
        raise ValueError("the limit is at least one character")
    pieces: list[str] = []
    place, fence = _skip_blank(text, 0), ""
    while place < len(text):
        piece, place, fence = _next_piece(text, place, fence, limit)
        if piece:
            pieces.append(piece)
    return pieces


def _next_piece(text: str, start: int, fence: str, limit: int) -> tuple[str, int, str]:
    """One piece, where the text goes on, and the fence line that is open there ('' for none)."""
    prefix = f"{fence}\n" if fence and 4 * len(fence) < limit else ""
    if len(prefix) + len(text) - start <= limit:
        rest = text[start:].rstrip()
        closing = _closing(_fence_after(text, start, len(text), fence)) if prefix else ""
        if len(prefix) + len(rest) + len(closing) <= limit:
            return (prefix + rest + closing if rest else "", len(text), "")
    room = limit - len(prefix)
    cut = _find_cut(text, start, room)
    still_open = _fence_after(text, start, cut, fence)
    if still_open:
        # The close needs room of its own, and a fence line is neither cut nor left alone at a piece's end.
        cut = _find_cut(text, start, max(1, room - len(_closing(still_open))))
        cut = _before_fence_line(text, start, cut)
        still_open = _fence_after(text, start, cut, fence)
    body = text[start:cut].rstrip()
    closing = _closing(still_open)
    if not body:
        return "", _skip_blank(text, cut), still_open
    if len(prefix) + len(body) + len(closing) > limit:
        closing = ""
    return prefix + body + closing, _skip_blank(text, cut), still_open


def _find_cut(text: str, start: int, room: int) -> int:
    """The best place to cut at most `room` code points after `start`, and always after it."""
    end = start + room
    if end >= len(text):
        return len(text)
    for pattern, fill in ((_PARAGRAPH, _MIN_FILL), (_LINE, _MIN_FILL), (_SENTENCE, _MIN_FILL), (_WORD, room)):
        cut = _last_match(text, pattern, start + max(1, room // fill), end)
        if cut:
            return cut
    cut = floor_boundary(text, end)
    # One character made of more code points than a whole message holds: cut it, there is no better way.
    return cut if cut > start else end


def _last_match(text: str, pattern: re.Pattern[str], low: int, end: int) -> int:
    """The end of the last match that ends from `low` to `end` at a boundary; 0 when there is none."""
    # One more character is looked at: white space right after the room is a place to cut, too.
    found = 0
    for match in pattern.finditer(text, low, end + 1):
        cut = min(match.end(), end)
        if match.start() <= end and is_boundary(text, cut):
            found = cut
    return found


def _skip_blank(text: str, place: int) -> int:
    """Over the white space at a cut, but never over the indentation of the line that follows."""
    if place and text[place - 1] != "\n":
        place = _skipped(text, _SPACES, place)
    return _skipped(text, _BLANK_LINES, place) if text[place:].strip() else len(text)


def _skipped(text: str, pattern: re.Pattern[str], place: int) -> int:
    match = pattern.match(text, place)
    return match.end() if match and is_boundary(text, match.end()) else place


def _fence_after(text: str, start: int, end: int, fence: str) -> str:
    """The fence line that is open at `end`, given the one that is open at `start`."""
    for line in _lines(text, start, end):
        match = _FENCE.match(line)
        if match is None:
            continue
        if not fence:
            fence = line.strip()
        elif match[1].startswith(_marker(fence)) and line.strip() == match[1]:
            fence = ""
    return fence


def _lines(text: str, start: int, end: int) -> list[str]:
    lines = text[start:end].split("\n")
    # A piece that begins within a line has no fence there.
    return lines if start == 0 or text[start - 1] == "\n" else lines[1:]


def _marker(fence: str) -> str:
    match = _FENCE.match(fence)
    return match[1] if match else ""


def _closing(fence: str) -> str:
    return f"\n{_marker(fence)}" if fence else ""


def _before_fence_line(text: str, start: int, cut: int) -> int:
    """The cut, moved before a fence line that it would leave as the piece's last line or cut in two."""
    line_start = text.rfind("\n", start, len(text[:cut].rstrip())) + 1
    opens = line_start > start and _FENCE.match(text, line_start) is not None
    return line_start if opens else cut


__all__ = ["split"]

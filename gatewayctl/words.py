"""Figures and text in the form that people read."""

from __future__ import annotations

import math

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def span(seconds: float) -> str:
    """`3d 4h`, `12m 5s`, `0s`: the two largest units."""
    left = max(0, int(seconds))
    parts: list[str] = []
    for name, size in _UNITS:
        count, left = divmod(left, size)
        if count or parts:
            parts.append(f"{count}{name}")
        if len(parts) == 2:
            break
    return " ".join(part for part in parts if not part.startswith("0")) or "0s"


def delay(seconds: float) -> str:
    """`1 s`, `45 s`, `2 min`, `1 h 30 min`: how long to wait, rounded up so that waiting so long is enough."""
    whole = max(1, math.ceil(seconds - 0.001))
    if whole < 60:
        return f"{whole} s"
    hours, minutes = divmod(math.ceil(whole / 60), 60)
    return " ".join(part for part in (f"{hours} h" if hours else "", f"{minutes} min" if minutes else "") if part)


def age(time: str | float | None, now: float) -> str:
    """`5m ago` for a point in the past, `in 5m` for one to come; empty for none. ISO 8601, or epoch seconds."""
    if time is None or time == "":
        return ""
    seconds = now - epoch(time)
    return f"in {span(-seconds)}" if seconds <= -1 else f"{span(seconds)} ago"


def epoch(time: str | float) -> float:
    """Seconds since the Unix epoch."""
    if isinstance(time, str):
        from datetime import datetime  # noqa: PLC0415 - a cold start without it

        return datetime.fromisoformat(time).timestamp()
    return time


def size(count: int) -> str:
    """`1.5 KiB`."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024 or unit == "GiB":
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return str(count)


def plural(count: int, noun: str) -> str:
    """`1 event`, `2 events`."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def shorten(text: str, width: int) -> str:
    """One line of at most `width` characters."""
    line = " ".join(text.split())
    return line if len(line) <= width else f"{line[: width - 1]}…"


def printable(text: str, *, lines: bool = False) -> str:
    """Without what a terminal would obey. `lines` keeps line ends and tabs."""
    if text.isprintable():
        return text
    return "".join(each if each.isprintable() or (lines and each in "\n\t") else _escaped(each) for each in text)


def is_obeyed(char: str) -> bool:
    """Whether a terminal does something else with it than to show it: controls, and what turns a line's direction.

    Joiners and soft marks of real languages are "not printable" for Python, too, but harmless.
    """
    code = ord(char)
    return code < 0x20 or 0x7F <= code < 0xA0 or 0x202A <= code <= 0x202E or 0x2066 <= code <= 0x2069


def _escaped(char: str) -> str:
    code = ord(char)
    if is_obeyed(char):
        return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
    return "\\n" if char in "\u2028\u2029" else char

"""Pages of lists: sizes within bounds, and tokens that only the call which gave them out understands.

A token is a place in the list, sealed with the conditions of the call: with others it would skip or repeat rows, so it
is refused. It holds no secret and no right; what a caller may see is asked anew on every page.
"""

import base64
import binascii
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar
from zlib import crc32

from gatewayd.core.value import value
from gatewayd.wire.values import refuse

DEFAULT_SIZE = 100
MAX_SIZE = 1000
MAX_TOKEN = 2048
"""Characters of a page token."""
MAX_READS = 20
"""Reads of one call that looks for rows its caller may see; then the page ends early, with a token to go on."""

_WRONG = "is not one that this gateway gave out for this list with these conditions"
_T = TypeVar("_T")


def moment_place(seconds: float, row_id: str) -> str:
    """The place of a row in a list by time; exact, as `Page.moment` reads it."""
    return f"{seconds.hex()} {row_id}"


@value(frozen=True, slots=True)
class Page:
    """One page that is asked for."""

    size: int
    place: str
    """Where the page before ended; '' for the first."""
    seal: str

    @property
    def number(self) -> int:
        """The place as a whole number; 0 for the first page."""
        if self.place and not (self.place.isascii() and self.place.isdigit() and len(self.place) <= 18):
            raise refuse("page_token", _WRONG)
        return int(self.place or "0")

    @property
    def moment(self) -> tuple[float, str] | None:
        """The place as an instant and an id; None for the first page."""
        if not self.place:
            return None
        seconds, _, row_id = self.place.partition(" ")
        try:
            return float.fromhex(seconds), row_id
        except (ValueError, OverflowError):
            raise refuse("page_token", _WRONG) from None

    def next(self, place: str) -> str:
        """The token of the page after this one, which begins behind `place`."""
        return base64.urlsafe_b64encode(f"{self.seal}{place}".encode()).decode().rstrip("=")


def page_of(size: int, token: str, *conditions: object) -> Page:
    """Read `page_size` and `page_token`; `conditions` are the call's name and all that selects its rows."""
    if size < 0:
        raise refuse("page_size", "is negative")
    seal = f"{crc32(repr(conditions).encode()):08x}"
    return Page(min(size or DEFAULT_SIZE, MAX_SIZE), _place(token, seal) if token else "", seal)


def _place(token: str, seal: str) -> str:
    wrong = refuse("page_token", _WRONG)
    if len(token) > MAX_TOKEN or not token.isascii():
        raise wrong
    try:
        text = base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        raise wrong from None
    if not text.startswith(seal) or len(text) == len(seal):
        raise wrong
    return text[len(seal) :]


async def gather(
    read: Callable[[str, int], Awaitable[Sequence[_T]]],
    place_of: Callable[[_T], str],
    page: Page,
    keep: Callable[[_T], bool] = lambda _row: True,
) -> tuple[list[_T], str]:
    """The rows of one page and the next page's token ('' after the last).

    `read(place, limit)` gives rows behind a place in the order of the list; rows that are not kept do not count.
    """
    found: list[_T] = []
    place = page.place
    for _ in range(MAX_READS):
        rows = await read(place, page.size + 1)
        for row in rows:
            if keep(row):
                if len(found) == page.size:
                    return found, page.next(place)
                found.append(row)
            place = place_of(row)
        if len(rows) <= page.size:
            return found, ""
    return found, page.next(place)


def cut(rows: Sequence[_T], key: Callable[[_T], str], page: Page) -> tuple[list[_T], str]:
    """One page of a list that is in memory, in the order of its unique keys."""
    behind = sorted((row for row in rows if not page.place or key(row) > page.place), key=key)
    taken = behind[: page.size]
    return taken, page.next(key(taken[-1])) if len(behind) > len(taken) else ""

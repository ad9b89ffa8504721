"""Entry points that start each other: how far such a chain has come, carried by the correlation of its events.

What an event starts goes on with the event's correlation id, with the number of hops behind it: `ID~1`, `ID~2`, … So
the executions of a chain are found by what their correlation ids begin with, and one that has no end is noticed.
"""

import re
from typing import Final

MAX_HOPS: Final = 32
"""Executions that follow from each other by events; one more is refused."""

_LINK = re.compile(r"(.+)~([1-9][0-9]?)\Z", re.DOTALL)


def link_of(correlation_id: str) -> tuple[str, int]:
    """The chain and the hops that it has come; a correlation id that somebody chose has come none."""
    match = _LINK.match(correlation_id)
    if match is None or int(match[2]) > MAX_HOPS:
        return correlation_id, 0
    return match[1], int(match[2])


def next_link(correlation_id: str) -> str | None:
    """The correlation id of what an event with this one starts, '' if it has none; None at the end of the chain."""
    if not correlation_id:
        return ""
    chain, hops = link_of(correlation_id)
    return f"{chain}~{hops + 1}" if hops < MAX_HOPS else None

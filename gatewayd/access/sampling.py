"""Telling of what anybody can cause as often as they please: once a minute for each source, with a count.

Memory and what is told are both bounded: sources beyond the table are told of as one.
"""

from collections.abc import Iterator

from gatewayd.access.limiter import source_key
from gatewayd.core.clock import Clock
from gatewayd.core.value import record

INTERVAL = 60.0
"""Seconds between two tellings of one source."""
MAX_SOURCES = 1000
OTHERS = "others"
"""Stands for every source that found the table full."""


@record(slots=True)
class _Seen:
    told: float
    """When it was told of last, by the monotonic clock."""
    untold: int = 0


class Sampler:
    """Counts what is not told at once, until it is due."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._sources: dict[str, _Seen] = {}

    def count(self, source: str) -> str:
        """Note one occurrence. The source to tell of when it is the first in a while, else ''."""
        key = source_key(source)
        if key not in self._sources and len(self._sources) >= MAX_SOURCES:
            key = OTHERS
        seen = self._sources.get(key)
        if seen is None:
            self._sources[key] = _Seen(self._clock.monotonic())
            return key
        seen.untold += 1
        return ""

    def due(self) -> Iterator[tuple[str, int]]:
        """Sources whose minute is over, with what was not told; call it now and then. Quiet ones are forgotten."""
        now = self._clock.monotonic()
        for key, seen in list(self._sources.items()):
            if now - seen.told < INTERVAL:
                continue
            if not seen.untold:
                del self._sources[key]
                continue
            yield key, seen.untold
            seen.told, seen.untold = now, 0

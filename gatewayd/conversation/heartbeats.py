"""A heartbeat for every connection at its own moment, however many there are: none waits for a turn of all others."""

from collections import OrderedDict
from collections.abc import Callable, Iterator

from gatewayd.conversation.conversation import Conversation
from gatewayd.core.clock import Clock

LONGEST_SLEEP = 1.0
"""Seconds after which a changed interval holds."""
AT_ONCE = 64
"""Connections that get theirs in one turn of the loop: a few milliseconds of it, their writing included."""


class Heartbeats:
    """`run` is a task of the hub's; `beat` is called for a connection every `interval()` seconds."""

    def __init__(
        self,
        clock: Clock,
        *,
        interval: Callable[[], float],
        beat: Callable[[Conversation, float], None],
        upkeep: Callable[[], None],
    ) -> None:
        """`upkeep` is called about once a second, or once an interval if that is shorter."""
        self._clock = clock
        self._interval = interval
        self._beat = beat
        self._upkeep = upkeep
        self._last: OrderedDict[Conversation, float] = OrderedDict()
        """When each had its last one, or was welcomed; the oldest first."""

    def add(self, conversation: Conversation) -> None:
        """Its first one comes an interval from now."""
        self._last[conversation] = self._clock.monotonic()

    def remove(self, conversation: Conversation) -> None:
        """It gets no more. Safe for one that was never added."""
        self._last.pop(conversation, None)

    async def run(self) -> None:
        while True:
            interval = self._interval()
            if self._round(interval):
                await self._clock.sleep(0.0)
                continue
            self._upkeep()
            last = next(iter(self._last.values()), None)
            now = self._clock.monotonic()
            left = LONGEST_SLEEP if last is None else last + interval - now
            await self._clock.sleep(max(0.0, min(left, LONGEST_SLEEP)))

    def _round(self, interval: float) -> bool:
        """Beat for those that are due, so many at a time; whether there may be more."""
        now = self._clock.monotonic()
        due = list(self._due(now - interval))
        for conversation in due:
            self._last[conversation] = now
            self._last.move_to_end(conversation)
            self._beat(conversation, interval)
        return len(due) == AT_ONCE

    def _due(self, before: float) -> Iterator[Conversation]:
        for (conversation, last), _ in zip(self._last.items(), range(AT_ONCE), strict=False):
            if last > before:
                return
            yield conversation

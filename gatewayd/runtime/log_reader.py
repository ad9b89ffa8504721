"""Reads the durable events of the log from a place that is marked in the store, and goes on with live ones.

How far I have come is marked now and then; after a restart I go on from the mark, so a reader is told of events behind
the mark again and must know them.
"""

import asyncio
import logging
from abc import abstractmethod
from collections.abc import Sequence

from gatewayd.bus.base import EventBus, Subscription, SubscriptionSpec
from gatewayd.bus.mailbox import Mailbox
from gatewayd.core.clock import Clock
from gatewayd.core.errors import StoreBusy, StoreFull
from gatewayd.core.event import Cursor, Event
from gatewayd.core.filter import EventFilter
from gatewayd.core.frames import EndReason
from gatewayd.runtime.feed import Feed
from gatewayd.storage.base import Store

log = logging.getLogger("gatewayd.entry_points")

MARK_EVERY = 5.0
"""Seconds between two looks whether to mark how far it has come."""
MARK_BEHIND = 200
"""Events of others that may have passed before that alone is a reason to mark."""
AT_ONCE = 32
"""Events that are taken in together."""
BUFFER_BYTES = 4 << 20
"""Bytes of events that may wait in memory; what is more is read from the log, as far back as that reaches."""
RETRY = 2.0
"""Seconds until the next try while there is no room."""
_TAKEN = 256 * 1024
"""Bytes of events that are taken at once."""


class LogReader(Feed):
    """One reader. `run` goes on until it is cancelled."""

    def __init__(
        self,
        mark: str,
        selection: EventFilter,
        *,
        store: Store,
        bus: EventBus,
        clock: Clock,
        place: Cursor | None = None,
    ) -> None:
        """`place` is where to begin, instead of at the mark."""
        super().__init__()
        self._mark = mark
        self._selection = selection
        self._store = store
        self._bus = bus
        self._clock = clock
        self._place = place or bus.end
        self._found = place is not None
        """Whether it knows where it is: until then an older mark must stay."""
        self._marked = 0
        self._moved = False
        """Whether it has taken something in behind its mark."""
        self._news = asyncio.Event()
        self._resting: Mailbox | None = None

    @abstractmethod
    async def take_in(self, events: Sequence[Event]) -> None:
        """Deal with events, in order."""

    @abstractmethod
    def missed(self, since: str) -> None:
        """Tell that the log does not reach back to that place."""

    @property
    def place(self) -> Cursor | None:
        """Up to where it has taken in what it had to; None until it knows."""
        if self._resting is not None and not self._resting.has_news:
            return self._resting.position
        return self._place if self._found else None

    async def run(self) -> None:
        await self._find_place()
        while True:
            subscription = self._subscribe()
            try:
                why = await self._follow(subscription)
            finally:
                subscription.close()
            if why is EndReason.HISTORY_LOST:
                self.missed(str(self._place))
                self._place = self._bus.oldest

    async def _find_place(self) -> None:
        """Go on from the mark; without one, or with that of another log, from when this feed was made."""
        if self._found:
            await self.mark()
            return
        found = (await self._store.marks(self._mark)).get(self._mark)
        if found is not None and (known := Cursor.parse(found)).epoch == self._place.epoch:
            self._place, self._marked = known, known.seq
            self._found = True
        else:
            if found is not None:
                self.missed(found)
            self._found = True
            await self.mark()

    def _subscribe(self) -> Subscription:
        spec = SubscriptionSpec(self._selection, _everything, self._place, buffer_bytes=BUFFER_BYTES)
        return self._bus.subscribe(spec, self._news.set)

    async def _follow(self, subscription: Subscription) -> EndReason:
        """Take in all there are; why there are no more."""
        box = subscription.mailbox
        while True:
            self._news.clear()
            events = box.take(_TAKEN)
            reached = box.position
            for first in range(0, len(events), AT_ONCE):
                some = events[first : first + AT_ONCE]
                await self.take_in(some)
                self._moved = True
                self._place = max([self._place, *(event.cursor for event in some if event.cursor)])
            if not events and box.ended is not None:
                return box.ended
            if box.ended is None:
                self._place = reached
            if self._place.seq - self._marked >= MARK_BEHIND:
                await self.mark()
            if not box.has_news:
                self._resting = box
                try:
                    await self._rest(box)
                finally:
                    self._resting = None

    async def _rest(self, box: Mailbox) -> None:
        """Until there is news; the place is marked when it has moved, but not all the time."""
        while not self._news.is_set():
            try:
                async with self._clock.timeout(MARK_EVERY):
                    await self._news.wait()
            except TimeoutError:
                if not box.has_news:
                    self._place = box.position
                if self._moved or self._place.seq - self._marked >= MARK_BEHIND:
                    await self.mark()

    async def mark(self) -> None:
        """Keep how far it has come, for the next start."""
        if not self._found:
            return
        place = self._place
        try:
            await self._store.set_mark(self._mark, str(place))
        except (StoreBusy, StoreFull) as error:
            log.warning("mark_failed", extra={"reader": self._mark, "reason": error.reason})
            await self._clock.sleep(RETRY)
        else:
            self._moved, self._marked = False, place.seq


def _everything(_event: Event) -> bool:
    """A reader acts for nobody in particular."""
    return True

"""History for a subscription that catches up: from memory while that reaches back, else from the log."""

from collections.abc import Iterator, Sequence

from gatewayd.bus.base import SubscriptionSpec
from gatewayd.bus.group import CHUNK_BYTES
from gatewayd.bus.recent import RecentEvents
from gatewayd.core.chunk import EVENT_OVERHEAD, Chunk
from gatewayd.core.event import Event
from gatewayd.core.filter import EventFilter
from gatewayd.core.value import value
from gatewayd.storage.base import Store

_PAGE = 500
"""Events read from the log at once while a subscription catches up."""
_RECENT_PAGE = 5000
"""Events looked at in memory at once: a few milliseconds of the loop."""


@value(frozen=True, slots=True)
class Page:
    """Events that a filter selects, oldest first, and the place up to which was looked."""

    events: Sequence[Event]
    scanned_to: int

    def chunks(self, spec: SubscriptionSpec) -> Iterator[Chunk]:
        """What the subscriber may see of it, in parts that its mailbox has room for."""
        most = min(CHUNK_BYTES, spec.buffer_bytes)
        run: list[Event] = []
        size = 0
        for event in self.events:
            if (event.target or event.owner) and not spec.visible(event):
                continue
            more = len(event.wire) + EVENT_OVERHEAD
            if run and size + more > most:
                yield Chunk(run, size)
                run, size = [], 0
            run.append(event)
            size += more
        if run:
            yield Chunk(run, size)


class History:
    """One per bus."""

    def __init__(self, store: Store) -> None:
        self.recent = RecentEvents()
        self._store = store

    async def after(self, seq: int, end: int, selection: EventFilter) -> Page | None:
        """The next page behind `seq`, up to `end`, the last event that was delivered to those who are live.

        None when the log was cut behind `seq` while it was read. Raises what the store raises.
        """
        recent = self.recent.after(seq, min(_RECENT_PAGE, end - seq))
        if recent:
            return Page([event for event in recent if selection.matches(event)], recent[-1].seq)
        page = await self._store.read_forward(seq, selection, _PAGE)
        if not await reaches_back(self._store, seq):
            return None
        return Page([event for event in page.events if event.seq <= end], min(page.scanned_to, end))


async def reaches_back(store: Store, seq: int) -> bool:
    """Whether nothing behind that place, which is not the end of the log, is deleted by now.

    To be asked after a page was read: only then is it known to be whole. `store.log` lags behind the disk a little.
    """
    first = (await store.read_forward(store.log.first_seq - 1, EventFilter(), 1)).events
    return bool(first) and first[0].seq <= seq + 1

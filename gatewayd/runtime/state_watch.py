"""Watching a place of the shared state: what is there, then every change, in order and without a gap.

A watch listens to the bus before it reads what is there, so nothing can fall in between; what it hears twice is known
by its version. What waits for a reader is bounded by its mailbox: one that does not keep up is cut and begins again.
"""

import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable

from gatewayd.access.principals import LostProof
from gatewayd.bus.base import EventBus, Subscription, SubscriptionSpec
from gatewayd.core.errors import Draining, GatewayError, HistoryLost, SlowConsumer
from gatewayd.core.event import Event, EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.frames import EndReason, Overflow
from gatewayd.core.state import Place, StateEntry, StateScope
from gatewayd.core.topic import TopicPattern
from gatewayd.core.value import value
from gatewayd.core.wake import Wake
from gatewayd.runtime.state import GLOBAL_STREAM, SharedState
from gatewayd.wire import data_of

PAGE = 50
"""Keys read at once: at most some 3 MiB."""
_TAKE = 256 * 1024
_CHANGED = frozenset({EventType.STATE_CHANGED})


@value(frozen=True, slots=True)
class StateNews:
    """What a watch tells at once."""

    entries: tuple[StateEntry, ...] = ()
    """A part of what was there when it began."""
    synced: bool = False
    """Whether that was the last part; true once."""
    changes: tuple[StateEntry, ...] = ()


class StateWatch:
    """One reader's watch: iterate over `news`, and `close` it."""

    def __init__(
        self,
        state: SharedState,
        bus: EventBus,
        place: Place,
        *,
        pattern: TopicPattern | None,
        may_read: Callable[[str], bool],
        forget: Callable[["StateWatch"], None],
        token_sha256: str,
        buffer_bytes: int,
    ) -> None:
        self.token_sha256 = token_sha256
        self._state = state
        self._place = place
        self._pattern = pattern
        self._may_read = may_read
        self._forget = forget
        self._wake = Wake()
        self._error: GatewayError | None = None
        self._versions: dict[str, int] = {}
        spec = SubscriptionSpec(_selection(place), _everything, None, Overflow.DISCONNECT, buffer_bytes)
        self._subscription: Subscription = bus.subscribe(spec, self._wake.set)

    async def news(self) -> AsyncGenerator[StateNews, None]:
        """What is there, part by part, then the changes; raises the error that ends the watch."""
        async for part in self._there():
            yield part
        yield StateNews(synced=True)
        mailbox = self._subscription.mailbox
        while True:
            self._wake.clear()
            if self._error is not None:
                raise self._error
            changes = tuple(change for event in mailbox.take(_TAKE) if (change := self._change(event)))
            if changes:
                yield StateNews(changes=changes)
            elif mailbox.ended is not None:
                raise _lost(mailbox.ended)
            elif not mailbox.has_news:
                await self._wake.wait()

    async def _there(self) -> AsyncIterator[StateNews]:
        after = ""
        while rows := await self._state.page(self._place, after, PAGE):
            if self._error is not None:
                raise self._error
            now = self._state.now()
            found = tuple(row for row in rows if row.is_there(now) and self._selects(row.key))
            self._versions.update((row.key, row.version) for row in found)
            if found:
                yield StateNews(entries=found)
            after = rows[-1].key

    def _change(self, event: Event) -> StateEntry | None:
        data = data_of(event)
        key = data["key"]
        if data["scope"] != str(self._place.scope) or not self._selects(key):
            return None
        if event.seq <= self._versions.get(key, 0):
            return None
        self._versions.pop(key, None)
        held = data["new_value"]
        text = "" if held is None else json.dumps(held, ensure_ascii=False, separators=(",", ":"))
        return StateEntry(self._place, key, text, event.seq, updated=event.time)

    def _selects(self, key: str) -> bool:
        return (self._pattern is None or self._pattern.matches(key)) and self._may_read(key)

    def end(self, error: GatewayError) -> None:
        """It ends with this error."""
        self._error = self._error or error
        self._wake.set()

    def close(self) -> None:
        """Its reader has gone."""
        self._subscription.close()
        self._forget(self)


class StateWatches:
    """All that are open. `buffer_bytes` gives what may wait for one, as it is now."""

    def __init__(self, state: SharedState, bus: EventBus, buffer_bytes: Callable[[], int]) -> None:
        self._state = state
        self._bus = bus
        self._buffer_bytes = buffer_bytes
        self._open: set[StateWatch] = set()
        self._closed = False

    def open(
        self, place: Place, pattern: TopicPattern | None, may_read: Callable[[str], bool], token_sha256: str
    ) -> StateWatch:
        """A watch of the keys that the pattern selects (None: all) and the reader may read."""
        if self._closed:
            raise _draining()
        watch = StateWatch(
            self._state,
            self._bus,
            place,
            pattern=pattern,
            may_read=may_read,
            forget=self._open.discard,
            token_sha256=token_sha256,
            buffer_bytes=self._buffer_bytes(),
        )
        self._open.add(watch)
        return watch

    def end_lost(self, lost: LostProof) -> None:
        """End those that were opened with these tokens."""
        for watch in list(self._open):
            if watch.token_sha256 in lost:
                watch.end(lost.error())

    def drain(self) -> None:
        """End all, and open none any more."""
        self._closed = True
        for watch in list(self._open):
            watch.end(_draining())

    @property
    def count(self) -> int:
        return len(self._open)


def _selection(place: Place) -> EventFilter:
    if place.scope is StateScope.EXECUTION:
        return EventFilter(_CHANGED, execution_id=place.id)
    return EventFilter(_CHANGED, stream_id=place.id or GLOBAL_STREAM)


def _everything(_event: Event) -> bool:
    """Who watches was let into the place, and is asked for each key."""
    return True


def _lost(reason: EndReason) -> GatewayError:
    if reason is EndReason.SLOW_CONSUMER:
        return SlowConsumer("the watch did not keep up with the changes: watch again", retry_after=1.0)
    return HistoryLost("changes were lost to this watch: watch again")


def _draining() -> Draining:
    return Draining("the gateway is stopping: watch again", retry_after=1.0)

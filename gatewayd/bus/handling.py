"""One in-process handler: the events that wait for it, and the runs of it that have suspended."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from types import CoroutineType
from typing import Protocol

from gatewayd.bus.crew import Crew, Suspended
from gatewayd.bus.mailbox import Mailbox
from gatewayd.core.chunk import Chunk
from gatewayd.core.event import Event
from gatewayd.core.frames import EndReason
from gatewayd.core.stepping import coroutine_of
from gatewayd.core.value import value

log = logging.getLogger("gatewayd.bus")

Handler = Callable[[Event], Awaitable[None]]

TAKEN = 64 * 1024
"""Bytes of events that are taken out of a mailbox at once."""


class Source(Protocol):
    """Where the events of a handler come from: a subscription, or its place among the handlers of one filter."""

    @property
    def mailbox(self) -> Mailbox: ...

    def close(self) -> None:
        """No further event arrives. Safe to call twice."""
        ...


@value(frozen=True, slots=True)
class HandlerStats:
    """Of one subscription, since it began."""

    name: str
    handled: int
    """Ended well."""
    failed: int
    dropped: int
    """Found no room, because the handler was slow."""
    running: int
    waiting: int


class Handling:
    """One handler's subscription. `close` ends it; what runs already goes on to its end."""

    def __init__(self, name: str, handler: Handler, concurrency: Callable[[], int], crew: Crew) -> None:
        self.name = name
        self.ended = False
        self._handler = handler
        self._concurrency = concurrency
        self._crew = crew
        self._source: Source | None = None
        self._coming: Callable[[], int] = _nothing
        self._events: Sequence[Event] = ()
        """What was taken out of the mailbox; those from `_place` on wait."""
        self._place = 0
        self._queued = False
        """Whether the crew knows that there is something to do."""
        self._stepping = False
        self._suspended = 0
        self._handled = self._failed = self._dropped = 0
        self._idlers: list[asyncio.Future[None]] = []

    def attach(self, source: Source, coming: Callable[[], int] | None = None) -> None:
        """Begin to take from it. `coming` counts the events that will be there and are not yet in its mailbox."""
        self._source = source
        self._coming = coming or _nothing
        self.wake()

    def wake(self) -> None:
        """There may be something to do."""
        if self._source is None or self.ended:
            return
        if self._source.mailbox.ended is not None:
            self.end(self._source.mailbox.ended)
        elif not self._queued and self._may_begin():
            self._queued = True
            self._crew.put(self)

    def end(self, reason: EndReason) -> None:
        """It could not keep up, or nothing more comes."""
        log.error("handler_ended", extra={"handler": self.name, "reason": reason})
        self.close()

    def close(self) -> None:
        """No further event is handled. Safe to call twice, and from the handler itself."""
        self.ended = True
        self._events, self._place = (), 0
        if self._source is not None:
            self._source.close()
        self.look_on()

    async def idle(self) -> None:
        """Until nothing waits and nothing runs."""
        while self._stepping or self._suspended or self._waits():
            idler = asyncio.get_running_loop().create_future()
            self._idlers.append(idler)
            await idler

    @property
    def inside(self) -> bool:
        """Whether the calling task is one that runs this handler."""
        return self._crew.inside(self)

    def stats(self) -> HandlerStats:
        box = self._source.mailbox if self._source is not None and not self.ended else None
        waiting = len(self._events) - self._place + (box.waiting_events if box is not None else 0) + self._coming()
        running = self._suspended + self._stepping
        return HandlerStats(self.name, self._handled, self._failed, self._dropped, running, waiting)

    @property
    def current(self) -> "Handling":
        """See `Hand`."""
        return self

    def hear(self, chunk: Chunk) -> Suspended | None:
        """Handle these events now, if nothing is before them; else put them to the others, by the mailbox's policy."""
        if self._suspended or self._queued or self.ended:  # whoever is neither has nothing that waits
            self.hold(chunk)
            return None
        if len(chunk.events) > 1:
            return self._step(chunk.events, 0, len(chunk.events))
        suspended = self._begin(chunk.events[0])
        if self._idlers:
            self.look_on()
        return suspended

    def hold(self, chunk: Chunk) -> None:
        """Put these events to those that wait, by the mailbox's policy."""
        if not self.ended and self._source is not None:
            self._source.mailbox.put(chunk)

    def missed(self, events: int) -> None:
        """They found no room, because the handler was slow."""
        self._dropped += events
        log.warning("handler_missed_events", extra={"handler": self.name, "events": events})

    # For the crew

    def work(self, most: int) -> Suspended | None:
        """See `Hand`."""
        self._queued = False
        if not self._may_begin():
            return None
        if self._place >= len(self._events):
            self._take()
        suspended = self._step(self._events, self._place, min(len(self._events), self._place + most))
        self.look_on()
        return suspended

    def _step(self, events: Sequence[Event], place: int, stop: int) -> Suspended | None:
        """Handle the events from `place` to `stop`, until one suspends; what is left of all waits."""
        suspended: Suspended | None = None
        while place < stop:
            suspended = self._begin(events[place])
            place += 1
            if self.ended:
                events = ()
                break
            # Where it cancelled its own task, the rest is for another.
            if suspended is not None or (place < stop and self._crew.cancelling()):
                break
        if place < len(events):
            self._events, self._place = events, place
            self.look_on()
        else:
            if self._events:
                self._events, self._place = (), 0
            if self._idlers:
                self.look_on()
        return suspended

    def _begin(self, event: Event) -> Suspended | None:
        """Take the first step of the handler, which for most of them is the only one."""
        self._stepping = True
        try:
            work = self._handler(event)
            if type(work) is not CoroutineType:
                work = coroutine_of(work)
            waits_for = work.send(None)
        except StopIteration:
            self._handled += 1
            return None
        except (Exception, asyncio.CancelledError) as error:  # the boundary of a handler: its faults are its own
            self._tell_failure(event, error)
            return None
        finally:
            self._stepping = False
        self._suspended += 1
        return self, work, waits_for, event

    def gone_on(self, event: Event, failure: BaseException | None) -> None:
        """See `Hand`."""
        self._suspended -= 1
        if failure is None:
            self._handled += 1
        elif not self.ended or isinstance(failure, Exception):
            self._tell_failure(event, failure)
        self.look_on()

    def _may_begin(self) -> bool:
        # One alone is always within the bound; that is the common case, and asking costs.
        return not self._suspended or self._suspended < self._concurrency()

    def _waits(self) -> bool:
        if self._place < len(self._events) or self._coming():
            return True
        return not self.ended and self._source is not None and self._source.mailbox.has_news

    def look_on(self) -> None:
        """Go on with what waits, or tell those who wait for the rest."""
        if self._place < len(self._events) or (
            not self.ended and self._source is not None and self._source.mailbox.has_news
        ):
            if not self._queued and self._may_begin():
                self._queued = True
                self._crew.put(self)
        elif self._idlers and not (self._stepping or self._suspended or self._coming()):
            idlers, self._idlers = self._idlers, []
            for idler in idlers:
                if not idler.done():
                    idler.set_result(None)

    def _take(self) -> Sequence[Event]:
        """What waits in the mailbox; to be called when what was taken before is used up."""
        self._events, self._place = (), 0
        if self.ended or self._source is None:
            return ()
        box = self._source.mailbox
        if box.dropped:
            self.missed(box.take_gap()[0])
        chunk = box.take_chunk(TAKEN)
        if chunk is not None:
            self._events = chunk.events
        return self._events

    def _tell_failure(self, event: Event, error: BaseException) -> None:
        self._failed += 1
        told = {"handler": self.name, "type": event.type.label, "event": event.id}
        log.error("handler_failed", extra=told, exc_info=error)


def _nothing() -> int:
    return 0

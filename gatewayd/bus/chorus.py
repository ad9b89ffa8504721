"""The handlers of one filter: what the bus hands out for them is taken once, and heard by one after the other.

A handler that is idle handles it there and then, which costs a fifth of a mailbox of its own; one that is busy has it
put into its mailbox, and goes on from there when it can.
"""

from collections import deque
from contextvars import copy_context

from gatewayd.bus.base import Subscription
from gatewayd.bus.crew import Crew, Suspended
from gatewayd.bus.handling import TAKEN, Handling
from gatewayd.bus.mailbox import Mailbox
from gatewayd.core.chunk import Chunk
from gatewayd.core.event import Cursor
from gatewayd.core.frames import Overflow

_NOWHERE = Cursor("", 0)


class Place:
    """Where one handler stands in a chorus: its `Source`."""

    def __init__(self, chorus: "Chorus", handling: Handling, overflow: Overflow, limit_bytes: int) -> None:
        self._chorus = chorus
        self._handling = handling
        self.mailbox = Mailbox(
            limit_bytes=limit_bytes, overflow=overflow, wake=handling.wake, start=_NOWHERE, reached=lambda: 0
        )

    def close(self) -> None:
        self._chorus.leave(self._handling)

    def coming(self) -> int:
        """See `Handling.attach`."""
        return self._chorus.coming(self._handling)


class Chorus:
    """See the module's docstring. All of them have the same bound and policy, as its own subscription has."""

    def __init__(self, crew: Crew, overflow: Overflow, limit_bytes: int) -> None:
        self._crew = crew
        self._overflow = overflow
        self._limit_bytes = limit_bytes
        self._subscription: Subscription | None = None
        self._members: dict[Handling, None] = {}
        self._chunk: Chunk | None = None
        self._left: deque[Handling] = deque()
        """Those that have not heard the chunk yet."""
        self._queued = False
        self._current: Handling | None = None

    def attach(self, subscription: Subscription) -> None:
        """Begin to take from it."""
        self._subscription = subscription

    def join(self, handling: Handling) -> None:
        """One more; what was published before is not for it."""
        self._hand_over()
        self._members[handling] = None
        place = Place(self, handling, self._overflow, self._limit_bytes)
        handling.attach(place, place.coming)

    def leave(self, handling: Handling) -> None:
        """Safe for one that is not in it. With the last one the subscription ends."""
        self._members.pop(handling, None)
        if handling in self._left:
            self._left.remove(handling)
        if not self._members and self._subscription is not None:
            self._subscription.close()

    @property
    def is_open(self) -> bool:
        """Whether it hears anything; an empty one is never joined again."""
        return self._subscription is not None and bool(self._members) and self._subscription.mailbox.ended is None

    def coming(self, handling: Handling) -> int:
        """Events that this handler has not heard yet and that are not in its mailbox."""
        if self._subscription is None or handling not in self._members:
            return 0
        heard = len(self._chunk) if self._chunk is not None and handling in self._left else 0
        return self._subscription.mailbox.waiting_events + heard

    def wake(self) -> None:
        """There is something to take, or the subscription has ended."""
        if self._subscription is not None and not self._queued:
            self._queued = True
            self._crew.put(self)

    # For the crew

    @property
    def current(self) -> "Handling | Chorus":
        """See `Hand`."""
        return self._current or self

    def work(self, most: int) -> Suspended | None:
        """See `Hand`: one chunk, for one after the other."""
        del most  # a chunk is bounded by its bytes
        self._queued = False
        if not self._left:
            self._take()
        chunk, left, suspended = self._chunk, self._left, None
        clean, cancelling = copy_context(), self._crew.cancelling
        while left and chunk is not None:
            handling = self._current = left.popleft()
            suspended = handling.hear(chunk)
            # Where one has left context variables or a cancellation behind, the crew goes on in another task.
            if suspended is not None or copy_context() != clean or cancelling():
                break
        self._current = None
        self._go_on()
        return suspended

    def gone_on(self, *_: object) -> None:
        """Never called: what suspends is a handler, and is told itself."""

    def _go_on(self) -> None:
        if self._left or (self._members and self._subscription is not None and self._subscription.mailbox.has_news):
            self.wake()

    def _take(self) -> None:
        """The next chunk, and everybody is to hear it."""
        assert self._subscription is not None
        box = self._subscription.mailbox
        if box.dropped:
            dropped, _ = box.take_gap()
            for handling in self._members:
                handling.missed(dropped)
        self._chunk = box.take_chunk(TAKEN)
        if self._chunk is not None:
            self._left.extend(self._members)
            return
        for handling in tuple(self._members):
            if box.ended is not None:
                handling.end(box.ended)
            else:
                handling.look_on()

    def _hand_over(self) -> None:
        """Put what is on its way into the mailboxes of those that are here."""
        if self._subscription is None:
            return
        while self._left:
            assert self._chunk is not None
            self._left.popleft().hold(self._chunk)
        while (chunk := self._subscription.mailbox.take_chunk(TAKEN)) is not None:
            for handling in tuple(self._members):
                handling.hold(chunk)

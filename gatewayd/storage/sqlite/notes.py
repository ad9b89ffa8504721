"""Events that nobody waits for, as one unit: those that come while nothing else does go together, in their order."""

import logging

from gatewayd.core.errors import InvalidArgument
from gatewayd.core.event import Event
from gatewayd.storage.sqlite.tx import Tx

MAX_NOTES = 256
"""Events in one unit."""

_log = logging.getLogger("gatewayd.storage")


class Notes:
    """What such a unit applies. More may be added until it is handed to the writer's thread."""

    __slots__ = ("events", "streams")

    def __init__(self, event: Event) -> None:
        self.events = [event]
        self.streams = [event.stream_id]

    def add(self, event: Event) -> bool:
        """One more, if there is room for it."""
        if len(self.events) >= MAX_NOTES:
            return False
        self.events.append(event)
        self.streams.append(event.stream_id)
        return True

    def __call__(self, tx: Tx) -> None:
        """One that cannot be written costs the others nothing."""
        for event in self.events:
            try:
                tx.add_event(event)
            except (InvalidArgument, ValueError) as error:  # also for half a surrogate pair in its envelope
                _log.warning("event_not_recorded", extra={"type": event.type.label, "error": str(error)})

"""What the daemon itself has to tell: changed channels, reloads, messages to local clients; all durable events."""

import hashlib
import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from gatewayd.channels.base import ChannelStatus
from gatewayd.core.errors import GatewayError
from gatewayd.core.event import EventType
from gatewayd.core.message import OutboundMessage
from gatewayd.routing.intake import Intake
from gatewayd.storage.base import Store
from gatewayd.storage.records import Published

log = logging.getLogger("gatewayd.news")


class News:
    """Records the daemon's own events. `changed` is called after each change of a channel's state."""

    def __init__(self, store: Store, intake: Intake, changed: Callable[[], None]) -> None:
        self._store = store
        self._intake = intake
        self._changed = changed

    def tell(
        self, kind: EventType, data: Mapping[str, object], stream_id: str = "gateway", correlation_id: str = ""
    ) -> None:
        """Record one event; a store that cannot take it costs the event, not the daemon."""
        event = self._intake.event(kind, stream_id, data)
        try:
            self._store.append([Published(replace(event, correlation_id=correlation_id))], scope="")
        except GatewayError as error:
            log.warning("event_not_recorded", extra={"type": kind.label, "reason": error.reason})

    def channel_changed(self, old: ChannelStatus, new: ChannelStatus) -> None:
        """A channel went from one state to another."""
        data: dict[str, object] = {
            "channel": new.name,
            "old": old.state.value,
            "new": new.state.value,
            "reason": new.reason,
            "retry_time": new.retry_time or None,
        }
        self.tell(EventType.CHANNEL_STATE_CHANGED, data, stream_id=new.name)
        self._changed()

    async def deliver_local(self, message: OutboundMessage) -> str:
        """A message of a `local` channel is an event for the client that is its chat; returns the event's id.

        The key of the message is the id of the event, so that a resend after a crash is not a second event.
        """
        data = {"content": message.text, "parts": {}, "sender": message.channel, "reply_to": message.quote}
        event = self._intake.event(EventType.MESSAGE, message.channel, data)
        event = replace(event, id=message.key, target=message.chat)
        digest = hashlib.sha256(f"{message.chat}\0{message.text}".encode()).digest()
        stamped = await self._store.append([Published(event, digest)], scope=f"local:{message.channel}")
        return stamped[0].id

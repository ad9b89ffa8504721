"""All channels of the gateway: which there are, how they are, and how a reload changes them.

The composition root owns it and puts it among the services; the reloader asks it for a `Change`; the router offers it
rows to send; operators pause and resume channels through it.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence

from gatewayd.channels.base import AdapterFactory, ChannelIO, ChannelState, ChannelStatus, Inbox
from gatewayd.channels.channel import DEFAULT_LENGTH, Channel, Parts, all_of
from gatewayd.channels.handover import FLUSH_TIMEOUT, ChannelChange
from gatewayd.channels.outbox import Outbox
from gatewayd.channels.vitals import OnState
from gatewayd.config.channels import ChannelSection
from gatewayd.config.model import GatewayConfig
from gatewayd.core.errors import ChannelNotFound
from gatewayd.core.failpoints import NO_FAILPOINTS, Failpoints
from gatewayd.core.ids import IdSource
from gatewayd.core.lifecycle import Change, State
from gatewayd.storage.base import Store
from gatewayd.storage.records import OutboxRow

log = logging.getLogger(__name__)


class ChannelManager:
    """The channels. It begins empty: the first reload, from nothing, fills it."""

    name = "channels"

    def __init__(
        self,
        *,
        factories: Mapping[str, AdapterFactory],
        store: Store,
        inbox: Inbox,
        io: ChannelIO,
        ids: IdSource,
        on_state: OnState,
        answered: Callable[[str], Awaitable[None]] | None = None,
        unanswered: Callable[[str], int] = lambda _channel: 0,
        failpoints: Failpoints = NO_FAILPOINTS,
    ) -> None:
        """`on_state` is told (old, new) about every change of a channel's state, on the loop.

        `answered` waits until nobody works on an answer for that channel any more; `unanswered` counts these.
        """
        self._parts = Parts(factories, store, inbox, io, ids, on_state, failpoints)
        self._answered = answered
        self._unanswered = unanswered
        self._channels: dict[str, Channel] = {}
        self._leaving: dict[str, Channel] = {}
        self.state = State.NEW

    def statuses(self) -> list[ChannelStatus]:
        """All channels in the order of the file, those included that do not run."""
        return [each.status for each in self._channels.values()]

    def get(self, name: str) -> Channel:
        """The channel, or `ChannelNotFound`."""
        try:
            return self._channels[name]
        except KeyError:
            known = ", ".join(self._channels) or "none"
            raise ChannelNotFound(f"there is no channel {name!r}; there are: {known}") from None

    def senders(self) -> list[str]:
        """The channels that send what waits for them, now or when their platform can be reached again."""
        running = [name for name, channel in self._channels.items() if channel.supervisor is not None]
        return [*running, *self._leaving]

    def outbox(self, name: str) -> Outbox:
        """The channel's way out, or `ChannelNotFound`."""
        return self.get(name).outbox

    def max_message_length(self, name: str) -> int:
        """Characters of the longest message there; a usual one for a channel that has left."""
        channel = self._channels.get(name) or self._leaving.get(name)
        return channel.max_message_length if channel is not None else DEFAULT_LENGTH

    def offer(self, rows: Sequence[OutboxRow]) -> None:
        """Rows that were just committed, of any channels. Those of a channel that has left wait for its return."""
        by_channel: dict[str, list[OutboxRow]] = {}
        for row in rows:
            by_channel.setdefault(row.channel, []).append(row)
        for name, each in by_channel.items():
            if channel := self._channels.get(name) or self._leaving.get(name):
                channel.outbox.offer(each)

    async def retry(self, row: OutboxRow) -> None:
        """A row that an operator has queued again, with the later pieces of its text."""
        channel = self._channels.get(row.channel)
        if channel is not None:
            await channel.outbox.retry(row)

    async def pause(self, name: str) -> None:
        """Disconnect a channel until `resume`; `Unavailable` when it does not run."""
        await self.get(name).require().pause()

    async def resume(self, name: str) -> None:
        await self.get(name).require().resume()

    async def reconnect(self, name: str) -> None:
        """Make a new connection now; also what a human does after FAILED."""
        await self.get(name).require().reconnect()

    def plan(
        self, old: GatewayConfig | None, new: GatewayConfig, *, initial: bool, unavailable: Mapping[str, str]
    ) -> Change:
        """The change to another configuration.

        `unavailable` gives for `channels.NAME` (or NAME) why it cannot run now. `initial`: at the start, a refused
        credential makes its channel FAILED and refuses nothing.
        """
        del old  # what runs now is known here, and that is what the new is compared with

        def off(name: str, section: ChannelSection) -> tuple[ChannelState, str] | None:
            if not section.enabled:
                return ChannelState.STOPPED, "disabled"
            reason = unavailable.get(f"channels.{name}") or unavailable.get(name)
            if reason or section.settings is None:
                return ChannelState.FAILED, reason or "its settings could not be read"
            return None

        return ChannelChange(
            dict(self._channels),
            new.channels,
            self._parts,
            self._take_over,
            self._see_off,
            initial=initial,
            running=lambda: self.state is State.RUNNING,
            off=off,
        )

    async def start(self) -> None:
        """Connect what a reload from nothing has put here; after this, reloads connect what they bring."""
        self.state = State.RUNNING
        for channel in self._channels.values():
            channel.begin()

    async def stop_receiving(self) -> None:
        """Take in nothing more; answers that are still being made can be sent."""
        self.state = State.DRAINING
        running = [each for each in self._channels.values() if each.supervisor is not None]
        await all_of("stop receiving", lambda channel: channel.require().stop_receiving(), running)

    async def drain(self) -> None:
        """Stop receiving, then send what is queued; the deadline is the caller's."""
        await self.stop_receiving()
        await all_of("flush", lambda channel: channel.flush(), list(self._channels.values()))

    async def stop(self) -> None:
        self.state = State.STOPPED
        await all_of("end", lambda channel: channel.end(), [*self._channels.values(), *self._leaving.values()])

    def _take_over(self, channels: dict[str, Channel], leaving: Sequence[Channel]) -> None:
        self._channels = channels
        self._leaving = {each.name: each for each in leaving}

    async def _see_off(self, channel: Channel) -> None:
        """Let a channel that has left the configuration send the answers that are being made for it, and end it."""
        answered = self._answered
        if answered is None or channel.name in self._channels:  # another one of that name serves: answers go there
            await channel.leave(FLUSH_TIMEOUT)
        else:
            name = channel.name
            await channel.leave(FLUSH_TIMEOUT, lambda: answered(name), lambda: self._unanswered(name))
        if self._leaving.get(channel.name) is channel:
            del self._leaving[channel.name]

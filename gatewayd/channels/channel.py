"""One configured channel while it is configured: its section, its connection and its outbox, and how they go together.

The section may change under a running connection (policy, rate); the connection may change under a standing outbox
(handover). Made and ended by `handover` and `manager`.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from gatewayd.channels import vitals
from gatewayd.channels.base import AdapterFactory, ChannelAdapter, ChannelIO, ChannelState, ChannelStatus, Inbox
from gatewayd.channels.outbox import Outbox
from gatewayd.channels.supervisor import CLOSE_TIMEOUT, ChannelSupervisor
from gatewayd.channels.vitals import OnState
from gatewayd.config.channels import ChannelSection
from gatewayd.core.errors import Unavailable
from gatewayd.core.failpoints import Failpoints
from gatewayd.core.ids import IdSource
from gatewayd.core.message import InboundMessage
from gatewayd.core.value import value
from gatewayd.storage.base import Store

log = logging.getLogger(__name__)

DEFAULT_LENGTH: Final = 4096
"""Longest message of a channel whose platform cannot be asked, in characters."""
_UP: Final = (ChannelState.READY, ChannelState.DEGRADED)


@value(frozen=True, slots=True)
class Parts:
    """What every channel is made with."""

    factories: Mapping[str, AdapterFactory]
    store: Store
    inbox: Inbox
    io: ChannelIO
    ids: IdSource
    on_state: OnState
    failpoints: Failpoints


class Channel:
    """One channel. `off` says why it does not run, for one that is switched off or cannot."""

    def __init__(
        self,
        name: str,
        section: ChannelSection,
        parts: Parts,
        *,
        adapter: ChannelAdapter | None = None,
        off: tuple[ChannelState, str] = (ChannelState.STOPPED, ""),
    ) -> None:
        self.name = name
        self.section = section
        self._parts = parts
        self._off = vitals.initial(name, section.platform, parts.io.clock.now(), *off)
        self._entered = False
        self._taken = 0
        self.supervisor: ChannelSupervisor | None = None
        self.outbox = Outbox(
            name,
            parts.store,
            section=lambda: self.section,
            ids=parts.ids,
            clock=parts.io.clock,
            randomness=parts.io.randomness,
            failpoints=parts.failpoints,
        )
        if adapter is not None:
            self.supervisor = self.supervise(adapter)
            self.outbox.use(adapter)

    @property
    def adapter(self) -> ChannelAdapter | None:
        """The connection; the same object for as long as its settings stay the same."""
        return self.supervisor.adapter if self.supervisor else None

    @property
    def status(self) -> ChannelStatus:
        status = self._off if self.supervisor is None else self.supervisor.status
        return replace(status, queued=self.outbox.queued, messages_in=self._taken, messages_out=self.outbox.sent)

    @property
    def max_message_length(self) -> int:
        """Characters of the longest message: the platform's limit, or the channel's own if that is less."""
        platform = self.adapter.capabilities.max_message_length if self.adapter else DEFAULT_LENGTH
        return min(platform, self.section.max_message_length or platform)

    def require(self) -> ChannelSupervisor:
        """Its supervisor; `Unavailable` with the reason when the channel is off."""
        if self.supervisor is None:
            raise Unavailable(f"the channel {self.name} does not run: {self._off.reason}")
        return self.supervisor

    def supervise(self, adapter: ChannelAdapter) -> ChannelSupervisor:
        """A supervisor for a connection of this channel, the current one or one to come."""
        made: list[ChannelSupervisor] = []

        def heard(old: ChannelStatus, new: ChannelStatus) -> None:
            # Of two connections during a handover only the one that serves is told of.
            if self._entered and made and made[0] is self.supervisor:
                self.outbox.connected(new.state in _UP)
                self._parts.on_state(old, new)

        made.append(
            ChannelSupervisor(
                self.name,
                self.section.platform,
                adapter,
                self._take,
                clock=self._parts.io.clock,
                randomness=self._parts.io.randomness,
                on_state=heard,
                queued=lambda: self.outbox.queued,
            )
        )
        return made[0]

    async def _take(self, message: InboundMessage) -> None:
        await self._parts.inbox(message)
        self._taken += 1

    def enter(self, before: "Channel | None") -> None:
        """It is one of the gateway's channels from now on, in place of another one of that name, if there was one."""
        self._entered = True
        if self.supervisor is None:
            fresh = vitals.initial(self.name, self.section.platform, self._off.since)
            self._tell(before.status if before else fresh, self.status)

    def begin(self) -> None:
        """Connect, and send what waits."""
        if self.supervisor is not None:
            self.outbox.start()
            self.supervisor.begin()

    def switch(self, to: ChannelSupervisor) -> ChannelSupervisor | None:
        """Serve through another connection from now on; returns the one before."""
        old, before = self.supervisor, self.status
        self.supervisor = to
        self.outbox.use(to.adapter)
        self.outbox.connected(to.status.state in _UP)
        self._tell(before, to.status)
        return old

    async def hand_over(self, to: ChannelSupervisor, *, begin: bool) -> None:
        """Exclusive: the old connection ends before the new one begins (if it is to `begin`)."""
        old = self.supervisor
        if old is not None:
            await old.stop_receiving()
        self.switch(to)
        await self.let_go(old)
        if begin:
            to.begin()

    async def let_go(self, old: ChannelSupervisor | None) -> None:
        """End a connection that serves no more, once nothing is being sent through it."""
        if old is None:
            return
        with suppress(TimeoutError):
            async with self._parts.io.clock.timeout(CLOSE_TIMEOUT):
                await self.outbox.released(old.adapter)
        await old.close()

    async def leave(
        self,
        flush: float,
        answered: Callable[[], Awaitable[None]] | None = None,
        unanswered: Callable[[], int] = lambda: 0,
    ) -> None:
        """Receive nothing more, wait for `answered` and send what is queued, each at most `flush` seconds, and end.

        What is `unanswered` by then is answered into the store, where it waits for the channel's return.
        """
        if self.supervisor is not None:
            await self.supervisor.stop_receiving()
        if answered is not None:
            try:
                async with self._parts.io.clock.timeout(flush):
                    await answered()
            except TimeoutError:
                log.warning("channel_leaves_unanswered", extra={"channel": self.name, "executions": unanswered()})
        if not await self.outbox.drain(flush):
            log.warning("channel_leaves_queued", extra={"channel": self.name, "queued": self.outbox.queued})
        await self.end()

    async def flush(self) -> None:
        """Send what is queued, as long as the channel is up; the deadline is the caller's."""
        await self.outbox.drain(None)

    def _tell(self, old: ChannelStatus, new: ChannelStatus) -> None:
        if (old.state, old.reason) != (new.state, new.reason):
            vitals.tell(self._parts.on_state, old, new)

    async def end(self) -> None:
        """End now; what is queued stays in the store. Safe to call twice."""
        await self.outbox.stop()
        if self.supervisor is not None:
            await self.supervisor.close()


async def all_of(what: str, work: Callable[[Channel], Awaitable[None]], channels: list[Channel]) -> None:
    """Do it to all at once; a failure is logged, since the others must have their turn."""
    results = await asyncio.gather(*(work(each) for each in channels), return_exceptions=True)
    for channel, result in zip(channels, results, strict=True):
        if isinstance(result, BaseException):
            log.error("channel_step_failed", extra={"channel": channel.name, "step": what}, exc_info=result)

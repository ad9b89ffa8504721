"""A reload's part in the channels: the new connections are made beside the old, swapped in, and the old let go.

A channel whose connection settings are the same is not touched; its section is swapped, nothing more. Where a
platform allows one connection per token the new one begins after the old one has ended, and only its credentials are
tried beforehand.
"""

import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from gatewayd.channels.base import ChannelAdapter, ChannelAuthError, ChannelState, ChannelUnavailable, Handover
from gatewayd.channels.channel import Channel, Parts, all_of
from gatewayd.channels.supervisor import ChannelSupervisor
from gatewayd.config.channels import ChannelSection
from gatewayd.config.section import settings_of
from gatewayd.core.errors import ReloadFailed, Violation
from gatewayd.core.secret import Secret
from gatewayd.core.value import record

log = logging.getLogger(__name__)

_CHECK_TIMEOUT: Final = 10.0
"""Seconds that a platform has to judge credentials, and a new connection to come up beside the old one."""
FLUSH_TIMEOUT: Final = 5.0
"""Seconds that a channel which leaves has for the answers that are still being made for it, and as many to send."""


@record(slots=True)
class _Replacement:
    channel: Channel
    section: ChannelSection
    supervisor: ChannelSupervisor
    old: ChannelSupervisor | None = None

    @property
    def overlaps(self) -> bool:
        return self.supervisor.adapter.capabilities.handover is Handover.OVERLAP


class ChannelChange:
    """The `Change` of the channels.

    `adopt` is called at the commit with the table of channels as it is then and with those that leave; `see_off` ends
    one of these.
    """

    def __init__(
        self,
        current: Mapping[str, Channel],
        target: Mapping[str, ChannelSection],
        parts: Parts,
        adopt: Callable[[dict[str, Channel], Sequence[Channel]], None],
        see_off: Callable[[Channel], Awaitable[None]],
        *,
        initial: bool,
        running: Callable[[], bool],
        off: Callable[[str, ChannelSection], tuple[ChannelState, str] | None],
    ) -> None:
        self._current = current
        self._target = target
        self._parts = parts
        self._adopt = adopt
        self._see_off = see_off
        self._initial = initial
        self._running = running
        self._off = off
        self._kept: list[tuple[Channel, ChannelSection]] = []
        self._replaced: list[_Replacement] = []
        self._entering: list[Channel] = []
        self._leaving: list[Channel] = []

    async def prepare(self) -> None:
        """Build what is new; `ReloadFailed` when a changed credential is refused or an adapter cannot be built."""
        for name, section in self._target.items():
            channel = self._current.get(name)
            off = self._off(name, section) or self._token_taken(name, section)
            same = channel is not None and channel.section.connection() == section.connection()
            if channel is not None and channel.supervisor is not None and not off and same:
                self._kept.append((channel, section))
            elif off:
                self._entering.append(Channel(name, section, self._parts, off=off))
            else:
                await self._connect(name, section, channel)
        moved = {channel.name for channel, _ in self._kept} | {each.channel.name for each in self._replaced}
        self._leaving = [channel for name, channel in self._current.items() if name not in moved]

    def commit(self) -> None:
        """Swap sections and connections."""
        for channel, section in self._kept:
            channel.section = section
        for each in self._replaced:
            each.channel.section = each.section
            if each.overlaps:
                each.old = each.channel.switch(each.supervisor)
        stay = [channel for channel, _ in self._kept] + [each.channel for each in self._replaced] + self._entering
        order = list(self._target)
        table = {each.name: each for each in sorted(stay, key=lambda channel: order.index(channel.name))}
        self._adopt(table, self._leaving)
        for channel in self._entering:
            channel.enter(self._current.get(channel.name))

    async def retire(self) -> None:
        """End what left, then begin what waited for that."""
        await all_of("leave", self._see_off, self._leaving)
        replaced = {each.channel.name: each for each in self._replaced}
        await all_of(
            "hand over",
            lambda channel: self._hand_over(replaced[channel.name]),
            [each.channel for each in self._replaced],
        )
        if self._running():
            for channel in self._entering:
                channel.begin()

    async def abandon(self) -> None:
        """Close what was made."""
        for each in self._replaced:
            await each.supervisor.close()
        for channel in self._entering:
            await channel.end()

    async def _hand_over(self, replacement: _Replacement) -> None:
        if replacement.overlaps:
            await replacement.channel.let_go(replacement.old)
        else:
            await replacement.channel.hand_over(replacement.supervisor, begin=self._running())

    async def _connect(self, name: str, section: ChannelSection, channel: Channel | None) -> None:
        adapter = self._build(name, section)
        if channel is None or channel.supervisor is None or channel.section.platform != section.platform:
            # Its owner is the channel from here on, so that `abandon` finds it.
            self._entering.append(Channel(name, section, self._parts, adapter=adapter))
            await self._check(name, adapter, changed=True)
            return
        replacement = _Replacement(channel, section, channel.supervise(adapter))
        self._replaced.append(replacement)
        await self._check(name, adapter, changed=secrets(channel.section) != secrets(section))
        if replacement.overlaps and self._running():
            replacement.supervisor.begin()
            await replacement.supervisor.settled(_CHECK_TIMEOUT)

    def _build(self, name: str, section: ChannelSection) -> ChannelAdapter:
        factory = self._parts.factories.get(section.platform)
        if factory is None:
            known = ", ".join(sorted(self._parts.factories))
            raise ReloadFailed(f"the channel {name}: there is no platform {section.platform}; there are {known}")
        return factory(name, section.settings, self._parts.io)

    async def _check(self, name: str, adapter: ChannelAdapter, *, changed: bool) -> None:
        """Whether the platform takes the credentials. At the start the state of the channel tells it instead."""
        if self._initial:
            return
        try:
            async with self._parts.io.clock.timeout(_CHECK_TIMEOUT):
                await adapter.check()
        except ChannelAuthError as error:
            if changed:
                wrong = Violation(f"channels.{name}", str(error))
                raise ReloadFailed(f"the channel {name}: {error}", violations=[wrong]) from error
        except (ChannelUnavailable, TimeoutError) as error:
            log.info("channel_check_unanswered", extra={"channel": name, "reason": str(error)})

    def _token_taken(self, name: str, section: ChannelSection) -> tuple[ChannelState, str] | None:
        """One owner per token: the first channel of the file has it."""
        own = secrets(section)
        for other, theirs in self._target.items():
            if other == name:
                return None
            shared = theirs.platform == section.platform and not self._off(other, theirs)
            if shared and any(key.endswith("token") and secrets(theirs).get(key) == own[key] for key in own):
                return ChannelState.FAILED, f"the channel {other} has the same token: give this one a token of its own"
        return None


def secrets(section: ChannelSection) -> dict[str, Secret]:
    """The credentials among a channel's settings, by key."""
    settings = section.settings
    values = {} if settings is None else {key: getattr(settings, key) for key in settings_of(settings)}
    return {key: value for key, value in values.items() if isinstance(value, Secret) and value}

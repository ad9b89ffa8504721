"""The platform `local`: its users are clients of this gateway, so that `gatewayctl chat` can talk as through a channel.

Messages come in by gRPC and not through `run`; answers go to the clients that follow the chat.
"""

import asyncio
from typing import Any, ClassVar

from gatewayd.channels.base import Capabilities, ChannelIO, Handover, Inbox, Pulse
from gatewayd.config.section import Section
from gatewayd.core.message import OutboundMessage


class LocalSettings(Section):
    """A channel of the platform `local` has no keys of its own."""


class LocalAdapter:
    """Always connected: there is nothing between it and its users."""

    Settings: ClassVar[type[Any]] = LocalSettings

    def __init__(self, name: str, settings: LocalSettings, io: ChannelIO) -> None:
        del name, settings
        self._io = io

    @property
    def capabilities(self) -> Capabilities:
        return Capabilities(
            max_message_length=1_000_000,
            messages_per_second=0,
            idempotent_send=True,  # the answer is an event with an id of its own; repeated, it is the same event
            handover=Handover.OVERLAP,
            transport_timeout=float("inf"),
        )

    async def check(self) -> None:
        return None

    async def run(self, inbox: Inbox, pulse: Pulse) -> None:
        del inbox
        pulse.ready()
        await asyncio.get_running_loop().create_future()

    async def send(self, message: OutboundMessage) -> str:
        return await self._io.deliver_local(message)

    async def close(self) -> None:
        return None

"""The platform `local` keeps the contract of channels; its users are clients of the gateway."""

import contextlib
from collections.abc import AsyncIterator

from gatewayd.channels.base import ChannelIO
from gatewayd.channels.local import LocalAdapter, LocalSettings
from gatewayd.core.clock import SystemClock, SystemRandomness
from gatewayd.core.message import OutboundMessage
from gatewayd.testing.channel_contract import ChannelContract, ChannelWorld


class Clients:
    faults = frozenset[str]()
    receives = False

    def __init__(self) -> None:
        self.delivered: dict[str, OutboundMessage] = {}

    def adapter(self) -> LocalAdapter:
        return LocalAdapter("local", LocalSettings(), ChannelIO(SystemClock(), SystemRandomness(), self.deliver))

    async def deliver(self, message: OutboundMessage) -> str:
        self.delivered.setdefault(message.key, message)
        return f"event-{message.key}"

    async def say(self, chat: str, peer: str, text: str) -> str:
        raise NotImplementedError

    async def unacknowledged(self) -> int:
        return 0

    async def wait_acknowledged(self) -> None:
        return None

    async def heard(self, chat: str) -> list[str]:
        return [message.text for message in self.delivered.values() if message.chat == chat]

    async def fault(self, name: str, value: float = 0.0) -> None:
        raise NotImplementedError


class TestLocal(ChannelContract):
    @contextlib.asynccontextmanager
    async def world(self) -> AsyncIterator[ChannelWorld]:
        yield Clients()

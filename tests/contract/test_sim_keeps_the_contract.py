"""The simulated platform keeps the contract of channels, reached in the process and over a socket."""

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gatewayd.channels.base import ChannelIO
from gatewayd.channels.sim import SimAdapter, SimSettings
from gatewayd.channels.sim_network import SimPlatform
from gatewayd.core.clock import SystemClock, SystemRandomness
from gatewayd.core.message import OutboundMessage
from gatewayd.core.secret import Secret
from gatewayd.testing.channel_contract import LIMIT, ChannelContract, ChannelWorld
from gatewayd.testing.sim_platform import SimUsers, serving

TOKEN = "some-token"
FAULTS = frozenset({"conflict", "rate_limit", "reject", "duplicates", "disconnects", "disconnects_sending", "auth"})


async def nowhere(message: OutboundMessage) -> str:
    raise AssertionError("not for this platform")


IO = ChannelIO(SystemClock(), SystemRandomness(), nowhere)


class SharedAdapter(SimAdapter):
    """An adapter whose network is the test's: one account for all that the test makes."""

    network: SimPlatform

    def __init__(self, network: SimPlatform, idempotent: bool) -> None:
        super().__init__("channel", SimSettings(token=Secret(TOKEN), idempotent_send=idempotent), IO)
        self.platform = network
        self._sending = self._link()


class InProcess:
    faults = FAULTS
    receives = True

    def __init__(self, idempotent: bool) -> None:
        self.network = SimPlatform(IO.clock, IO.randomness)
        self.idempotent = idempotent

    def adapter(self) -> SimAdapter:
        return SharedAdapter(self.network, self.idempotent)

    async def say(self, chat: str, peer: str, text: str) -> str:
        return self.network.say(chat, peer, text, token=TOKEN)

    async def unacknowledged(self) -> int:
        return self.network.unacknowledged(TOKEN)

    async def wait_acknowledged(self) -> None:
        await self.network.wait_acknowledged(TOKEN, timeout=LIMIT)

    async def heard(self, chat: str) -> list[str]:
        return [sent.text for sent in self.network.heard(chat)]

    async def fault(self, name: str, value: float = 0.0) -> None:
        self.network.fault(name, 1, value)


class OverSocket:
    faults = FAULTS
    receives = True

    def __init__(self, path: Path, idempotent: bool) -> None:
        self.path = path
        self.users = SimUsers(str(path))
        self.idempotent = idempotent

    def adapter(self) -> SimAdapter:
        settings = SimSettings(token=Secret(TOKEN), server=f"unix:{self.path}", idempotent_send=self.idempotent)
        return SimAdapter("channel", settings, IO)

    async def say(self, chat: str, peer: str, text: str) -> str:
        return await self.users.say(chat, peer, text, token=TOKEN)

    async def unacknowledged(self) -> int:
        return await self.users.unacknowledged(TOKEN)

    async def wait_acknowledged(self) -> None:
        await self.users.wait_acknowledged(TOKEN, timeout=LIMIT)

    async def heard(self, chat: str) -> list[str]:
        return [sent.text for sent in await self.users.heard(chat)]

    async def fault(self, name: str, value: float = 0.0) -> None:
        await self.users.fault(name, 1, value)


class TestSimInProcess(ChannelContract):
    idempotent = False

    @contextlib.asynccontextmanager
    async def world(self) -> AsyncIterator[ChannelWorld]:
        yield InProcess(self.idempotent)


class TestSimWithKeys(TestSimInProcess):
    idempotent = True


class TestSimOverSocket(ChannelContract):
    @pytest.fixture(autouse=True)
    def _directory(self, tmp_path: Path) -> None:
        self.path = tmp_path / "sim.sock"

    @contextlib.asynccontextmanager
    async def world(self) -> AsyncIterator[ChannelWorld]:
        async with serving(SimPlatform(IO.clock, IO.randomness), self.path):
            world = OverSocket(self.path, idempotent=True)
            yield world
            await world.users.close()

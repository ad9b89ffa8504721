"""A real daemon, the chat networks around it and a client inside it: what most stories begin with.

A configuration says `unix:@NAME` for the network NAME; the rig serves those that are named when it is entered.
"""

import asyncio
import contextlib
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TypeVar

from gateway.v1 import admin_service_pb2, channel_pb2, event_pb2, event_service_pb2, message_pb2, status_pb2
from google.protobuf.duration_pb2 import Duration

from gatewayctl.client import Client, GatewayError, event_filter
from gatewayctl.plain import enum_name
from gatewayd.channels.sim_network import SimPlatform
from gatewayd.core.clock import SystemClock, SystemRandomness
from gatewayd.testing.sim_platform import serving
from tests.rigs.process import DEADLINE, Daemon

_T = TypeVar("_T")
_NETWORK = re.compile(r"unix:@([a-z]+)")
_OPEN = ("queued", "executed")


class House:
    """Everything that a story touches. `networks` are the chat networks by name, in this process."""

    def __init__(self, daemon: Daemon, client: Client, networks: dict[str, SimPlatform]) -> None:
        self.daemon = daemon
        self.client = client
        self.networks = networks

    @property
    def network(self) -> SimPlatform:
        """The only one."""
        (network,) = self.networks.values()
        return network

    async def hear(self, chat: str, count: int = 1, *, network: str = "", timeout: float = DEADLINE) -> list[str]:
        """What was said in that room, once so many messages were."""
        platform = self.networks[network] if network else self.network
        return [each.text for each in await platform.wait_heard(count, chat, timeout=timeout)]

    async def trace(self, reference: str, channel: str = "") -> admin_service_pb2.TraceMessageResponse:
        """The story of a message by its own or its execution's id, or with `channel` by the platform's id."""
        request = admin_service_pb2.TraceMessageRequest(message_id=reference, channel=channel)
        return await self.client.call("AdminService/TraceMessage", request, admin_service_pb2.TraceMessageResponse)

    async def story(self, reference: str, channel: str = "") -> admin_service_pb2.TraceMessageResponse:
        """The same, once the daemon has heard of the message and its story has ended."""

        async def ended() -> admin_service_pb2.TraceMessageResponse | None:
            try:
                story = await self.trace(reference, channel)
            except GatewayError as error:
                if error.reason != "NOT_FOUND":
                    raise
                return None
            return None if state_of(story) in _OPEN else story

        return await eventually(ended)

    async def sent(self, reference: str, channel: str, count: int) -> None:
        """Until so many pieces that belong to a message are known as sent: one that was only heard is ambiguous."""

        async def known() -> bool:
            parts = (await self.trace(reference, channel)).parts
            return len(parts) == count and all(part.state == message_pb2.OUTBOUND_STATE_SENT for part in parts)

        await eventually(known)

    async def channel(self, name: str) -> channel_pb2.Channel:
        """How a channel is."""
        answer = await self.client.call(
            "AdminService/ListChannels",
            admin_service_pb2.ListChannelsRequest(),
            admin_service_pb2.ListChannelsResponse,
        )
        return next(each for each in answer.channels if each.name == name)

    async def channel_is(self, name: str, state: str) -> channel_pb2.Channel:
        """The channel, once it is in that state."""

        async def there() -> channel_pb2.Channel | None:
            channel = await self.channel(name)
            return channel if enum_name(status_pb2.ChannelState.DESCRIPTOR, channel.state) == state else None

        return await eventually(there)

    async def event(
        self, *types: str, since: str = "", timeout: float = DEADLINE, **conditions: str
    ) -> tuple[event_pb2.Event, str]:
        """The first such event behind a cursor, and the cursor behind it."""
        request = event_service_pb2.WaitForEventRequest(
            filter=event_filter(types, **conditions), timeout=Duration(seconds=int(timeout)), since=since
        )
        answer = await self.client.call(
            "EventService/WaitForEvent", request, event_service_pb2.WaitForEventResponse, timeout=timeout + 5
        )
        assert not answer.timed_out, f"no {types} {conditions} within {timeout} s"
        return answer.event, answer.cursor

    async def events(self, *types: str, size: int = 1000, **conditions: str) -> list[event_pb2.Event]:
        """Those that the log keeps, oldest first."""
        request = event_service_pb2.ListEventsRequest(page_size=size, filter=event_filter(types, **conditions))
        answer = await self.client.call("EventService/ListEvents", request, event_service_pb2.ListEventsResponse)
        return list(reversed(answer.events))

    async def dead_letters(self, channel: str) -> Sequence[message_pb2.DeadLetter]:
        request = admin_service_pb2.ListDeadLettersRequest(channel=channel)
        answer = await self.client.call(
            "AdminService/ListDeadLetters", request, admin_service_pb2.ListDeadLettersResponse
        )
        return answer.dead_letters

    async def reconnect(self) -> None:
        """A fresh client, after the daemon was away."""
        await self.client.close()
        self.client = await self.daemon.client().__aenter__()


@contextlib.asynccontextmanager
async def house(place: Path, config: str) -> AsyncIterator[House]:
    """Serve the networks, run the daemon, connect the client; at its end the daemon must have ended with 0."""
    names = sorted(set(_NETWORK.findall(config)))
    networks = {name: SimPlatform(SystemClock(), SystemRandomness()) for name in names}
    config = _NETWORK.sub(lambda match: f"unix:{place}/{match[1]}.net", config)
    async with contextlib.AsyncExitStack() as stack:
        for name, platform in networks.items():
            await stack.enter_async_context(serving(platform, place / f"{name}.net"))
        daemon = Daemon(place, config)
        await daemon.start()
        try:
            rig = House(daemon, await daemon.client().__aenter__(), networks)
            try:
                yield rig
            finally:
                await rig.client.close()
        finally:
            code = await daemon.stop()
        assert code == 0, daemon.log.read_text()
        errors = [line for line in daemon.log.read_text().splitlines() if " ERROR " in line]
        assert not errors, daemon.log.read_text()


def state_of(story: admin_service_pb2.TraceMessageResponse) -> str:
    """`answered`, `dead_lettered`, …"""
    return enum_name(message_pb2.LedgerState.DESCRIPTOR, story.message.state)


async def eventually(look: Callable[[], Awaitable[_T | None]], *, timeout: float = DEADLINE) -> _T:
    """What `look` gives, once it is neither None nor False; looks again every 20 ms."""
    async with asyncio.timeout(timeout):
        while True:
            found = await look()
            if found is not None and found is not False:
                return found
            await asyncio.sleep(0.02)

"""What every channel adapter promises, as tests: derive from `ChannelContract` and say how your platform is reached.

    class TestMatrix(ChannelContract):
        @contextlib.asynccontextmanager
        async def world(self) -> AsyncIterator[ChannelWorld]: ...

The platform is the real protocol served by the test; faults are made by it, not by patching the adapter. Time is real
and everything waits for news, never for a while.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

import pytest

from gatewayd.channels.base import (
    ChannelAdapter,
    ChannelAuthError,
    ChannelConflict,
    ChannelUnavailable,
    RateLimited,
    SendRejected,
)
from gatewayd.core.errors import StoreFull
from gatewayd.core.message import InboundMessage, OutboundMessage

LIMIT = 10.0
"""Seconds that any one step of the contract may take."""


class ChannelWorld(Protocol):
    """A platform with its users, as the contract needs it."""

    faults: frozenset[str]
    """What `fault` can do, of: conflict, rate_limit, reject, duplicates, disconnects, disconnects_sending, auth."""
    receives: bool
    """Whether messages come through `run`."""

    def adapter(self) -> ChannelAdapter:
        """A new connection to one and the same account."""
        ...

    async def say(self, chat: str, peer: str, text: str) -> str:
        """A user says something; returns the platform's id of it."""
        ...

    async def unacknowledged(self) -> int:
        """Messages that the bot has not acknowledged."""
        ...

    async def wait_acknowledged(self) -> None:
        """Wait until there are none."""
        ...

    async def heard(self, chat: str) -> list[str]:
        """The texts that the bot sent to that chat, in order."""
        ...

    async def fault(self, name: str, value: float = 0.0) -> None:
        """Have a fault happen once, at the next occasion."""
        ...


class Running:
    """An adapter's `run` with an inbox and a pulse that remember."""

    def __init__(self, adapter: ChannelAdapter) -> None:
        self.adapter = adapter
        self.taken: list[InboundMessage] = []
        self.refuse: Exception | None = None
        self.hold = asyncio.Event()
        self.hold.set()
        self.account: str | None = None
        self._news = asyncio.Event()
        self.task = asyncio.create_task(adapter.run(self._inbox, self), name="adapter under test")

    async def _inbox(self, message: InboundMessage) -> None:
        if self.refuse is not None:
            raise self.refuse
        self.taken.append(message)
        self._news.set()
        await self.hold.wait()

    def ready(self, account: str = "") -> None:
        self.account = account
        self._news.set()

    def frame(self) -> None:
        return None

    heartbeat = frame

    async def until_ready(self) -> None:
        await self._until(lambda: self.account is not None)

    async def until_taken(self, count: int) -> list[InboundMessage]:
        await self._until(lambda: len(self.taken) >= count)
        return self.taken

    async def verdict(self) -> BaseException | None:
        """How `run` ended."""
        await asyncio.wait([self.task], timeout=LIMIT)
        assert self.task.done(), "run did not end"
        return self.task.exception()

    async def _until(self, condition: Any) -> None:
        async with asyncio.timeout(LIMIT):
            while not condition():
                if self.task.done():
                    self.task.result()
                    raise AssertionError("run ended too early")
                self._news.clear()
                news = asyncio.ensure_future(self._news.wait())
                await asyncio.wait([news, self.task], return_when=asyncio.FIRST_COMPLETED)
                news.cancel()


@contextlib.asynccontextmanager
async def running(adapter: ChannelAdapter) -> AsyncIterator[Running]:
    """Run an adapter; at the end it is cancelled, and must end by that."""
    run = Running(adapter)
    try:
        yield run
    finally:
        run.task.cancel()
        await asyncio.wait([run.task], timeout=LIMIT)
        assert run.task.done(), "run did not end when it was cancelled"
        await adapter.close()


def outbound(chat: str, text: str, number: int = 0) -> OutboundMessage:
    """A piece to send; its key depends on chat and number alone."""
    return OutboundMessage(f"row-{chat}-{number}", f"key-{chat}/{number}", "channel", chat, text)


class ChannelContract:
    """The promises of `gatewayd.channels.base`."""

    def world(self) -> AbstractAsyncContextManager[ChannelWorld]:
        """Override: a fresh platform."""
        raise NotImplementedError

    @contextlib.asynccontextmanager
    async def _world(self, *faults: str, receives: bool = False) -> AsyncIterator[ChannelWorld]:
        async with self.world() as world:
            missing = set(faults) - world.faults
            if missing:
                pytest.skip(f"the platform has no fault {', '.join(sorted(missing))}")
            if receives and not world.receives:
                pytest.skip("messages do not come through this adapter")
            yield world

    async def test_it_is_ready_once_it_is_connected_and_ends_when_cancelled(self) -> None:
        async with self._world() as world, running(world.adapter()) as run:
            await run.until_ready()

    async def test_a_message_is_handed_over_with_who_where_and_what(self) -> None:
        async with self._world(receives=True) as world, running(world.adapter()) as run:
            said = await world.say("room", "alice", "hello there")

            (message,) = await run.until_taken(1)

            assert (message.platform_id, message.chat, message.peer) == (said, "room", "alice")
            assert message.text == "hello there"
            assert message.account == run.account

    async def test_it_acknowledges_only_after_the_inbox_has_returned(self) -> None:
        async with self._world(receives=True) as world, running(world.adapter()) as run:
            run.hold.clear()
            await world.say("room", "alice", "hello")
            await run.until_taken(1)
            assert await world.unacknowledged() == 1

            run.hold.set()

            await world.wait_acknowledged()

    async def test_what_the_inbox_refuses_is_not_acknowledged_and_comes_again(self) -> None:
        async with self._world(receives=True) as world:
            async with running(world.adapter()) as run:
                run.refuse = StoreFull("no space is left")
                said = await world.say("room", "alice", "hello")
                assert isinstance(await run.verdict(), ChannelUnavailable)
                assert await world.unacknowledged() == 1

            async with running(world.adapter()) as run:
                assert (await run.until_taken(1))[0].platform_id == said
                await world.wait_acknowledged()

    async def test_a_repetition_is_handed_over_with_the_same_id(self) -> None:
        """Whether it is one is decided by the store, not by the adapter."""
        async with self._world("duplicates", receives=True) as world, running(world.adapter()) as run:
            await world.fault("duplicates")
            said = await world.say("room", "alice", "hello")

            assert [message.platform_id for message in await run.until_taken(2)] == [said, said]

    async def test_messages_of_one_chat_come_in_order(self) -> None:
        async with self._world(receives=True) as world:
            said = [await world.say("room", "alice", str(number)) for number in range(20)]
            async with running(world.adapter()) as run:
                assert [message.platform_id for message in await run.until_taken(20)] == said

    async def test_what_is_sent_arrives_in_order_with_an_id_each(self) -> None:
        async with self._world() as world, running(world.adapter()) as run:
            await run.until_ready()

            ids = [await run.adapter.send(outbound("room", f"line {number}", number)) for number in range(5)]

            assert await world.heard("room") == [f"line {number}" for number in range(5)]
            assert len(set(ids) - {""}) == 5

    async def test_it_can_send_after_it_has_stopped_receiving(self) -> None:
        async with self._world() as world:
            run = Running(world.adapter())
            await run.until_ready()
            run.task.cancel()
            await asyncio.wait([run.task])

            await run.adapter.send(outbound("room", "late"))

            assert await world.heard("room") == ["late"]
            await run.adapter.close()

    async def test_a_repeated_key_is_recognised_where_it_says_so(self) -> None:
        async with self._world() as world, running(world.adapter()) as run:
            if not run.adapter.capabilities.idempotent_send:
                pytest.skip("the platform does not recognise a repeated send")
            await run.until_ready()

            first = await run.adapter.send(outbound("room", "once"))

            assert await run.adapter.send(outbound("room", "once")) == first
            assert await world.heard("room") == ["once"]

    async def test_refused_credentials_are_for_a_human(self) -> None:
        async with self._world("auth") as world:
            adapter = world.adapter()
            await world.fault("auth")
            with pytest.raises(ChannelAuthError, match="token"):
                await adapter.check()
            await world.fault("auth")
            async with running(adapter) as run:
                assert isinstance(await run.verdict(), ChannelAuthError)
                assert run.account is None

    async def test_good_credentials_pass_the_check_beside_a_running_connection(self) -> None:
        async with self._world() as world, running(world.adapter()) as run:
            await run.until_ready()
            other = world.adapter()
            await other.check()
            await other.close()
            assert not run.task.done()

    async def test_another_connection_with_the_token_is_a_conflict(self) -> None:
        async with self._world("conflict") as world:
            await world.fault("conflict")
            async with running(world.adapter()) as run:
                assert isinstance(await run.verdict(), ChannelConflict)
                assert run.account is None

    async def test_a_cut_connection_can_be_tried_again(self) -> None:
        async with self._world("disconnects", receives=True) as world:
            async with running(world.adapter()) as run:
                await run.until_ready()
                await world.fault("disconnects")
                await world.say("room", "alice", "hello")
                assert type(await run.verdict()) is ChannelUnavailable
            async with running(world.adapter()) as run:
                assert [message.text for message in await run.until_taken(1)] == ["hello"]

    async def test_a_request_to_slow_down_says_for_how_long(self) -> None:
        async with self._world("rate_limit") as world, running(world.adapter()) as run:
            await run.until_ready()
            await world.fault("rate_limit", 7.0)
            with pytest.raises(RateLimited) as caught:
                await run.adapter.send(outbound("room", "too fast"))
            assert caught.value.retry_after == 7.0
            assert await world.heard("room") == []

    async def test_what_the_platform_will_never_take_is_rejected(self) -> None:
        async with self._world("reject") as world, running(world.adapter()) as run:
            await run.until_ready()
            await world.fault("reject")
            with pytest.raises(SendRejected):
                await run.adapter.send(outbound("room", "poison"))
            assert await world.heard("room") == []

    async def test_a_send_that_is_cut_off_is_neither_sent_nor_unsent(self) -> None:
        async with self._world("disconnects_sending") as world, running(world.adapter()) as run:
            await run.until_ready()
            await world.fault("disconnects_sending")
            (verdict,) = await asyncio.gather(run.adapter.send(outbound("room", "perhaps")), return_exceptions=True)
            assert isinstance(verdict, Exception)
            assert not isinstance(verdict, ChannelUnavailable | SendRejected)
            await run.adapter.send(outbound("room", "next", 1))
            assert (await world.heard("room"))[-1] == "next"

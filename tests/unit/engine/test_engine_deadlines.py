"""Deadlines hold wherever a message waits: behind others, for its agent, in a long line, in a handler."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from engine_rig import Collector, Gate, Note, gate, running

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.errors import DeadlineExceeded
from gatewayd.engine.context import MessageContext
from gatewayd.engine.events import DropReason, MessageDropped
from gatewayd.engine.handlers import HandlerAgent, message_handler
from gatewayd.testing.fakes import until


async def test_an_earlier_deadline_after_a_later_one_is_kept_and_so_is_the_later() -> None:
    async with running() as rig:
        rig.engine.register("gate", Gate)
        ends = {}
        for seconds in (100.0, 5.0, 50.0):
            send = rig.engine.send(Note(""), AgentId("gate", str(seconds)), timeout=seconds)
            ends[seconds] = asyncio.create_task(send)
        await until(lambda: rig.engine.stats().running == 3)
        for seconds in (5.0, 50.0, 100.0):
            await rig.clock.advance(seconds - 0.1 - rig.clock.monotonic())
            assert not ends[seconds].done()
            await rig.clock.advance(0.2)
            with pytest.raises(DeadlineExceeded):
                await ends[seconds]


async def test_a_message_whose_time_passed_in_a_long_line_is_not_begun() -> None:
    """The line is of handlers that compute: no alarm can ring before they are done."""
    begun: list[AgentId] = []

    class Busy(HandlerAgent):
        topics = ("news",)

        @message_handler
        async def on_note(self, message: Note, ctx: MessageContext) -> None:
            if not begun:
                rig.clock._monotonic += 10.0
            begun.append(self.id)

    async with running() as rig:
        for number in range(500):
            rig.engine.register(f"busy{number}", Busy)
            await rig.engine.get(f"busy{number}", lazy=False)
        assert await rig.engine.publish(Note(""), TopicId("news"), timeout=5.0) == 500
        await until(lambda: rig.engine.stats().queued == 0)

        assert 1 <= len(begun) <= 128, "the clock is read once in so many"
        reasons = [each.reason for each in rig.told(MessageDropped)]
        assert reasons == [DropReason.EXPIRED] * (500 - len(begun))


async def test_a_message_that_waits_while_its_agent_is_saved_has_its_deadline() -> None:
    saving, saved = asyncio.Event(), asyncio.Event()

    class Slow(Collector):
        async def save_state(self) -> Mapping[str, Any]:
            saving.set()
            await saved.wait()
            return {}

    async with running() as rig:
        rig.engine.register("slow", Slow)
        await rig.engine.get("slow", lazy=False)
        call = asyncio.create_task(rig.engine.send(Note(""), AgentId("slow"), timeout=5.0))
        save = asyncio.create_task(rig.engine.save_state())
        await until(saving.is_set)
        assert not call.done()
        await rig.clock.advance(6.0)
        with pytest.raises(DeadlineExceeded):
            await call
        saved.set()
        await save


async def test_a_handler_that_ends_in_time_is_not_cut_later() -> None:
    async with running() as rig:
        rig.engine.register("gate", Gate)
        one = await gate(rig.engine)
        call = asyncio.create_task(rig.engine.send(Note("x"), AgentId("gate"), timeout=5.0))
        await until(lambda: one.begun == ["x"])
        one.open.set()
        assert await call == "x"
        await rig.clock.advance(60.0)
        assert rig.engine.stats().expired == 0

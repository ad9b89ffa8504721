"""An engine that was not started: it keeps messages, and handles one at a time when it is told to."""

import asyncio

import pytest
from engine_rig import PATIENCE, Answer, Collector, Echo, Gate, Note, Other, Rig, collector

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.errors import DeadlineExceeded
from gatewayd.engine.context import MessageContext
from gatewayd.engine.handlers import HandlerAgent, message_handler


async def test_a_new_engine_keeps_messages_and_can_be_stepped() -> None:
    rig = Rig()
    rig.engine.register("one", Collector)
    rig.engine.register("echo", Echo)
    await rig.engine.publish(Note("a"), TopicId("news"))
    call = asyncio.create_task(rig.engine.send(Note("b"), AgentId("echo")))
    await rig.clock.settle()
    assert rig.engine.stats().queued == 2

    assert await rig.engine.process_next()
    assert collector(rig.engine, "one").got == ["a"]
    assert not call.done()
    assert await rig.engine.process_next()
    assert await call == Answer("b")
    assert not await rig.engine.process_next()
    await rig.engine.close()


async def test_a_step_whose_handler_is_cut_off_ends_and_does_not_cancel_who_takes_it() -> None:
    rig = Rig()
    rig.engine.register("gate", Gate)
    call = asyncio.create_task(rig.engine.send(Note(""), AgentId("gate"), timeout=5.0))
    await rig.clock.settle()
    step = asyncio.create_task(rig.engine.process_next())
    await rig.clock.advance(6.0)

    assert await asyncio.wait_for(step, PATIENCE)
    assert not step.cancelling()
    with pytest.raises(DeadlineExceeded):
        await call
    await rig.engine.close()


async def test_a_step_waits_for_a_factory_and_raises_what_is_not_ignored() -> None:
    async def make() -> Bad:
        await asyncio.sleep(0)
        return Bad()

    rig = Rig(ignore_unhandled_exceptions=False)
    rig.engine.register("bad", make, expected_class=Bad)
    await rig.engine.publish(Other(), TopicId("bad:", "x"))
    with pytest.raises(OSError, match="disk"):
        await rig.engine.process_next()
    await rig.engine.close()


class Bad(HandlerAgent):
    @message_handler
    async def on_other(self, message: Other, ctx: MessageContext) -> None:
        raise OSError("disk")

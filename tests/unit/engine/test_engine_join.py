"""What the daemon needs of the engine: messages of a topic that are awaited, belonging and depth."""

import asyncio
from collections.abc import Mapping
from typing import Any

import pytest
from engine_rig import Note, running

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.errors import Cancelled, Code
from gatewayd.engine.call import MAX_DEPTH
from gatewayd.engine.context import Belonging, MessageContext
from gatewayd.engine.errors import CallCycle
from gatewayd.engine.events import HandlerFailed, MessageDropped, MessageEvent
from gatewayd.engine.handlers import HandlerAgent, message_handler
from gatewayd.engine.lane import concurrent
from gatewayd.testing.fakes import until

WORK = Belonging("s", "x", "p")


class Kept:
    """A store of states, in memory."""

    def __init__(self) -> None:
        self.states: dict[str, bytes] = {}

    async def save(self, key: str, state: bytes) -> None:
        self.states[key] = state

    async def load(self, key: str) -> bytes | None:
        return self.states.get(key)


class Witness(HandlerAgent):
    """Tells how a message came, and waits if it is asked to."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    @message_handler
    async def on_note(self, message: Note, ctx: MessageContext) -> tuple[bool, str, str]:
        self.count += 1
        if message.text == "fail":
            raise RuntimeError("no")
        if message.text == "wait":
            await asyncio.Event().wait()
        return ctx.is_rpc, str(ctx.topic), ctx.belonging.execution_id

    async def save_state(self) -> Mapping[str, Any]:
        return {"count": self.count}

    async def load_state(self, state: Mapping[str, Any], /) -> None:
        self.count = state["count"]


async def test_a_message_of_a_topic_may_be_awaited_and_knows_both() -> None:
    async with running() as rig:
        rig.engine.register("a", Witness)

        reply = await rig.engine.send(Note("x"), AgentId("a", "k"), topic=TopicId("news", "k"), belonging=WORK)

        assert reply == (True, "news/k", "x")
        assert rig.engine.agents_for(TopicId("a:more")) == ("a",)
        assert rig.engine.agents_for(TopicId("news")) == ()
        assert [(one.id, one.running, one.queued) for one in rig.engine.busy()] == [(AgentId("a", "k"), 0, 0)]


async def test_one_that_is_awaited_is_never_told_as_dropped() -> None:
    async with running() as rig:
        rig.engine.register("a", Witness)
        first = asyncio.create_task(rig.engine.send(Note("wait"), AgentId("a"), topic=TopicId("news")))
        second = asyncio.create_task(rig.engine.send(Note("x"), AgentId("a"), topic=TopicId("news")))
        await until(lambda: rig.engine.stats().queued == 1)

        stopping = asyncio.create_task(rig.engine.stop())
        await rig.clock.run(asyncio.gather(first, second, stopping, return_exceptions=True))

        assert isinstance(second.exception(), Cancelled)
        assert rig.told(MessageDropped) == []


async def test_what_is_told_names_the_work() -> None:
    async with running() as rig:
        rig.engine.register("a", Witness)
        rig.engine.register("b", Witness)
        await rig.engine.publish(Note("fail"), TopicId("a:", "k"), belonging=WORK)
        await until(lambda: bool(rig.told(HandlerFailed)))
        await rig.engine.publish(object(), TopicId("b:", "k"), belonging=WORK)
        await until(lambda: bool(rig.told(MessageDropped)))

        told = [*rig.told(HandlerFailed), *rig.told(MessageDropped), *rig.told(MessageEvent)]
        assert {one.belonging for one in told} == {WORK}


async def test_agents_that_ask_each_other_too_deep_are_a_cycle() -> None:
    deepest = 0

    class Deeper(HandlerAgent):
        @message_handler
        async def on_note(self, message: Note, ctx: MessageContext) -> None:
            nonlocal deepest
            deepest = message.number
            await ctx.send(Note("", message.number + 1), AgentId("deeper", "same"))

    async with running() as rig:
        rig.engine.register("deeper", Deeper, order=concurrent(1000))

        with pytest.raises(CallCycle) as cycle:
            await rig.engine.send(Note("", 1), AgentId("deeper", "same"))

        assert (deepest, cycle.value.code, cycle.value.reason) == (MAX_DEPTH, Code.FAILED_PRECONDITION, "CALL_CYCLE")

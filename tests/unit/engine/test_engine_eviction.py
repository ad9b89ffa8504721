"""Idle instances are put away with their state, and come back with it."""

import asyncio

from engine_rig import PATIENCE, Collector, Echo, Gate, Note, collector, gate, running

from gatewayd.core.agents import AgentId
from gatewayd.core.errors import Unavailable
from gatewayd.engine.events import AgentEvicted
from gatewayd.engine.limits import Limits


class Keep:
    """A store for states in memory; fails while `broken`."""

    def __init__(self) -> None:
        self.kept: dict[str, bytes] = {}
        self.broken = False

    async def save(self, key: str, state: bytes) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise Unavailable("no disk")
        self.kept[key] = state

    async def load(self, key: str) -> bytes | None:
        await asyncio.sleep(0)
        return self.kept.get(key)


async def test_an_idle_instance_is_put_away_with_its_state_and_comes_back_with_it() -> None:
    store = Keep()
    async with running(limits=Limits(idle=100.0), state=store) as rig:
        rig.engine.register("one", Collector)
        rig.engine.register("gate", Gate)
        one, busy = AgentId("one", "a"), await gate(rig.engine)
        call = asyncio.create_task(rig.engine.send(Note(""), AgentId("gate"), timeout=1000.0))
        await rig.engine.send(Note("kept"), one)
        first = collector(rig.engine, "one", "a")
        await rig.clock.advance(99.0)
        assert rig.engine.instances() == [one, AgentId("gate")]
        await rig.clock.advance(27.0)

        assert rig.engine.instances() == [AgentId("gate")], "what is busy stays"
        assert rig.told(AgentEvicted) == [AgentEvicted(one)]
        assert first.closed == 1
        assert await rig.engine.send(Note("new"), one) == 2
        assert collector(rig.engine, "one", "a").got == ["kept", "new"]
        busy.open.set()
        await call


async def test_an_instance_whose_state_cannot_be_kept_stays() -> None:
    store = Keep()
    store.broken = True
    async with running(limits=Limits(idle=100.0), state=store) as rig:
        rig.engine.register("one", Collector)
        await rig.engine.send(Note("kept"), AgentId("one"))
        await rig.clock.advance(130.0)
        assert rig.engine.instances() == [AgentId("one")]
        store.broken = False
        await rig.clock.advance(130.0)
        assert rig.engine.instances() == []

    async with running(limits=Limits(idle=100.0)) as rig:
        rig.engine.register("one", Collector)
        rig.engine.register("echo", Echo)
        await rig.engine.send(Note("kept"), AgentId("one"))
        await rig.engine.send(Note(""), AgentId("echo"))
        await rig.clock.advance(130.0)
        assert rig.engine.instances() == [AgentId("one")], "without a store only what has no state is put away"


async def test_a_message_that_comes_while_an_instance_is_put_away_is_handled_by_the_next() -> None:
    store = Keep()
    saving, saved = asyncio.Event(), asyncio.Event()

    class Slow(Collector):
        async def close(self) -> None:
            saving.set()
            await saved.wait()

    async with running(limits=Limits(idle=100.0), state=store) as rig:
        rig.engine.register("one", Slow)
        await rig.engine.send(Note("a"), AgentId("one"))
        await rig.clock.advance(126.0)
        await asyncio.wait_for(saving.wait(), PATIENCE)
        call = asyncio.create_task(rig.engine.send(Note("b"), AgentId("one")))
        await rig.clock.settle()
        assert not call.done()
        saved.set()

        assert await asyncio.wait_for(call, PATIENCE) == 2
        assert await rig.engine.send(Note("c"), AgentId("one")) == 3, "and there is no other beside that one"
        assert rig.engine.instances() == [AgentId("one")]


async def test_an_instance_that_is_cancelled_by_itself_while_it_saves_keeps_no_other_from_being_put_away() -> None:
    class Broken(Collector):
        topics = ()

        async def save_state(self) -> dict[str, list[str]]:
            raise asyncio.CancelledError

    async with running(limits=Limits(idle=100.0), state=Keep()) as rig:
        rig.engine.register("broken", Broken)
        rig.engine.register("one", Collector)
        for agent in ("broken", "one"):
            await rig.engine.send(Note("x"), AgentId(agent))
        await rig.clock.advance(130.0)
        await rig.clock.advance(130.0)
        assert rig.engine.instances() == [AgentId("broken")]

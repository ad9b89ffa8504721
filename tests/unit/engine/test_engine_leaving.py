"""Agent types that are replaced or taken back while their handlers run: these end, and the next ones wait for that."""

import asyncio

import pytest
from engine_rig import Note, running
from leaving_scene import ONE, Scene, at_work, send

from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.errors import AgentNotFound, DeadlineExceeded, Unavailable
from gatewayd.engine.context import MessageContext
from gatewayd.engine.errors import CallCycle, Superseded
from gatewayd.engine.handlers import HandlerAgent, message_handler
from gatewayd.engine.handling import GRACE
from gatewayd.engine.lane import LATEST, concurrent
from gatewayd.engine.limits import Limits
from gatewayd.engine.subscriptions import Subscription
from gatewayd.testing.fakes import until


async def test_what_runs_ends_on_the_old_instance_and_what_waits_is_for_the_new_one() -> None:
    async with at_work("wait", "second") as (rig, scene, asked):
        rig.engine.replace("a", scene.made("new"))
        asked.append(send(rig.engine, "third"))
        await rig.clock.settle()
        assert scene.said == ["make old", "old wait"]
        scene.go.set()

        assert await asyncio.gather(*asked) == ["old 1", "new 2", "new 3"]
        assert scene.said == [
            *("make old", "old wait", "save old", "close old"),
            *("make new", "new second", "new third"),
        ]
        assert rig.engine.stats().instances == 1


async def test_other_keys_do_not_wait_for_an_instance_that_leaves() -> None:
    async with at_work("wait") as (rig, scene, _):
        rig.engine.replace("a", scene.made("new"))
        assert await send(rig.engine, "x", AgentId("a", "other")) == "new 1"
        scene.go.set()


async def test_an_instance_with_nothing_to_do_leaves_at_once() -> None:
    async with at_work("first") as (rig, scene, asked):
        assert await asked[0] == "old 1"
        rig.engine.replace("a", scene.made("new"))
        await until(lambda: "close old" in scene.said)
        assert rig.engine.stats().instances == 0
        assert await send(rig.engine, "second") == "new 2"


async def test_subscriptions_stay_where_a_type_is_replaced() -> None:
    async with at_work("wait") as (rig, scene, _):
        rig.engine.add_subscription(Subscription("news", "a"))
        rig.engine.replace("a", scene.made("new"))
        assert await rig.engine.publish(Note("heard"), TopicId("news", "k")) == 1
        assert await rig.engine.publish(Note("named"), TopicId("a:x", "k")) == 1
        scene.go.set()
        await until(lambda: "new named" in scene.said)
        assert scene.said.index("close old") < scene.said.index("new heard")


async def test_of_a_type_that_is_retired_what_runs_ends_and_what_waits_is_told() -> None:
    async with at_work("wait", "second") as (rig, scene, asked):
        rig.engine.retire("a", "it goes")
        with pytest.raises(Unavailable, match="it goes"):
            await asked[1]
        with pytest.raises(AgentNotFound):
            await send(rig.engine, "x")
        assert rig.engine.subscriptions() == ()
        scene.go.set()

        assert await asked[0] == "old 1"
        await until(lambda: "close old" in scene.said)
        assert scene.states == {"agent:a/k": b'{"count": 1}'}
        assert rig.engine.instances() == []


async def test_a_type_that_comes_back_waits_for_what_still_runs_of_it() -> None:
    async with at_work("wait") as (rig, scene, asked):
        rig.engine.retire("a", "it goes")
        rig.engine.register("a", scene.made("new"))
        asked.append(send(rig.engine, "back"))
        made = asyncio.create_task(rig.engine.get("a", "k", lazy=False))
        await rig.clock.settle()
        assert scene.said == ["make old", "old wait"]
        scene.go.set()

        assert await asyncio.gather(*asked) == ["old 1", "new 2"]
        assert await made == ONE


async def test_reloads_that_follow_while_one_drains_leave_nothing_behind() -> None:
    """Whatever was to come in between is never made, and keeps no place."""
    async with at_work("wait", "second", limits=Limits(instances=2)) as (rig, scene, asked):
        for number in range(20):
            rig.engine.replace("a", scene.made(f"new{number}"))
            await rig.clock.settle()
            asked.append(send(rig.engine, f"after {number}"))
            await rig.clock.settle()
        assert rig.engine._instances.count == 2
        scene.go.set()

        assert (await asyncio.gather(*asked))[:2] == ["old 1", "new19 2"]
        assert [one for one in scene.said if one.startswith("make")] == ["make old", "make new19"]
        await until(lambda: rig.engine._instances.count == 1)
        assert not rig.engine._leaving._ends


async def test_a_replaced_type_that_is_retired_before_its_turn_is_not_made() -> None:
    async with at_work("wait") as (rig, scene, asked):
        rig.engine.replace("a", scene.made("new"))
        waits = send(rig.engine, "never")
        made = asyncio.create_task(rig.engine.get("a", "k", lazy=False))
        await rig.clock.settle()
        rig.engine.retire("a", "it goes")
        for one in (waits, made):
            with pytest.raises(Unavailable):
                await one
        scene.go.set()
        assert await asked[0] == "old 1"
        await until(lambda: "close old" in scene.said)
        assert "make new" not in scene.said
        assert rig.engine._instances.count == 0


async def test_what_a_running_handler_asks_of_its_own_instance_stays_with_it() -> None:
    """Else it waited for an instance that waits for its end: what it asks now, and what it had asked before."""
    async with at_work("ask a x", "wait b", "ask a y", order=concurrent(3)) as (rig, scene, asked):
        await until(lambda: "old ask a y" in scene.said)
        rig.engine.replace("a", scene.made("new"), order=concurrent(3))
        later = send(rig.engine, "later")
        scene.go.set()

        assert {await asked[0], await asked[2]} <= {f"old {number}" for number in range(2, 6)}
        assert await later == "new 6"
        assert scene.said[-1] == "new later"


async def test_calls_that_wait_behind_a_running_handler_that_asked_them_stay_with_it() -> None:
    async with at_work("wait a", order=concurrent(2)) as (rig, scene, asked):

        class Asker(HandlerAgent):
            @message_handler
            async def on_note(self, note: Note, ctx: MessageContext) -> str:
                return str(await ctx.send(Note("nested"), ONE))

        rig.engine.register("asker", Asker)
        asked.append(send(rig.engine, "ask asker nested"))
        await until(lambda: "old ask asker nested" in scene.said)
        rig.engine.replace("a", scene.made("new"))
        scene.go.set()
        assert await asyncio.gather(*asked) == ["old 1", "old 3"]


async def test_two_leaving_instances_that_ask_each_other_do_not_wait_for_those_that_follow() -> None:
    scene = Scene()
    async with running(state=scene) as rig:
        for name in ("a", "b"):
            rig.engine.register(name, scene.made("old"), order=concurrent(2))
        asked = [send(rig.engine, "ask b x"), send(rig.engine, "ask a y", AgentId("b", "k"))]
        await until(lambda: {"old ask b x", "old ask a y"} <= set(scene.said))
        for name in ("a", "b"):
            rig.engine.replace(name, scene.made("new"), order=concurrent(2))
        scene.go.set()
        assert {(await one)[:3] for one in asked} == {"old"}


async def test_a_serial_handler_that_asks_its_own_instance_is_a_cycle_also_while_it_leaves() -> None:
    async with at_work("ask a x") as (rig, scene, asked):
        rig.engine.replace("a", scene.made("new"))
        scene.go.set()
        with pytest.raises(CallCycle):
            await asked[0]


async def test_a_handler_that_runs_out_of_time_makes_room_for_the_new_instance() -> None:
    async with at_work("first") as (rig, scene, _):
        late, deaf = send(rig.engine, "wait", timeout=5.0), AgentId("a", "deaf")
        lost = send(rig.engine, "deaf", deaf, timeout=5.0)
        await until(lambda: {"old wait", "old deaf"} <= set(scene.said))
        rig.engine.replace("a", scene.made("new"))
        after = [send(rig.engine, "after"), send(rig.engine, "after", deaf)]
        await rig.clock.advance(6.0)
        for one in (late, lost):
            with pytest.raises(DeadlineExceeded):
                await one
        assert await after[0] == "new 2"
        await rig.clock.advance(GRACE + 1.0)  # it goes on although it was interrupted, and is left behind
        assert await after[1] == "new 1"
        scene.go.set()


async def test_what_waits_for_the_new_instance_keeps_its_own_deadline() -> None:
    async with at_work("wait") as (rig, scene, asked):
        short = send(rig.engine, "moved", timeout=5.0)
        await rig.clock.settle()
        rig.engine.replace("a", scene.made("new"))
        also = send(rig.engine, "later", timeout=6.0)
        await rig.clock.advance(10.0)
        for one in (short, also):
            with pytest.raises(DeadlineExceeded):
                await one
        scene.go.set()
        assert await asked[0] == "old 1"


async def test_where_only_the_newest_waits_now_the_others_are_superseded() -> None:
    async with at_work("wait", "second", "third") as (rig, scene, asked):
        rig.engine.replace("a", scene.made("new"), order=LATEST)
        with pytest.raises(Superseded):
            await asked[1]
        scene.go.set()
        assert await asked[2] == "new 2"

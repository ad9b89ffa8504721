"""What an instance that leaves hands on: its state, what is being made or put away, and what a stop finds of it."""

import asyncio

import pytest
from engine_rig import running
from leaving_scene import ONE, Clerk, Scene, at_work, send

from gatewayd.core.agents import AgentId
from gatewayd.core.errors import Cancelled, DeadlineExceeded, StoreBusy
from gatewayd.engine.limits import Limits
from gatewayd.testing.fakes import until


@pytest.mark.parametrize("version", ["broken", "cancels", "exits"])
async def test_an_instance_that_does_not_give_its_state_is_followed_all_the_same(version: str) -> None:
    async with at_work("first", version=version) as (rig, scene, _):
        rig.engine.replace("a", scene.made("new"))
        assert await send(rig.engine, "second") == "new 1"
        assert f"close {version}" in scene.said


async def test_many_that_leave_at_once_do_not_fill_the_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes so much at a time, and what it refuses would be lost."""
    async with at_work("first") as (rig, scene, _):
        keys = [AgentId("a", str(number)) for number in range(100)]
        await asyncio.gather(*(send(rig.engine, "x", key) for key in keys))
        waiting, save = 0, scene.save

        async def bounded(key: str, state: bytes) -> None:
            nonlocal waiting
            if waiting == 20:
                raise StoreBusy("20 wait")
            waiting += 1
            await rig.clock.sleep(0.01)
            await save(key, state)
            waiting -= 1

        monkeypatch.setattr(scene, "save", bounded)
        rig.engine.replace("a", scene.made("new"))
        after = asyncio.gather(*(send(rig.engine, "y", key) for key in keys))
        assert await rig.clock.run(after) == ["new 2"] * 100


async def test_a_busy_store_is_asked_again_for_the_state_of_an_instance_that_leaves(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async with at_work("first") as (rig, scene, asked):
        await asyncio.gather(*asked)
        tries, save = 0, scene.save

        async def busy(key: str, state: bytes) -> None:
            nonlocal tries
            tries += 1
            if tries < 3:
                raise StoreBusy("busy")
            await save(key, state)

        monkeypatch.setattr(scene, "save", busy)
        rig.engine.replace("a", scene.made("new"))
        assert await rig.clock.run(send(rig.engine, "second")) == "new 2"


async def test_who_gives_a_state_to_the_next_instance_does_not_wait_for_ever() -> None:
    """As where an instance is busy."""
    async with at_work("wait", limits=Limits(timeout=600.0)) as (rig, scene, asked):
        rig.engine.replace("a", scene.made("new"))
        saved = {"version": 1, "agents": {str(ONE): {"count": 5}}, "subscriptions": []}
        loading = asyncio.create_task(rig.engine.load_state(saved))
        await rig.clock.advance(61.0)
        assert loading.done()
        with pytest.raises(DeadlineExceeded, match="busy for too long"):
            await loading
        scene.go.set()
        assert await asked[0] == "old 1"
        await rig.engine.load_state(saved)
        assert await send(rig.engine, "next") == "new 6"


async def test_the_next_instance_waits_for_one_that_was_being_put_away_when_its_type_is_replaced() -> None:
    async with at_work("first", version="slow", limits=Limits(idle=100.0)) as (rig, scene, asked):
        assert await asked[0] == "slow 1"
        await rig.clock.advance(126.0)
        await until(lambda: "close slow" in scene.said)
        rig.engine.replace("a", scene.made("new"))
        asked.append(send(rig.engine, "second"))
        await rig.clock.settle()
        assert "make new" not in scene.said
        scene.go.set()
        assert await asked[1] == "new 2"
        assert scene.said.index("closed slow") < scene.said.index("make new")
        assert rig.engine._instances.count == 1


async def test_an_instance_that_is_being_made_when_its_type_is_replaced_is_closed() -> None:
    scene, go = Scene(), asyncio.Event()

    async def slowly() -> Clerk:
        await go.wait()
        return Clerk(scene, "old")

    async with running(state=scene) as rig:
        rig.engine.register("a", slowly)
        waits = send(rig.engine, "x")
        await rig.clock.settle()
        rig.engine.replace("a", scene.made("new"))
        go.set()
        assert await waits == "new 1"
        assert scene.said == ["make old", "save old", "close old", "make new", "new x"]


async def test_a_message_that_is_admitted_while_its_type_is_replaced_is_for_the_new_one() -> None:
    scene, asked, go = Scene(), asyncio.Event(), asyncio.Event()

    async def admit(message: object, _: object) -> object:
        asked.set()
        await go.wait()
        return message

    async with running(state=scene, admit=admit) as rig:
        rig.engine.register("a", scene.made("old"))
        waits = send(rig.engine, "x")
        await asked.wait()
        rig.engine.replace("a", scene.made("new"))
        go.set()
        assert await waits == "new 1"


# Stopping


async def test_a_stop_when_idle_waits_for_what_leaves_and_for_what_follows() -> None:
    async with at_work("wait", "second") as (rig, scene, asked):
        rig.engine.replace("a", scene.made("new"))
        stopping = asyncio.create_task(rig.engine.stop_when_idle())
        await rig.clock.settle()
        assert not stopping.done()
        scene.go.set()
        await stopping
        assert await asyncio.gather(*asked) == ["old 1", "new 2"]


async def test_a_stop_keeps_the_state_of_what_leaves_and_closes_it_once() -> None:
    async with at_work("first", "wait", "third") as (rig, scene, asked):
        await until(lambda: "old wait" in scene.said)
        rig.engine.replace("a", scene.made("new"))
        stopping = asyncio.create_task(rig.engine.stop())
        await rig.clock.run(stopping)
        for one in asked[1:]:
            with pytest.raises(Cancelled):
                await one
        await rig.engine.keep_all()
        await rig.engine.close()
        assert scene.states == {"agent:a/k": b'{"count": 1}'}
        assert scene.said.count("close old") == 1
        assert not [one for one in scene.said if one.startswith("new")]
        assert rig.engine._instances.count == 0


async def test_an_engine_that_starts_again_sees_off_what_its_stop_has_left() -> None:
    async with at_work("first", "deaf") as (rig, scene, _):
        await until(lambda: "old deaf" in scene.said)
        rig.engine.replace("a", scene.made("new"))
        await rig.clock.run(rig.engine.stop())
        assert "close old" not in scene.said
        await rig.engine.start()
        after = send(rig.engine, "after")
        await rig.clock.settle()
        scene.go.set()
        assert await rig.clock.run(after) == "new 3"

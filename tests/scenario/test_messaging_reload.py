"""A reload that changes or takes away agents while messages to them are handled, in a whole gateway."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gatewayctl.client import Answer, Client
from gatewayd.core.agents import AgentId, TopicId
from gatewayd.core.errors import AgentNotFound, DeadlineExceeded, GatewayError, Unavailable
from tests.rigs import talkers
from tests.rigs.house import eventually
from tests.rigs.in_process import InProcess

KEPT = (
    "agents:\n"
    "  speaker: {class: 'tests.rigs.talkers:Speaker', timeout: 60s}\n"
    "  other: {class: 'tests.rigs.talkers:Speaker', timeout: 60s}\n"
)
VERSION = "  version: {class: 'tests.rigs.talkers:Version', options: {name: NAME}, timeout: 60s}\n"
OLD, NEW = KEPT + VERSION.replace("NAME", "old"), KEPT + VERSION.replace("NAME", "new")


@pytest.fixture(autouse=True)
def scene() -> talkers.Scene:
    return talkers.renew()


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with InProcess(tmp_path, OLD) as gateway:
        yield gateway


def ask(gateway: InProcess, text: str, key: str = "k") -> asyncio.Task[Any]:
    """As another agent does."""
    return asyncio.create_task(gateway.house.messaging.engine.send(text, AgentId("version", key)))


async def at_work(gateway: InProcess, scene: talkers.Scene) -> asyncio.Task[Any]:
    """A handler that has begun and waits for `scene.go`; what it was asked."""
    runs = ask(gateway, "wait")
    await scene.until(1)
    return runs


async def begun(client: Client, scene: talkers.Scene) -> Answer:
    """The same, asked by an agent in whose turn it is."""
    turn = client.stream("speaker", "send version/k wait")
    await scene.until(1)
    return turn


async def queued(gateway: InProcess, text: str) -> asyncio.Task[Any]:
    """What waits behind that."""
    waits = ask(gateway, text)
    await eventually(lambda: _queued(gateway, 1))
    return waits


async def test_F20_handlers_that_run_end_on_their_class_and_what_waits_is_for_the_new_one(
    gateway: InProcess, scene: talkers.Scene
) -> None:
    """One key is handled by one instance at a time, in order, and its state goes with it; others do not wait."""
    async with gateway.client("c") as client:
        turn = await begun(client, scene)
        waits = await queued(gateway, "second")
        await gateway.reload(NEW)
        assert await asyncio.wait_for(ask(gateway, "hello", "else"), 60) == "new 1 hello"
        third = ask(gateway, "third")
        scene.go.set()

        assert (await turn.wait()).content == "old 1 wait"
        assert await asyncio.wait_for(asyncio.gather(waits, third), 60) == ["new 2 second", "new 3 third"]
        assert scene.said == ["old wait", "new hello", "old closes", "new second", "new third"]


async def test_F20_a_turn_of_a_chat_ends_on_the_class_that_it_began_with(
    gateway: InProcess, scene: talkers.Scene
) -> None:
    async with gateway.client("c") as client:
        turn = client.stream("version", "wait")
        await scene.until(1)
        await gateway.reload(NEW)
        after = client.stream("version", "after")
        await after.accepted()
        scene.go.set()
        assert (await turn.wait()).content == "old 1 wait"
        assert (await after.wait()).content == "new 2 after"


async def test_F20_an_agent_may_become_one_of_another_kind_while_its_handlers_run(
    gateway: InProcess, scene: talkers.Scene
) -> None:
    """From a class of handlers to a model, which has other messages in its hands, and back."""
    async with gateway.client("c") as client:
        turn = await begun(client, scene)
        waits = client.stream("other", "send version/k second")
        await eventually(lambda: _queued(gateway, 1))
        await gateway.reload(KEPT + "  version: {model: offline/echo}\n")
        scene.go.set()
        assert (await turn.wait()).content == "old 1 wait"
        assert (await waits.wait()).content == "second"
        await gateway.reload(NEW)
        assert (
            await client.send("speaker", "send version/k back")
        ).content == "new 1 back"  # a model hands on no state


async def test_F20_the_new_class_hears_what_it_names_and_no_longer_what_the_old_one_did(
    gateway: InProcess, scene: talkers.Scene
) -> None:
    relay = "  version: {class: 'tests.rigs.talkers:Relay', topics: [also]}\n"
    await gateway.reload(KEPT + relay)
    heard = gateway.house.messaging.engine.agents_for
    assert [list(heard(TopicId(topic))) for topic in ("begin", "also", "other")] == [["version"], ["version"], []]
    runs = ask(gateway, "x")
    await gateway.reload(KEPT + VERSION.replace("timeout", "topics: [other], timeout"))
    assert [list(heard(TopicId(topic))) for topic in ("begin", "also", "other")] == [[], [], ["version"]]
    await runs


async def test_F21_an_agent_that_leaves_ends_what_runs_and_tells_what_waits(
    gateway: InProcess, scene: talkers.Scene
) -> None:
    async with gateway.client("c") as client:
        turn = await begun(client, scene)
        waits = await queued(gateway, "second")
        await gateway.reload(KEPT)

        with pytest.raises(Unavailable, match="taken out of the configuration"):
            await asyncio.wait_for(waits, 60)
        with pytest.raises(AgentNotFound):
            await ask(gateway, "x")
        scene.go.set()
        assert (await turn.wait()).content == "old 1 wait"
        await scene.until(2)
        assert scene.said == ["old wait", "old closes"]

        await gateway.reload(NEW)
        assert (await client.send("speaker", "send version/k back")).content == "new 2 back"


async def test_F21_an_agent_in_text_that_leaves_ends_what_it_was_asked(tmp_path: Path) -> None:
    slow = "  slow: {model: offline/slow}\n"
    async with InProcess(tmp_path, KEPT + slow) as gateway, gateway.client("c") as client:
        turn = client.stream("speaker", "send slow 300ms still at it")
        await eventually(lambda: _running(gateway, 1))
        await gateway.reload(KEPT)
        assert (await turn.wait()).content == "still at it"


async def test_F20_reloads_that_follow_each_other_while_a_handler_runs(
    gateway: InProcess, scene: talkers.Scene
) -> None:
    """Changed, taken away and brought back: only what is current in the end follows the one that runs."""
    runs = await at_work(gateway, scene)
    for config in (NEW, OLD.replace("old", "between"), KEPT, OLD.replace("old", "last")):
        await gateway.reload(config)
        lost = ask(gateway, "x")
        await eventually(lambda lost=lost: _settled(gateway, lost))  # type: ignore[misc]
    scene.go.set()
    assert await asyncio.wait_for(runs, 60) == "old 1 wait"
    assert await asyncio.wait_for(lost, 60) == "last 2 x"
    assert dict(scene.made) == {"old": 1, "last": 1}


async def test_F20_a_handler_that_outlives_its_time_gives_way_to_the_new_class(
    tmp_path: Path, scene: talkers.Scene
) -> None:
    async with InProcess(tmp_path, OLD.replace("old}, timeout: 60s", "old}, timeout: 1s")) as gateway:
        runs = await at_work(gateway, scene)
        await gateway.reload(NEW)
        after = ask(gateway, "after")
        with pytest.raises(DeadlineExceeded, match="version did not finish in time"):
            await asyncio.wait_for(runs, 60)
        assert await asyncio.wait_for(after, 60) == "new 1 after"


async def test_F20_a_stop_waits_for_what_leaves_and_keeps_its_state(tmp_path: Path, scene: talkers.Scene) -> None:
    async with InProcess(tmp_path, OLD) as gateway:
        runs = await at_work(gateway, scene)
        await gateway.reload(NEW)
        after = await queued(gateway, "after")
        going = asyncio.create_task(_go_when_it_stops(gateway, scene))
    await going
    assert (await runs, await after) == ("old 1 wait", "new 2 after")
    async with InProcess(tmp_path, OLD) as gateway, gateway.client("c") as client:
        assert (await client.send("speaker", "send version/k x")).content == "old 3 x"


async def test_F21_a_stop_cuts_off_what_leaves_when_its_time_is_over(tmp_path: Path, scene: talkers.Scene) -> None:
    short = "gateway: {drain_timeout: 1s}\n"
    async with InProcess(tmp_path, short + OLD) as gateway:
        assert await ask(gateway, "counts") == "old 1 counts"
        runs = ask(gateway, "wait")
        await scene.until(2)
        await gateway.reload(short + KEPT)
    with pytest.raises(GatewayError, match="stopped"):
        await runs
    async with InProcess(tmp_path, short + NEW) as gateway:
        assert await ask(gateway, "x") == "new 2 x"


async def _go_when_it_stops(gateway: InProcess, scene: talkers.Scene) -> None:
    async def stopping() -> bool:
        return gateway.house.reloader._closed

    await eventually(stopping)
    scene.go.set()


async def _queued(gateway: InProcess, count: int) -> bool:
    return gateway.house.messaging.engine.stats().queued == count


async def _running(gateway: InProcess, count: int) -> bool:
    return gateway.house.messaging.engine.stats().running == count


async def _settled(gateway: InProcess, lost: asyncio.Task[Any]) -> bool:
    """It waits, or was told why not."""
    return (lost.done() and lost.exception() is not None) or gateway.house.messaging.engine.stats().queued > 0

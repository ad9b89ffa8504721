"""What came back, found no worker, and rests: it goes on when one comes, once and in order, unless it was paused."""

import asyncio
import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest
from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import execution_pb2, runtime_service_pb2

from gatewayctl.client import Call, Client, GatewayError
from gatewayd.core.errors import StoreBusy
from gatewayd.core.event import EventType
from gatewayd.core.filter import EventFilter
from gatewayd.core.work import Execution
from gatewayd.runtime import lanes, leaving, returning
from gatewayd.storage.checkpoints import CheckpointWrite
from tests.rigs.house import eventually, house
from tests.rigs.in_process import InProcess
from tests.rigs.stream import RawStream

SOON = """
gateway: {reconnect_timeout: 300ms}
agents: {far: {remote: true, timeout: 60s}}
entry_points: {far: {agent: far}}
"""

CHAT = """
channels:
  shop: {platform: sim, server: "unix:@net", token: shop, routing: {default: far}}
"""


async def _asks(call: Call) -> str:
    if call.state is None:
        await call.wait_for_input("Who?", {"asked": call.text}, node_id="name")
        return ""
    return f"{call.state['asked']}: {call.inputs['name']}"


async def _state(client: Client, execution_id: str) -> execution_pb2.Execution:
    request = runtime_service_pb2.GetExecutionRequest(execution_id=execution_id)
    answer = await client.call("RuntimeService/GetExecution", request, runtime_service_pb2.GetExecutionResponse)
    return answer.execution


async def _in_state(client: Client, execution_id: str, state: int) -> execution_pb2.Execution:
    async def there() -> execution_pb2.Execution | None:
        found = await _state(client, execution_id)
        return found if found.state == state else None

    return await eventually(there)


async def _rested(gateway: InProcess, count: int) -> None:
    """Wait until so many pauses were told."""

    async def told() -> bool:
        page = await gateway.house.store.read_forward(0, EventFilter(frozenset({EventType.EXECUTION_PAUSED})), 99)
        return len(page.events) == count

    await eventually(told)


async def test_what_comes_back_and_finds_nobody_rests_again_with_what_it_has(tmp_path: Path) -> None:
    """Its checkpoint and its input are kept until a worker is there; then it goes on by itself."""
    async with InProcess(tmp_path, SOON) as gateway, gateway.client("c") as client:
        async with gateway.client("worker") as worker, worker.serve_agent("far", _asks):
            asking = client.stream("far", "go")
            run = await asking.accepted()
            await _in_state(client, run, execution_pb2.EXECUTION_STATE_INPUT_REQUIRED)
        await client.inject_input(run, "Ann", node_id="name")
        await _rested(gateway, 1)
        kept = await _in_state(client, run, execution_pb2.EXECUTION_STATE_PAUSED)
        assert kept.reason == "no worker of far is there; it goes on when one is"
        await client.resume(run)
        await _rested(gateway, 2)
        await _in_state(client, run, execution_pb2.EXECUTION_STATE_PAUSED)
        async with gateway.client("worker") as worker, worker.serve_agent("far", _asks):
            assert (await asyncio.wait_for(asking.wait(), 60)).content == "go: Ann"


async def _asked(client: Client, texts: Sequence[str]) -> list[str]:
    """Executions that wait for input, oldest first."""
    runs = [(await client.trigger("far", text)).execution_id for text in texts]
    for run in runs:
        await _in_state(client, run, execution_pb2.EXECUTION_STATE_INPUT_REQUIRED)
    return runs


async def _fed(gateway: InProcess, client: Client, runs: Sequence[str]) -> None:
    """They come back and find nobody; the newest first."""
    for run in reversed(runs):
        await client.inject_input(run, "Ann", node_id="name")
        await _in_state(client, run, execution_pb2.EXECUTION_STATE_PAUSED)


async def test_what_rests_so_goes_on_after_a_start_of_the_daemon_in_order_and_within_its_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of what runs, and of what may wait: where there is no room for one it stays until there is."""
    gateway = InProcess(tmp_path, SOON.replace("{agent: far}", "{agent: far, max_concurrent: 1}"))
    async with gateway, gateway.client("c") as client:
        async with gateway.client("worker") as worker, worker.serve_agent("far", _asks):
            runs = await _asked(client, ["a", "b", "c"])
        await _fed(gateway, client, runs)
    seen: list[str] = []
    at_once: list[int] = []
    now = 0

    async def answer(call: Call) -> str:
        nonlocal now
        now += 1
        at_once.append(now)
        assert call.state is not None
        seen.append(f"{call.state['asked']}: {call.inputs['name']}")
        await asyncio.sleep(0)
        now -= 1
        return "done"

    monkeypatch.setattr(lanes, "MAX_QUEUED_SHARE", 1)
    monkeypatch.setattr(returning, "_RETRY", 0.01)
    async with gateway, gateway.client("c") as client:
        async with gateway.client("worker") as worker, worker.serve_agent("far", answer, max_concurrent=9):
            for run in runs:
                await _in_state(client, run, execution_pb2.EXECUTION_STATE_SUCCEEDED)
    assert seen == ["a: Ann", "b: Ann", "c: Ann"]
    assert at_once == [1, 1, 1]


async def test_one_that_comes_to_rest_when_a_worker_is_back_already_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It found nobody, and while that is written one comes."""
    async with InProcess(tmp_path, SOON) as gateway, gateway.client("c") as client:
        async with gateway.client("worker") as worker, worker.serve_agent("far", _asks):
            (run,) = await _asked(client, ["a"])
        store, resting, there = gateway.house.store, asyncio.Event(), asyncio.Event()
        save = store.save_checkpoint

        async def late(write: CheckpointWrite) -> None:
            resting.set()
            await there.wait()
            await save(write)

        def slowly(write: CheckpointWrite) -> asyncio.Future[None]:
            return asyncio.ensure_future(late(write)) if write.awaits else save(write)

        monkeypatch.setattr(store, "save_checkpoint", slowly)
        await client.inject_input(run, "Ann", node_id="name")
        await asyncio.wait_for(resting.wait(), 60)
        async with gateway.client("worker") as worker, worker.serve_agent("far", _asks):

            async def serves() -> bool:
                return gateway.house.agents.workers.serving("far") == 1

            await eventually(serves)
            there.set()
            await _in_state(client, run, execution_pb2.EXECUTION_STATE_SUCCEEDED)


async def test_an_entry_point_without_room_does_not_keep_others_from_coming_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry_points = "far: {agent: far, max_concurrent: 1}, also: {agent: far}"
    gateway = InProcess(tmp_path, SOON.replace("far: {agent: far}", entry_points))
    async with gateway, gateway.client("c") as client:
        async with gateway.client("worker") as worker, worker.serve_agent("far", _asks):
            runs = await _asked(client, ["a", "b", "c"])
            runs.append((await client.trigger("also", "d")).execution_id)
            await _in_state(client, runs[-1], execution_pb2.EXECUTION_STATE_INPUT_REQUIRED)
        await _fed(gateway, client, runs)
    go = asyncio.Event()

    async def answer(call: Call) -> str:
        assert call.state is not None
        if call.state["asked"] != "d":
            await go.wait()
        return "done"

    monkeypatch.setattr(lanes, "MAX_QUEUED_SHARE", 1)
    monkeypatch.setattr(returning, "_RETRY", 0.01)
    async with gateway, gateway.client("c") as client:
        async with gateway.client("worker") as worker, worker.serve_agent("far", answer):
            await _in_state(client, runs[-1], execution_pb2.EXECUTION_STATE_SUCCEEDED)
            go.set()
            for run in runs:
                await _in_state(client, run, execution_pb2.EXECUTION_STATE_SUCCEEDED)


async def test_a_busy_store_does_not_keep_what_rests_from_coming_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with InProcess(tmp_path, SOON) as gateway, gateway.client("c") as client:
        async with gateway.client("worker") as worker, worker.serve_agent("far", _asks):
            runs = await _asked(client, ["a"])
        await _fed(gateway, client, runs)
        store, tries = gateway.house.store, 0
        awaiting = store.awaiting

        async def busy(agent: str, after: str, limit: int) -> list[Execution]:
            nonlocal tries
            tries += 1
            if tries < 3:
                raise StoreBusy("busy")
            return await awaiting(agent, after, limit)

        monkeypatch.setattr(store, "awaiting", busy)
        monkeypatch.setattr(returning, "_RETRY", 0.01)
        async with gateway.client("worker") as worker, worker.serve_agent("far", _asks):
            await _in_state(client, runs[0], execution_pb2.EXECUTION_STATE_SUCCEEDED)


async def test_a_damaged_row_does_not_keep_others_from_coming_back(tmp_path: Path) -> None:
    gateway = InProcess(tmp_path, SOON)
    async with gateway, gateway.client("c") as client:
        async with gateway.client("worker") as worker, worker.serve_agent("far", _asks):
            runs = await _asked(client, ["a", "b"])
        await _fed(gateway, client, runs)
    with closing(sqlite3.connect(gateway.paths.state / "gatewayd.db")) as database, database:
        database.execute("UPDATE absences SET crc = crc + 1 WHERE execution_id = ?", (runs[0],))
    async with gateway, gateway.client("c") as client, gateway.client("worker") as worker:
        async with worker.serve_agent("far", _asks):
            await _in_state(client, runs[1], execution_pb2.EXECUTION_STATE_SUCCEEDED)
        assert (await _state(client, runs[0])).state == execution_pb2.EXECUTION_STATE_PAUSED


async def test_what_is_paused_on_purpose_stays_paused_when_a_worker_comes(tmp_path: Path) -> None:
    """Also where it rested for want of a worker before; what is younger has gone on when this looks."""
    async with InProcess(tmp_path, SOON) as gateway, gateway.client("c") as client:
        async with gateway.client("worker") as worker, worker.serve_agent("far", _asks):
            runs = await _asked(client, ["a", "b"])
        await _fed(gateway, client, runs)
        await client.pause(runs[0], reason="lunch")
        held = await _state(client, runs[0])
        assert (held.state, held.reason) == (execution_pb2.EXECUTION_STATE_PAUSED, "paused by local: lunch")
        async with gateway.client("worker") as worker, worker.serve_agent("far", _asks):
            await _in_state(client, runs[1], execution_pb2.EXECUTION_STATE_SUCCEEDED)
            assert await _state(client, runs[0]) == held
            await client.resume(runs[0])
            await _in_state(client, runs[0], execution_pb2.EXECUTION_STATE_SUCCEEDED)


async def _the_first_stays(gateway: InProcess, client: Client, runs: Sequence[str]) -> None:
    """As it was paused, while a worker comes and the second goes on."""
    held = await _in_state(client, runs[0], execution_pb2.EXECUTION_STATE_PAUSED)
    assert held.reason == "paused by local: lunch"
    await _fed(gateway, client, runs[1:])
    async with gateway.client("worker") as worker, worker.serve_agent("far", _asks):
        await _in_state(client, runs[1], execution_pb2.EXECUTION_STATE_SUCCEEDED)
        assert await _state(client, runs[0]) == held


async def test_one_that_is_to_pause_while_it_waits_for_a_worker_stays_paused(tmp_path: Path) -> None:
    async with InProcess(tmp_path, SOON) as gateway, gateway.client("c") as client:
        async with gateway.client("worker") as worker, worker.serve_agent("far", _asks):
            runs = await _asked(client, ["a", "b"])
        await client.inject_input(runs[0], "Ann", node_id="name")

        async def begun() -> bool:
            return (await _state(client, runs[0])).state in (
                execution_pb2.EXECUTION_STATE_RUNNING,
                execution_pb2.EXECUTION_STATE_PAUSED,
            )

        await eventually(begun)
        await client.pause(runs[0], reason="lunch")
        await _the_first_stays(gateway, client, runs)


async def test_one_that_is_paused_while_a_busy_store_keeps_it_from_resting_stays_paused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with InProcess(tmp_path, SOON) as gateway, gateway.client("c") as client:
        async with gateway.client("worker") as worker, worker.serve_agent("far", _asks):
            runs = await _asked(client, ["a", "b"])
        store, tried, free = gateway.house.store, asyncio.Event(), asyncio.Event()
        save = store.save_checkpoint

        def busy(write: CheckpointWrite) -> asyncio.Future[None]:
            if write.awaits and not free.is_set():
                tried.set()
                raise StoreBusy("busy")
            return save(write)

        monkeypatch.setattr(store, "save_checkpoint", busy)
        monkeypatch.setattr(leaving, "_RETRY", 0.01)
        await client.inject_input(runs[0], "Ann", node_id="name")
        await asyncio.wait_for(tried.wait(), 60)
        pausing = asyncio.create_task(client.pause(runs[0], reason="lunch"))

        async def asked() -> bool:
            live = gateway.house.runtime.live(runs[0])
            return live is not None and bool(live.pause_reason)

        await eventually(asked)
        free.set()
        await pausing
        await _the_first_stays(gateway, client, runs)


async def test_a_chat_is_told_that_its_agent_is_away_and_gets_its_answer_later(tmp_path: Path) -> None:
    async with house(tmp_path, SOON + CHAT) as rig:
        async with rig.daemon.client("worker") as client, client.serve_agent("far", _asks):
            said = rig.network.say("bea", "bea", "hello", token="shop")
            assert await rig.hear("bea") == ["Who?"]
            run = (await rig.trace(said, "shop")).message.execution_id
            await _in_state(rig.client, run, execution_pb2.EXECUTION_STATE_INPUT_REQUIRED)
        rig.network.say("bea", "bea", "Bea", token="shop")
        assert "far is not available right now. What it has done is kept" in (await rig.hear("bea", 2))[1]
        rested = await _in_state(rig.client, run, execution_pb2.EXECUTION_STATE_PAUSED)
        async with RawStream(rig.daemon.address) as worker:  # takes it, and goes without a word
            await worker.hello("worker")
            await worker.ask(pb.ConnectRequest(register_agent=pb.RegisterAgent(agent="far")))
            await worker.take("call")
            await worker.half_close()
            await worker.ended()

        async def rests_again() -> bool:
            found = await rig.events("execution_paused", execution_id=run)
            return len(found) == 2 and (await _state(rig.client, run)).state == rested.state

        await eventually(rests_again)
        async with rig.daemon.client("worker") as client, client.serve_agent("far", _asks):
            assert (await rig.hear("bea", 3))[2] == "hello: Bea"  # and it was not told twice
            assert (await rig.story(said, "shop")).message.execution_id == run


async def test_what_begins_and_finds_nobody_fails_at_once_also_with_a_state_that_it_was_given(tmp_path: Path) -> None:
    async with InProcess(tmp_path, SOON) as gateway, gateway.client("c") as client:
        with pytest.raises(GatewayError, match="not available right now"):
            await client.send("far", "x")
        run = await client.trigger("far", "x", memory={"n": 1})
        await _in_state(client, run.execution_id, execution_pb2.EXECUTION_STATE_FAILED)

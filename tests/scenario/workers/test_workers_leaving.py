"""Programs that answer for an agent, when one leaves: the program, its connection, its agent, or the daemon."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from gateway.v1 import admin_service_pb2

from gatewayctl.client import Call, InvalidArgument
from tests.rigs.house import House, eventually
from tests.rigs.process import Daemon
from tests.rigs.working import workers_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_worker_that_is_cut_off_goes_on_with_its_answer_when_it_is_back(rig: House) -> None:
    """Its connection is cut in the middle of an answer; not a character is lost or said twice."""
    go, heard = asyncio.Event(), asyncio.Event()

    async def answer(call: Call) -> AsyncIterator[str]:
        yield "one "
        await go.wait()
        for word in ("two ", "three"):
            yield word

    async with rig.daemon.client("worker") as client:
        async with client.serve_agent("lookup", answer) as serving:
            pieces: list[str] = []

            async def ask() -> None:
                async for piece in rig.client.stream("lookup", "count"):
                    pieces.append(piece)
                    heard.set()

            asking = asyncio.create_task(ask())
            async with asyncio.timeout(60):
                await heard.wait()
                (await client._conversation.link()).end()
                go.set()
                await asking

            assert serving.connects == 2
    assert "".join(pieces) == "one two three"


async def test_the_daemon_is_killed_and_the_worker_serves_the_next_one(rig: House) -> None:
    """The execution runs again after the start, and waits until the worker is back."""
    asked: list[str] = []
    first = asyncio.Event()

    async def answer(call: Call) -> str:
        asked.append(call.execution_id)
        if len(asked) == 1:
            first.set()
            await asyncio.Event().wait()
        return "after the crash"

    async with rig.daemon.client("worker") as client, client.serve_agent("lookup", answer) as serving:
        asking = asyncio.create_task(rig.client.send("lookup", "survive"))
        async with asyncio.timeout(60):
            await first.wait()
            await rig.daemon.kill()
            await rig.daemon.stop()
            await rig.daemon.start()
            answered = await asking
        assert answered.content == "after the crash"
        assert serving.connects == 2
        assert len(set(asked)) == 1
        await eventually(lambda: _is(serving.open_calls == 0))  # the first was called off by the daemon's refusal


async def test_a_reload_that_takes_the_agent_away_lets_its_calls_end(rig: House) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def answer(call: Call) -> str:
        begun.set()
        await go.wait()
        return "still here"

    before = rig.daemon.config.read_text()
    async with rig.daemon.client("worker") as client:
        await client.serve_agent("other", answer).registered()
        asking = asyncio.create_task(rig.client.send("other", "x"))
        async with asyncio.timeout(60):
            await begun.wait()
            rig.daemon.write(before.replace("other: {remote: true}", "other: {model: offline/echo}"))
            await _reload(rig)
            go.set()
            assert (await asking).content == "still here"
        with pytest.raises(InvalidArgument, match=r"agents\.other\.remote is not set"):
            async with rig.daemon.client("late") as late:
                await late.serve_agent("other", answer).registered()
        assert (await rig.client.send("other", "model")).content == "model"
        rig.daemon.write(before)
        await _reload(rig)
        async with client.serve_agent("other", answer):
            assert (await rig.client.send("other", "x")).content == "still here"


async def test_stopping_answers_what_is_there_and_closing_gives_the_rest_to_another(rig: House) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def slow(call: Call) -> str:
        begun.set()
        await go.wait()
        return "slow"

    async def other(call: Call) -> str:
        return "other"

    async with rig.daemon.client("one") as one:
        serving = one.serve_agent("lookup", slow)
        await serving.registered()
        asking = asyncio.create_task(rig.client.send("lookup", "x"))
        async with asyncio.timeout(60):
            await begun.wait()
            stopping = asyncio.create_task(serving.stop())
            await eventually(lambda: _no_workers(rig))
            go.set()
            await stopping
            assert (await asking).content == "slow"

        begun.clear()
        go.clear()
        serving = one.serve_agent("lookup", slow)
        await serving.registered()
        asking = asyncio.create_task(rig.client.send("lookup", "y"))
        async with asyncio.timeout(60):
            await begun.wait()
            async with rig.daemon.client("two") as two, two.serve_agent("lookup", other):
                await one.close()
                assert (await asking).content == "other"


async def test_a_stop_waits_for_the_worker_to_finish(tmp_path: Path) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def answer(call: Call) -> str:
        begun.set()
        await go.wait()
        return "in time"

    async with Daemon(tmp_path, "agents: {lookup: {remote: true}}\ngateway: {drain_timeout: 30s}") as daemon:
        async with daemon.client("asker") as asker, daemon.client("worker") as client:
            client.serve_agent("lookup", answer)
            asking = asyncio.create_task(asker.send("lookup", "x"))
            async with asyncio.timeout(60):
                await begun.wait()
                daemon.signal(signal.SIGTERM)
                await daemon.noticed("STOPPING=1")
                go.set()
                assert (await asking).content == "in time"
                assert await daemon.ended() == 0


async def _reload(rig: House) -> None:
    request = admin_service_pb2.ReloadConfigRequest()
    await rig.client.call("AdminService/ReloadConfig", request, admin_service_pb2.ReloadConfigResponse)


async def _is(said: bool) -> bool:
    return said


async def _no_workers(rig: House) -> bool:
    return await workers_of(rig, "lookup") == 0

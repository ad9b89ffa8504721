"""Workers without the SDK, frame by frame: what is refused, bounded, told again, and told of."""

import asyncio
from pathlib import Path

import pytest
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import ExecutionFailed, Unavailable, event_filter
from tests.rigs.house import House
from tests.rigs.process import Daemon
from tests.rigs.stream import RawStream, reason_of
from tests.rigs.websocket import RawSocket, http_port
from tests.rigs.working import SOON, register, reply, unregister, worker

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_reply_to_what_is_not_ones_own_is_refused_and_changes_nothing(rig: House) -> None:
    async with RawStream(rig.daemon.address) as mine, RawStream(rig.daemon.address) as other:
        await worker(mine, "mine")
        await other.hello("other")
        asking = asyncio.create_task(rig.client.send("lookup", "x"))
        call = (await mine.take("call")).call
        assert (call.text, call.agent, call.redelivered, call.offset) == ("x", "lookup", False, 0)

        for stream, frame in (
            (other, reply(call.call_id, "stolen", final=True)),
            (mine, reply("none", "invented", final=True)),
        ):
            assert reason_of(await stream.rejected(await stream.ask(frame))) == "NOT_FOUND"
        behind = await mine.rejected(await mine.ask(reply(call.call_id, "late", offset=3)))
        assert [one.field for one in behind.violations] == ["call_reply.offset"]
        for content, offset in (("abc", 0), ("bcd", 1), ("a", 0)):  # said again, in part: taken once
            await mine.accepted(await mine.ask(reply(call.call_id, content, offset=offset)))
        await mine.accepted(await mine.ask(reply(call.call_id, "e", final=True)))
        assert (await asking).content == "abcde"
        again = await mine.rejected(await mine.ask(reply(call.call_id, "more")))
        assert reason_of(again) == "NOT_FOUND"

        refused = await mine.rejected(await mine.ask(register("echo")))
        assert reason_of(refused) == "INVALID_ARGUMENT"
        assert reason_of(await mine.rejected(await mine.ask(register(max_concurrent=1001)))) == "INVALID_ARGUMENT"
        assert not (await mine.accepted(await mine.ask(unregister("other")))).existed
        assert (await mine.accepted(await mine.ask(unregister("lookup")))).existed


async def test_a_worker_speaks_json_over_a_websocket(rig: House) -> None:
    async with RawSocket(http_port(rig.daemon), token=rig.daemon.token) as raw:
        await worker(raw, history=True)
        before = asyncio.create_task(rig.client.send("lookup", "before"))
        await raw.accepted(await raw.ask(reply((await raw.take("call")).call.call_id, "and then?", final=True)))
        await before
        asking = asyncio.create_task(rig.client.send("lookup", "Grüße"))
        call = (await raw.take("call")).call
        assert (call.text, call.principal, len(call.history) > 0) == ("Grüße", "local", True)
        await raw.accepted(await raw.ask(reply(call.call_id, "Zürich 🚚", offset=0)))
        await raw.accepted(await raw.ask(reply(call.call_id, "!", offset=8, final=True)))
        assert (await asking).content == "Zürich 🚚!"


async def test_a_worker_has_no_more_calls_than_it_takes(rig: House) -> None:
    async with RawStream(rig.daemon.address) as raw:
        await worker(raw, max_concurrent=1)
        async with rig.daemon.client("a") as a, rig.daemon.client("b") as b:
            asking = [a.stream("lookup", "a"), b.stream("lookup", "b")]
            for one in asking:
                await one.accepted()
            first = (await raw.take("call")).call
            for _ in range(2):  # whatever was on its way comes before the second pong
                await raw.ask(pb.ConnectRequest(ping=pb.Ping()))
                await raw.take("pong")
            assert not [frame for frame in raw._kept if frame.HasField("call")]
            await raw.accepted(await raw.ask(reply(first.call_id, "1", final=True)))
            second = (await raw.take("call")).call
            await raw.accepted(await raw.ask(reply(second.call_id, "2", final=True)))
            answers = {each.content for each in await asyncio.gather(*(one.wait() for one in asking))}
    assert {first.text, second.text} == {"a", "b"}
    assert answers == {"1", "2"}


async def test_a_worker_that_resumes_is_told_again_and_one_that_does_not_has_let_go(rig: House) -> None:
    async with RawStream(rig.daemon.address) as raw:
        token = (await worker(raw, "w")).resume_token
        asking = asyncio.create_task(rig.client.send("lookup", "x"))
        call = (await raw.take("call")).call
        await raw.accepted(await raw.ask(reply(call.call_id, "ab")))
    async with RawStream(rig.daemon.address) as raw:
        assert (await raw.hello("w", token)).resumed
        assert reason_of(await raw.rejected(await raw.ask(reply(call.call_id, "c")))) == "NOT_FOUND"
        assert (await raw.accepted(await raw.ask(register()))).count == 1
        told = (await raw.take("call")).call
        assert (told.call_id, told.redelivered, told.offset) == (call.call_id, True, 2)
        await raw.accepted(await raw.ask(reply(call.call_id, "c", offset=2, final=True)))
        assert (await asking).content == "abc"

        said = asyncio.create_task(rig.client.send("lookup", "said"))
        first = (await raw.take("call")).call
        await raw.accepted(await raw.ask(reply(first.call_id, "begun")))
        async with rig.daemon.client("silent") as client:
            silent = asyncio.create_task(client.send("lookup", "silent"))
            second = (await raw.take("call")).call
            await raw.cut()
            async with RawStream(rig.daemon.address) as fresh:
                await worker(fresh, "w")
                with pytest.raises(Unavailable, match="cut off"):
                    await said
                retold = (await fresh.take("call")).call
                assert (retold.call_id, retold.text, retold.redelivered) == (second.call_id, "silent", False)
                await fresh.accepted(await fresh.ask(reply(retold.call_id, "done", final=True)))
                assert (await silent).content == "done"


async def test_a_worker_that_stays_away_loses_its_calls(tmp_path: Path) -> None:
    async with Daemon(tmp_path, SOON) as daemon, daemon.client() as client:
        async with RawStream(daemon.address) as raw:
            await worker(raw, "w")
            asking = asyncio.create_task(client.send("lookup", "x"))
            await raw.take("call")
        with pytest.raises(Unavailable, match="The agent lookup was cut off"):
            await asking


async def test_an_answer_without_end_fails(rig: House) -> None:
    async with RawStream(rig.daemon.address) as raw:
        await worker(raw)
        asking = asyncio.create_task(rig.client.send("lookup", "x"))
        call = (await raw.take("call")).call
        megabyte = "x" * (1 << 20)
        for _ in range(2):
            await raw.accepted(await raw.ask(reply(call.call_id, megabyte)))
        assert reason_of(await raw.rejected(await raw.ask(reply(call.call_id, "x")))) == "LIMIT_EXCEEDED"
        assert (await raw.take("cancel_call")).cancel_call.call_id == call.call_id
        with pytest.raises(ExecutionFailed, match="The answer is too long"):
            await asking


async def test_workers_are_told_of_as_events_of_the_agents_stream(rig: House) -> None:
    start = await rig.client.call("EventService/GetEventStats", pb.GetEventStatsRequest(), pb.GetEventStatsResponse)
    async with RawStream(rig.daemon.address) as raw:
        await worker(raw, "told", "other")
    events = event_filter(["connect", "disconnect"], stream_id="other")
    subscription = rig.client.subscribe(events, since=start.cursor)
    async with asyncio.timeout(60):
        came = [await anext(subscription) for _ in range(2)]
    assert [(one.connect.client_id, one.connect.kind) for one in came[:1]] == [("told", "worker")]
    assert (came[1].disconnect.client_id, came[1].disconnect.reason) == ("told", "connection_lost")

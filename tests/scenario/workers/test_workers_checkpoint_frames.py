"""Checkpoints of workers, frame by frame: what is kept, once, by whom, and what is refused."""

import asyncio
from pathlib import Path

import pytest
from gateway.v1 import event_service_pb2 as pb
from gateway.v1 import execution_pb2, runtime_service_pb2

from tests.rigs.house import House
from tests.rigs.process import Daemon
from tests.rigs.stream import RawStream, reason_of
from tests.rigs.websocket import RawSocket, http_port
from tests.rigs.working import READER, SOON, register, reply, save, wait_for, worker

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def kept(rig: House, execution_id: str) -> list[tuple[str, str]]:
    """Kind and node of the checkpoints on disk."""
    request = runtime_service_pb2.GetExecutionRequest(execution_id=execution_id)
    answer = await rig.client.call("RuntimeService/GetExecution", request, runtime_service_pb2.GetExecutionResponse)
    kinds = execution_pb2.CheckpointKind
    return [(kinds.Name(one.kind).removeprefix("CHECKPOINT_KIND_"), one.node_id) for one in answer.checkpoints]


async def test_a_checkpoint_is_on_disk_when_it_is_accepted_and_comes_once_however_often_it_is_said(rig: House) -> None:
    async with RawStream(rig.daemon.address) as raw:
        welcome = await worker(raw, "w")
        assert "worker_checkpoints" in welcome.features
        asking = asyncio.create_task(rig.client.send("lookup", "x"))
        call = (await raw.take("call")).call
        assert (call.state, dict(call.inputs)) == ("", {})
        run = call.execution_id
        await raw.accepted(await raw.ask(reply(call.call_id, "ab")))
        start = {"node_id": "s1", "at": execution_pb2.CHECKPOINT_KIND_START, "idempotency_key": "k1"}
        for _ in range(2):
            taken = await raw.accepted(await raw.ask(save(call.call_id, '{"n": 1}', **start)))
            assert not taken.left
            assert await kept(rig, run) == [("START", "s1")]
        conflict = await raw.rejected(await raw.ask(save(call.call_id, '{"n": 2}', **start)))
        assert reason_of(conflict) == "ID_CONFLICT"
        # As if the answer to this one were lost with the connection.
        await raw.ask(save(call.call_id, '{"n": 2}', node_id="s2", idempotency_key="k2"))
        await raw.take("accepted")
    async with RawStream(rig.daemon.address) as raw:
        assert (await raw.hello("w", welcome.resume_token)).resumed
        early = await raw.rejected(await raw.ask(save(call.call_id, '{"n": 2}', idempotency_key="k2")))
        assert reason_of(early) == "NOT_FOUND"
        assert (await raw.accepted(await raw.ask(register()))).count == 1
        told = (await raw.take("call")).call
        assert (told.call_id, told.redelivered, told.offset, told.state) == (call.call_id, True, 2, '{"n": 2}')
        again = save(call.call_id, '{"n": 2}', node_id="s2", idempotency_key="k2")
        assert not (await raw.accepted(await raw.ask(again))).left
        assert await kept(rig, run) == [("START", "s1"), ("COMPLETE", "s2")]
        await raw.accepted(await raw.ask(reply(call.call_id, "c", offset=2, final=True)))
        assert (await asking).content == "abc"
        late = await raw.rejected(await raw.ask(save(call.call_id, "{}")))
        assert reason_of(late) == "NOT_FOUND"


async def test_nobody_puts_anything_into_a_call_that_another_client_has(rig: House) -> None:
    async with RawStream(rig.daemon.address) as mine, RawStream(rig.daemon.address) as other:
        await worker(mine, "mine")
        await worker(other, "other", "other")
        asking = asyncio.create_task(rig.client.send("lookup", "x"))
        call = (await mine.take("call")).call
        for stream, frame in (
            (other, save(call.call_id, '{"stolen": true}')),
            (other, wait_for(call.call_id, "Your password?", "{}")),
            (mine, save("none", "{}")),
            (mine, wait_for("none", "?", "{}")),
        ):
            assert reason_of(await stream.rejected(await stream.ask(frame))) == "NOT_FOUND"
        assert await kept(rig, call.execution_id) == []
        await mine.accepted(await mine.ask(reply(call.call_id, "mine", final=True)))
        assert (await asking).content == "mine"


async def test_who_may_serve_no_agent_puts_nothing_down(rig: House) -> None:
    frames = (save("c", "{}"), wait_for("c", "?", "{}"))
    async with RawStream(f"127.0.0.1:{rig.daemon.port}", token=READER) as raw:
        await raw.hello("reader")
        for frame in frames:
            assert reason_of(await raw.rejected(await raw.ask(frame))) == "PERMISSION_DENIED"


async def test_what_is_wrong_in_itself_is_refused_by_its_field(rig: House) -> None:
    wait = execution_pb2.CHECKPOINT_KIND_WAIT
    async with RawStream(rig.daemon.address) as raw:
        await worker(raw)
        asking = asyncio.create_task(rig.client.send("lookup", "x"))
        call = (await raw.take("call")).call.call_id
        for frame, field in (
            (save("", "{}"), "save_checkpoint.call_id"),
            (save(call, ""), "save_checkpoint.state"),
            (save(call, "[1]"), "save_checkpoint.state"),
            (save(call, '{"n": NaN}'), "save_checkpoint.state"),
            (save(call, '{"n": 1'), "save_checkpoint.state"),
            (save(call, '{"n":' + "[" * 100_000), "save_checkpoint.state"),
            (save(call, "{}", at=wait), "save_checkpoint.at"),
            (save(call, "{}", at=77), "save_checkpoint.at"),
            (save(call, "{}", node_id="x" * 257), "save_checkpoint.node_id"),
            (save(call, "{}", idempotency_key="\n"), "save_checkpoint.idempotency_key"),
            (wait_for(call, " ", "{}"), "wait_for_input.prompt"),
            (wait_for(call, "x" * 16_385, "{}"), "wait_for_input.prompt"),
            (wait_for(call, "?", "7"), "wait_for_input.state"),
            (wait_for(call, "?", "{}", internal=True), "wait_for_input.node_id"),
        ):
            refused = await raw.rejected(await raw.ask(frame))
            assert [one.field for one in refused.violations] == [field], refused.message
        half = await raw.rejected(await raw.ask(save(call, '{"half": "\\ud800"}')))
        assert reason_of(half) == "INVALID_ARGUMENT"
        large = await raw.rejected(await raw.ask(save(call, '{"n": "%s"}' % ("x" * 3_700_000))))
        assert (reason_of(large), large.metadata["limit"]) == ("LIMIT_EXCEEDED", "checkpoint_bytes")
        await raw.accepted(await raw.ask(reply(call, "unharmed", final=True)))
        assert (await asking).content == "unharmed"


async def test_a_largest_state_comes_back_in_a_call_that_every_client_can_take(rig: House) -> None:
    """With the longest text and input beside it the frame is smaller than what gRPC takes where nobody says more."""
    text = "t" * 2_000_000
    state = '{"n": "%s"}' % ("é" * ((3584 * 1024 - len(text) - 9) // 2))
    async with RawStream(rig.daemon.address) as raw:
        await worker(raw, history=True)
        asking = rig.client.stream("lookup", text)
        run = await asking.accepted()
        first = (await raw.take("call")).call
        assert (await raw.accepted(await raw.ask(wait_for(first.call_id, "Go on?", state)))).left
        await rig.client.inject_input(run, "i" * 65_536)
        second = (await raw.take("call")).call
        assert (second.state == state, dict(second.inputs)) == (True, {"": "i" * 65_536})
        assert 3_600_000 < second.ByteSize() < 4 << 20
        await raw.accepted(await raw.ask(reply(second.call_id, "done", final=True)))
        assert (await asking.wait()).content == "done"


async def test_a_worker_leaves_and_comes_back_over_a_websocket(rig: House) -> None:
    async with RawSocket(http_port(rig.daemon), token=rig.daemon.token) as raw:
        await worker(raw, "page")
        asking = rig.client.stream("lookup", "x")
        run = await asking.accepted()
        first = (await raw.take("call")).call
        await raw.accepted(await raw.ask(reply(first.call_id, "Well, ")))
        left = await raw.accepted(await raw.ask(wait_for(first.call_id, "Who?", '{"é": 9007199254740993}')))
        assert left.left
        assert reason_of(await raw.rejected(await raw.ask(reply(first.call_id, "late")))) == "NOT_FOUND"
        await rig.client.inject_input(run, "Ann")
        second = (await raw.take("call")).call
        assert (second.state, dict(second.inputs)) == ('{"é": 9007199254740993}', {"": "Ann"})
        assert (second.execution_id, second.offset, second.text) == (run, 0, "x")
        await raw.accepted(await raw.ask(reply(second.call_id, "Ann.", final=True)))
        assert (await asking.wait()).content == "Well, Ann."
        for _ in range(2):  # what was on its way comes before the second pong
            await raw.ask(pb.ConnectRequest(ping=pb.Ping()))
            await raw.take("pong")
        assert not [frame for frame in raw._kept if frame.HasField("cancel_call")]


async def test_another_worker_goes_on_from_the_checkpoint_of_one_that_is_gone(tmp_path: Path) -> None:
    """One comes back as a new process, one stays away; a worker that was there all the time is told in the end."""
    async with Daemon(tmp_path, SOON) as daemon, daemon.client() as client, RawStream(daemon.address) as second:
        asking = client.stream("lookup", "x")
        async with RawStream(daemon.address) as first:
            await worker(first, "first")
            call = (await first.take("call")).call
            await first.accepted(await first.ask(reply(call.call_id, "one ")))
            await first.accepted(await first.ask(save(call.call_id, '{"n": 1}', idempotency_key="k")))
        async with RawStream(daemon.address) as anew:
            await worker(anew, "first")
            told = (await anew.take("call")).call
            assert (told.call_id, told.state, told.offset) == (call.call_id, '{"n": 1}', 4)
            await anew.accepted(await anew.ask(reply(call.call_id, "two ", offset=4)))
            await anew.accepted(await anew.ask(save(call.call_id, '{"n": 2}', idempotency_key="k2")))
            await worker(second, "second")
        told = (await second.take("call")).call
        assert (told.call_id, told.state, told.offset, told.redelivered) == (call.call_id, '{"n": 2}', 8, False)
        await second.accepted(await second.ask(reply(call.call_id, "three", offset=8, final=True)))
        assert (await asking.wait()).content == "one two three"

"""A reload takes an agent away from its workers: what runs ends, then those that want to hear of it are told."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
from gateway.v1 import event_service_pb2 as pb
from parting_rig import BEFORE, ECHO, GONE, MODEL

from gatewayctl.client import event_filter
from tests.rigs.house import eventually
from tests.rigs.in_process import InProcess
from tests.rigs.stream import RawStream, reason_of
from tests.rigs.working import TOKEN, register, reply, unregister, worker

GRAPH = """
graphs:
  desk:
    timeout: 1m
    nodes: {first: {agent: NODE}, second: {agent: lookup}}
    edges: [{from: first, to: second}]
"""
GRAPH_IN_GRAPH = """
graphs:
  desk:
    timeout: 1m
    nodes: {first: {agent: first}, second: {agent: back}}
    edges: [{from: first, to: second}]
  back:
    timeout: 1m
    nodes: {only: {agent: lookup}}
"""


@pytest.fixture(autouse=True)
def alone() -> None:
    """These have gateways of their own."""


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with InProcess(tmp_path, BEFORE) as gateway:
        yield gateway


def raw(gateway: InProcess, token: str = "") -> RawStream:
    return RawStream(f"unix:{gateway.paths.socket}", token=token)


def slow_to_begin(gateway: InProcess, monkeypatch: pytest.MonkeyPatch) -> tuple[asyncio.Event, asyncio.Event]:
    """Executions stop before they ask their agent: an event that says so, and one that lets them go on."""
    begun, go = asyncio.Event(), asyncio.Event()
    history = gateway.house.sessions.history

    async def slowly(session_id: str) -> object:
        begun.set()
        await go.wait()
        return await history(session_id)

    monkeypatch.setattr(gateway.house.sessions, "history", slowly)
    return begun, go


async def ended(stream: RawStream, reason: str) -> None:
    frame = (await stream.take("registration_ended")).registration_ended
    assert (frame.agent, reason_of(frame.error)) == ("lookup", reason)
    assert frame.error.message.startswith("a reload has ended the registration: ")


async def untold(stream: RawStream) -> None:
    """It has been told of no end until now."""
    await stream.write(pb.ConnectRequest(request_id="p", ping=pb.Ping()))
    await stream.take("pong")
    assert not [frame for frame in stream._kept if frame.HasField("registration_ended")]


@GONE
async def test_F21_a_worker_is_told_that_its_agent_is_gone_and_ends_the_calls_that_it_has(
    gateway: InProcess, after: str, reason: str
) -> None:
    async with gateway.client("asker") as client, raw(gateway) as stream:
        news = client.subscribe(event_filter(["disconnect"]))
        assert "registration_ended" in (await worker(stream, notify_end=True)).features
        asking = asyncio.create_task(client.send("lookup", "x"))
        call = (await stream.take("call")).call
        await stream.accepted(await stream.ask(reply(call.call_id, "in ")))
        await gateway.reload(after)
        await untold(stream)

        await stream.accepted(await stream.ask(reply(call.call_id, "time", final=True)))
        assert (await asking).content == "in time"
        await ended(stream, reason)
        told = await asyncio.wait_for(anext(news), 60)
        assert (told.stream_id, told.disconnect.client_id, told.disconnect.reason) == ("lookup", "raw", "removed")
        assert reason_of(await stream.rejected(await stream.ask(register()))) == reason

        await gateway.reload(BEFORE)
        await stream.accepted(await stream.ask(register(notify_end=True)))
        asking = asyncio.create_task(client.send("lookup", "y"))
        await stream.accepted(await stream.ask(reply((await stream.take("call")).call.call_id, "back", final=True)))
        assert (await asking).content == "back"


async def test_F21_a_worker_that_does_not_ask_for_it_is_told_nothing_and_serves_again(gateway: InProcess) -> None:
    """As it was before daemons told of it."""
    async with gateway.client("asker") as client, raw(gateway) as stream:
        await worker(stream)
        for config in (ECHO, MODEL, BEFORE):
            await gateway.reload(config)
        asking = asyncio.create_task(client.send("lookup", "x"))
        await stream.accepted(await stream.ask(reply((await stream.take("call")).call.call_id, "here", final=True)))
        assert (await asking).content == "here"
        await untold(stream)


async def test_F20_what_waits_for_a_worker_with_room_is_answered_before_that_is_told(gateway: InProcess) -> None:
    async with gateway.client("one") as one, gateway.client("two") as two, raw(gateway) as stream:
        await worker(stream, notify_end=True, max_concurrent=1)
        asked = [asyncio.create_task(client.send("lookup", "x")) for client in (one, two)]
        call = (await stream.take("call")).call
        await eventually(lambda: _waiting(gateway, 1))
        await gateway.reload(ECHO)
        await untold(stream)
        await stream.accepted(await stream.ask(reply(call.call_id, "first", final=True)))
        await stream.accepted(await stream.ask(reply((await stream.take("call")).call.call_id, "second", final=True)))
        assert sorted([(await each).content for each in asked]) == ["first", "second"]
        await ended(stream, "AGENT_NOT_FOUND")


async def test_F20_an_execution_that_has_begun_and_not_asked_yet_still_finds_them(
    gateway: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with gateway.client("asker") as client, raw(gateway) as stream:
        await worker(stream, notify_end=True)
        begun, go = slow_to_begin(gateway, monkeypatch)
        asking = asyncio.create_task(client.send("lookup", "x"))
        await asyncio.wait_for(begun.wait(), 60)
        await gateway.reload(ECHO)
        await untold(stream)
        go.set()
        await stream.accepted(await stream.ask(reply((await stream.take("call")).call.call_id, "here", final=True)))
        assert (await asking).content == "here"
        await ended(stream, "AGENT_NOT_FOUND")


@pytest.mark.parametrize("inner", [False, True], ids=["graph", "graph-in-graph"])
async def test_F20_a_graph_that_runs_still_finds_the_workers_of_its_nodes(gateway: InProcess, inner: bool) -> None:
    """It is at a node before the worker's when the agent is taken away."""
    agents = BEFORE + "  first: {remote: true}\n  desk: {graph: desk}\n"
    if inner:
        await gateway.reload(agents + "  back: {graph: back}\n" + GRAPH_IN_GRAPH)
    else:
        await gateway.reload(agents + GRAPH.replace("NODE", "first"))
    async with gateway.client("asker") as client, raw(gateway) as stream, raw(gateway) as other:
        await worker(stream, notify_end=True)
        await worker(other, "other", "first")
        asking = asyncio.create_task(client.send("desk", "x"))
        call = (await other.take("call")).call
        await gateway.reload(agents.replace("  lookup: {remote: true}\n", "").replace("  desk: {graph: desk}\n", ""))
        await untold(stream)
        await other.accepted(await other.ask(reply(call.call_id, "so far", final=True)))
        node = (await stream.take("call")).call
        await stream.accepted(await stream.ask(reply(node.call_id, "and further", final=True)))
        assert (await asking).content == "and further"
        await ended(stream, "AGENT_NOT_FOUND")


async def test_F21_a_worker_that_is_cut_off_takes_up_its_calls_although_the_agent_is_gone(gateway: InProcess) -> None:
    async with gateway.client("asker") as client, raw(gateway) as first:
        token = (await worker(first, notify_end=True)).resume_token
        asking = asyncio.create_task(client.send("lookup", "x"))
        call = (await first.take("call")).call
        await first.accepted(await first.ask(reply(call.call_id, "in two ")))
        await gateway.reload(ECHO)
        await first.cut()
        async with raw(gateway) as second:
            assert (await second.hello("raw", token)).resumed
            assert (await second.accepted(await second.ask(register(notify_end=True)))).count == 1
            again = (await second.take("call")).call
            assert (again.call_id, again.redelivered, again.offset) == (call.call_id, True, 7)
            await second.accepted(await second.ask(reply(call.call_id, "pieces", offset=7, final=True)))
            assert (await asking).content == "in two pieces"
            await ended(second, "AGENT_NOT_FOUND")
            assert reason_of(await second.rejected(await second.ask(register()))) == "AGENT_NOT_FOUND"


async def test_F21_a_stop_waits_for_the_calls_of_an_agent_that_is_gone(tmp_path: Path) -> None:
    gateway = InProcess(tmp_path, "gateway: {drain_timeout: 30s}\n" + BEFORE)
    await gateway.start()
    async with gateway.client("asker") as client, raw(gateway) as stream:
        await worker(stream, notify_end=True)
        asking = asyncio.create_task(client.send("lookup", "x"))
        call = (await stream.take("call")).call
        await gateway.reload("gateway: {drain_timeout: 30s}\n" + ECHO)
        stopping = asyncio.create_task(gateway.stop(30.0))
        await stream.take("goodbye")
        await stream.accepted(await stream.ask(reply(call.call_id, "in time", final=True)))
        assert (await asking).content == "in time"
        await stopping


async def test_a_stop_waits_for_the_calls_of_a_worker_that_takes_no_more(tmp_path: Path) -> None:
    gateway = InProcess(tmp_path, "gateway: {drain_timeout: 30s}\n" + BEFORE)
    await gateway.start()
    async with gateway.client("asker") as client, raw(gateway) as stream:
        await worker(stream)
        asking = asyncio.create_task(client.send("lookup", "x"))
        call = (await stream.take("call")).call
        await stream.accepted(await stream.ask(unregister("lookup")))
        stopping = asyncio.create_task(gateway.stop(30.0))
        await stream.take("goodbye")
        await stream.accepted(await stream.ask(reply(call.call_id, "in time", final=True)))
        assert (await asking).content == "in time"
        await stopping


async def test_F21_a_worker_that_loses_the_scope_by_a_reload_serves_no_more(gateway: InProcess) -> None:
    """Its connection ends, and over the next one it is refused."""
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    client = f'clients: {{robot: {{token_sha256: {digest}, scopes: ["agents.register:NAME"]}}}}\n'
    await gateway.reload(BEFORE + client.replace("NAME", "lookup"))
    async with raw(gateway, TOKEN) as stream:
        await worker(stream)
        await gateway.reload(BEFORE + client.replace("NAME", "other"))
        with pytest.raises(grpc.aio.AioRpcError, match="scopes of this client were changed"):
            await stream.take("call")
    async with raw(gateway, TOKEN) as stream:
        await stream.hello()
        assert reason_of(await stream.rejected(await stream.ask(register()))) == "PERMISSION_DENIED"
    assert gateway.house.agents.workers.serving("lookup") == 0


async def test_F20_a_reload_lets_nobody_register_for_an_agent_that_was_never_for_workers(
    gateway: InProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also while that answers."""
    async with gateway.client("asker") as client, raw(gateway) as stream:
        await worker(stream)
        begun, go = slow_to_begin(gateway, monkeypatch)
        asking = asyncio.create_task(client.send("echo", "x"))
        await asyncio.wait_for(begun.wait(), 60)
        await gateway.reload(MODEL)
        frame = register()
        frame.register_agent.agent = "echo"
        assert reason_of(await stream.rejected(await stream.ask(frame))) == "INVALID_ARGUMENT"
        go.set()
        await asking


async def _waiting(gateway: InProcess, count: int) -> bool:
    return len(gateway.house.agents.workers._pools["lookup"].waiting) == count

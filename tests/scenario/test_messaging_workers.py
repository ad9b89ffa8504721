"""Workers among agents that talk: asked by others, told of topics, speaking from their calls, and lost."""

import asyncio
import hashlib
from pathlib import Path
from typing import Any

import pytest
from gateway.v1 import agent_service_pb2
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import Call, Client, GatewayError, InvalidArgument, NotFound, PermissionDenied, Unavailable
from tests.rigs import talkers
from tests.rigs.house import eventually
from tests.rigs.in_process import InProcess
from tests.rigs.process import Daemon
from tests.rigs.stream import RawStream

CONFIG = """
gateway: {reconnect_timeout: WAIT}
agents:
  speaker: {class: "tests.rigs.talkers:Speaker", timeout: 60s}
  clerk: {class: "tests.rigs.talkers:Clerk", topics: [done]}
  far: {remote: true, timeout: 60s}
"""


@pytest.fixture(autouse=True)
def scene() -> talkers.Scene:
    return talkers.renew()


def config(wait: str = "60s") -> str:
    return CONFIG.replace("WAIT", wait)


async def test_a_worker_is_asked_and_speaks_within_the_execution(tmp_path: Path, scene: talkers.Scene) -> None:
    calls: list[Call] = []

    async def answer(call: Call) -> str:
        calls.append(call)
        if call.text == "cycle":
            try:
                return await call.send("far", "again")
            except GatewayError as error:
                return error.reason
        told = await call.publish("done/x", f"did {call.text}")
        return f"{await call.send('clerk', call.text, key='k')}, {told} told"

    async with InProcess(tmp_path, config()) as gateway, gateway.client("c") as client, gateway.client("w") as worker:
        async with worker.serve_agent("far", answer):
            reply = await client.send("speaker", "send far hello")

            assert reply.content == "clerk/k 1 hello, 1 told"
            assert (calls[0].sender, calls[0].topic, calls[0].execution_id) == (
                "speaker/default",
                "",
                reply.execution_id,
            )
            assert sorted(await scene.until(2)) == [
                "clerk/k  far/default hello",
                "clerk/x done/x far/default did hello",
            ]
            assert (await client.send("speaker", "send far cycle")).content == "CALL_CYCLE"
            with pytest.raises(NotFound):
                await calls[0].send("clerk", "after the call has ended")


async def test_a_worker_hears_the_topics_that_it_names_while_it_serves(tmp_path: Path) -> None:
    heard: asyncio.Queue[Call] = asyncio.Queue()

    async def hear(call: Call) -> str:
        heard.put_nowait(call)
        return ""

    async with InProcess(tmp_path, config()) as gateway, gateway.client("c") as client, gateway.client("w") as worker:
        assert (await client.send("speaker", "publish news.today x")).content == "0"
        async with worker.serve_agent("far", hear, topics=["news.*", "done"]):
            assert (await client.send("speaker", "publish news.today it rains")).content == "1"
            async with asyncio.timeout(60):
                call = await heard.get()
                assert (call.text, call.topic, call.sender) == ("it rains", "news.today/default", "speaker/default")
                published = await client.publish_message("done", {"number": 3}, data_type="Order")
                assert published.executions.keys() == {"clerk", "far"}
                call = await heard.get()
                assert (call.text, call.data_type, call.execution_id) == (
                    '{"number": 3}',
                    "Order",
                    published.executions["far"],
                )

        async def silent() -> bool:
            return (await client.send("speaker", "publish news.today x")).content == "0"

        await eventually(silent)


@pytest.mark.parametrize("goodbye", [True, False])
async def test_a_send_to_an_agent_whose_worker_goes_is_unavailable(tmp_path: Path, *, goodbye: bool) -> None:
    """At once after a goodbye, though the others would be waited for; else when it was away for reconnect_timeout."""
    wait = "300s" if goodbye else "300ms"
    async with InProcess(tmp_path, config(wait)) as gateway, gateway.client("c") as client:
        async with RawStream(f"unix:{gateway.paths.socket}") as worker, asyncio.timeout(60):
            await worker.hello("w")
            register = pb.RegisterAgent(agent="far")
            await worker.accepted(await worker.ask(pb.ConnectRequest(register_agent=register)))
            sending = asyncio.create_task(client.send("speaker", "send far x"))
            assert (await worker.take("call")).call.sender == "speaker/default"
            await (worker.half_close() if goodbye else worker.cut())
            with pytest.raises(Unavailable, match="cut off before its answer was complete"):
                await sending


async def test_what_was_published_survives_a_kill_and_waits_for_its_worker(tmp_path: Path) -> None:
    async with Daemon(tmp_path, "agents: {far: {remote: true, topics: [news]}}\n") as daemon:
        async with daemon.client("c") as client:
            published = await client.publish_message("news/today", "it rains", idempotency_key="k")
        await daemon.kill()
        await daemon.start()

        heard: asyncio.Queue[Call] = asyncio.Queue()

        async def hear(call: Call) -> str:
            heard.put_nowait(call)
            return ""

        async with daemon.client("w") as worker, worker.serve_agent("far", hear), asyncio.timeout(60):
            call = await heard.get()
            assert (call.execution_id, call.topic, call.text) == (
                published.executions["far"],
                "news/today",
                "it rains",
            )
            again = await worker.publish_message("news/today", "it rains", idempotency_key="k")
            assert again.duplicates == {"far"}


async def test_only_who_has_the_call_speaks_from_it(tmp_path: Path) -> None:
    tokens = {name: f"gw_{name}_{'0' * 43}" for name in ("robot", "thief")}
    scopes = '["agents.register:far", "agents.send:clerk"]'
    clients = "".join(
        f"  {name}: {{token_sha256: {hashlib.sha256(token.encode()).hexdigest()}, scopes: {scopes}}}\n"
        for name, token in tokens.items()
    )
    asked: asyncio.Queue[Call] = asyncio.Queue()
    over = asyncio.Event()

    async def answer(call: Call) -> str:
        asked.put_nowait(call)
        await over.wait()
        with pytest.raises(PermissionDenied):
            await call.send("speaker", "x")
        return await call.send("clerk", "mine")

    async with InProcess(tmp_path, f"{config()}clients:\n{clients}") as gateway, gateway.client("c") as client:
        address = f"127.0.0.1:{gateway.house.rpc.port}"
        async with (
            Client(address, token=tokens["robot"], client_id="w") as worker,
            Client(address, token=tokens["thief"], client_id="w") as thief,
            worker.serve_agent("far", answer),
        ):
            sending = asyncio.create_task(client.send("speaker", "send far x"))
            async with asyncio.timeout(60):
                call = await asked.get()
                request = agent_service_pb2.SendMessageRequest(
                    agent="clerk", text="stolen", call_id=call.call_id, client_id="w"
                )
                with pytest.raises(NotFound):
                    await thief.call("AgentService/SendMessage", request, agent_service_pb2.SendMessageResponse)
                over.set()
                assert (await sending).content == "clerk/default 1 mine"


async def test_a_single_call_speaks_only_for_the_client_that_has_the_call(tmp_path: Path) -> None:
    """Clients of one principal: a call may go from one to another, and who had it before is not heard any more."""
    asked: asyncio.Queue[Call] = asyncio.Queue()
    over = asyncio.Event()

    async def answer(call: Call) -> str:
        asked.put_nowait(call)
        await over.wait()
        return "done"

    async with InProcess(tmp_path, config()) as gateway, gateway.client("c") as client, gateway.client("w") as worker:
        async with worker.serve_agent("far", answer):
            sending = asyncio.create_task(client.send("speaker", "send far x"))
            async with asyncio.timeout(60):
                call = await asked.get()

            async def say(**who: Any) -> str:
                request = agent_service_pb2.SendMessageRequest(agent="clerk", text="mine", **who)
                answer = agent_service_pb2.SendMessageResponse
                return (await client.call("AgentService/SendMessage", request, answer)).content

            async def tell(**who: str) -> int:
                request = agent_service_pb2.PublishMessageRequest(topic="done", text="mine", **who)
                answer = agent_service_pb2.PublishMessageResponse
                return (await client.call("AgentService/PublishMessage", request, answer)).count

            for door in (say, tell):
                with pytest.raises(NotFound):
                    await door(call_id=call.call_id, client_id="c")
                for incomplete in ({"call_id": call.call_id}, {"client_id": "w"}):
                    with pytest.raises(InvalidArgument) as wrong:
                        await door(**incomplete)
                    assert [field for field, _ in wrong.value.violations] == ["client_id"]
            with pytest.raises(InvalidArgument, match="until_asked"):
                await say(call_id=call.call_id, client_id="w", until_asked=True)
            assert await say(call_id=call.call_id, client_id="w") == "clerk/default 1 mine"
            assert await tell(call_id=call.call_id, client_id="w") == 1
            over.set()
            await sending

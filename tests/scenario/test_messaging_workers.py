"""Workers among agents that talk: asked by others, told of topics, speaking from their calls, and lost."""

import asyncio
from pathlib import Path

import pytest
from gateway.v1 import event_service_pb2 as pb

from gatewayctl.client import Call, GatewayError, NotFound, Unavailable
from tests.rigs import talkers
from tests.rigs.house import eventually
from tests.rigs.in_process import InProcess
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

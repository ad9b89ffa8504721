"""What a client publishes is work that was accepted: once for each agent, on disk, over a stop and a crash."""

import asyncio
import hashlib
from pathlib import Path

import pytest
from gateway.v1 import admin_service_pb2, runtime_service_pb2

from gatewayctl.client import Client, Conflict, InvalidArgument, PermissionDenied, event_filter
from tests.rigs import talkers
from tests.rigs.house import eventually
from tests.rigs.in_process import InProcess

TOKEN = f"gw_robot_{'0' * 43}"
CONFIG = f"""
gateway: {{port: 0, limits: {{message_bytes: 64KiB}}}}
agents:
  clerk: {{class: "tests.rigs.talkers:Clerk", topics: [orders.new]}}
  other: {{class: "tests.rigs.talkers:Speaker", topics: "orders.*"}}
  slow: {{class: "tests.rigs.talkers:Slow", topics: [slow], timeout: 60s}}
clients:
  robot: {{token_sha256: {hashlib.sha256(TOKEN.encode()).hexdigest()}, scopes: ["agents.send:other"]}}
"""


@pytest.fixture(autouse=True)
def scene() -> talkers.Scene:
    return talkers.renew()


async def test_F52_each_agent_has_it_once_and_other_content_is_a_conflict(tmp_path: Path, scene: talkers.Scene) -> None:
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        first = await client.publish_message("orders.new/shop", "news", idempotency_key="k")
        again = await client.publish_message("orders.new/shop", "news", idempotency_key="k")

        assert first.executions.keys() == {"clerk", "other"}
        assert not first.duplicates
        assert again.executions == first.executions
        assert again.duplicates == {"clerk", "other"}
        assert sorted(await scene.until(2)) == ["clerk/shop orders.new/shop  news", "other orders.new/shop  news"]
        with pytest.raises(Conflict):
            await client.publish_message("orders.new/shop", "other news", idempotency_key="k")
        assert (await client.publish_message("nobody.hears", "x")).executions == {}
        for topic, data_type in (("", ""), ("a b", ""), ("orders.new", "Order")):
            with pytest.raises(InvalidArgument):
                await client.publish_message(topic, "x", data_type=data_type)
        assert len(scene.said) == 2


async def test_an_object_reaches_the_handler_of_its_type_and_what_cannot_be_handled_is_told(
    tmp_path: Path, scene: talkers.Scene
) -> None:
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        told = client.subscribe(event_filter(["execution_failed"], stream_id="clerk"))

        right = await client.publish_message("orders.new", {"number": 7}, data_type="Order")
        await scene.until(2)
        request = runtime_service_pb2.GetExecutionRequest(execution_id=right.executions["clerk"])

        async def output() -> str | None:
            found = await client.call("RuntimeService/GetExecution", request, runtime_service_pb2.GetExecutionResponse)
            return found.execution.output or None

        assert await eventually(output) == "order 7"
        assert "clerk/default order 7" in scene.said
        wrong = await client.publish_message("orders.new", {"numbr": 7}, data_type="Order")
        failed = await client.publish_message("orders.new", "fail")

        seen = []
        async for event in told:
            seen.append((event.execution_id, event.execution_failed.error))
            if len(seen) == 2:
                break
        assert seen[0][0] == wrong.executions["clerk"]
        assert "does not fit" in seen[0][1]
        assert seen[1][0] == failed.executions["clerk"]
        assert "secret" not in seen[1][1]


async def test_who_may_not_send_to_all_that_hear_it_publishes_nothing(tmp_path: Path, scene: talkers.Scene) -> None:
    async with InProcess(tmp_path, CONFIG) as gateway:
        port = gateway.house.rpc.port
        async with Client(f"127.0.0.1:{port}", token=TOKEN, client_id="r") as robot:
            with pytest.raises(PermissionDenied):
                await robot.publish_message("orders.new", "x")
            with pytest.raises(PermissionDenied):
                await robot.agent_instances()
            with pytest.raises(PermissionDenied):
                await robot.save_state()
            assert (await robot.publish_message("orders.old", "y")).executions.keys() == {"other"}
        assert await scene.until(1) == ["other orders.old/default  y"]


async def test_F81_a_message_that_always_fails_is_tried_given_up_and_in_nobodys_way(
    tmp_path: Path, scene: talkers.Scene
) -> None:
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        told = client.subscribe(event_filter(["execution_failed", "execution_completed"]))

        poison = await client.publish_message("orders.new", "fail")
        good = await client.publish_message("orders.new", "news")

        ended = {}
        async for event in told:
            ended[event.execution_id] = event.WhichOneof("data")
            if len(ended) == 4:
                break
        assert ended == {
            poison.executions["clerk"]: "execution_failed",
            poison.executions["other"]: "execution_completed",
            good.executions["clerk"]: "execution_completed",
            good.executions["other"]: "execution_completed",
        }
        assert [text.rpartition(" ")[2] for text in scene.said if text.startswith("clerk")].count("fail") == 3
        request, answer = admin_service_pb2.ListDeadLettersRequest(), admin_service_pb2.ListDeadLettersResponse
        (letter,) = (await client.call("AdminService/ListDeadLetters", request, answer)).dead_letters

        retry = admin_service_pb2.RetryDeadLetterRequest(dead_letter_id=letter.id)
        await client.call("AdminService/RetryDeadLetter", retry, admin_service_pb2.RetryDeadLetterResponse)
        async for event in told:
            assert (event.execution_id, event.HasField("execution_failed")) == (poison.executions["clerk"], True)
            break
        assert [text.rpartition(" ")[2] for text in scene.said if text.startswith("clerk")].count("fail") == 6


async def test_what_was_accepted_is_handled_after_a_restart(tmp_path: Path, scene: talkers.Scene) -> None:
    gateway = InProcess(tmp_path, CONFIG)
    await gateway.start()
    async with gateway.client("c") as client:
        published = await client.publish_message("slow", "later", idempotency_key="k")
        await scene.until(1)
        await gateway.stop(0.3)
    assert scene.said == ["begin later"]
    scene.go.set()

    await gateway.start()
    async with asyncio.timeout(60), gateway.client("c") as client:
        assert await scene.until(3) == ["begin later", "begin later", "end later"]
        again = await client.publish_message("slow", "later", idempotency_key="k")
        assert again.executions == published.executions
    await gateway.stop()


async def test_a_message_has_a_bound(tmp_path: Path) -> None:
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        taken = client.subscribe(event_filter(["execution_completed", "execution_failed"]))
        published = await client.publish_message("orders.old", "x" * 40_000)
        async for event in taken:
            assert (event.execution_id, event.HasField("execution_completed")) == (published.executions["other"], True)
            break

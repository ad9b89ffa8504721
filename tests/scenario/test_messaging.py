"""Messages between agents, in a whole gateway: sending, topics, errors, instances, reload and stop."""

import asyncio
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from gateway.v1 import runtime_service_pb2

from gatewayctl.client import Client, Event, ExecutionFailed, event_filter
from gatewayd.core.agents import AgentId
from gatewayd.core.errors import Cancelled
from gatewayd.engine.errors import Superseded
from tests.rigs import talkers
from tests.rigs.house import eventually
from tests.rigs.in_process import InProcess

CONFIG = """
agents:
  speaker: {class: "tests.rigs.talkers:Speaker", timeout: 60s}
  clerk: {class: "tests.rigs.talkers:Clerk", topics: [orders.new]}
  other: {class: "tests.rigs.talkers:Speaker", topics: "orders.*"}
  echo: {model: offline/echo}
  slow: {class: "tests.rigs.talkers:Slow", concurrency: concurrent(1000), timeout: 60s}
"""


@pytest.fixture(autouse=True)
def scene() -> talkers.Scene:
    return talkers.renew()


@pytest.fixture
def newsroom(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(Path(__file__).parents[2] / "docs" / "examples"))
    yield
    sys.modules.pop("newsroom", None)


async def events_of(client: Client, execution_id: str, types: list[str]) -> list[Event]:
    """The events of an execution up to its end."""
    found = []
    wanted = event_filter([*types, "execution_completed", "execution_failed"], execution_id=execution_id)
    async for event in client.subscribe(wanted, since=b""):
        if event.WhichOneof("data").startswith("execution"):
            return found
        found.append(event)
    raise AssertionError("the subscription ended")


async def test_two_agents_talk_within_one_execution(tmp_path: Path, scene: talkers.Scene) -> None:
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        told = client.subscribe(event_filter(["message", "execution_started", "node_internal_output"]))

        answer = await client.send("speaker", "send clerk/k hello")
        model = await client.send("speaker", "send echo hi there")
        published = await client.send("speaker", "publish orders.new/shop news")

        assert (answer.content, model.content, published.content) == ("clerk/k 1 hello", "hi there", "2")
        said = await scene.until(3)
        assert sorted(said[1:]) == [
            "clerk/shop orders.new/shop speaker/default news",
            "other orders.new/shop speaker/default news",
        ]
        assert said[0] == "clerk/k  speaker/default hello"
        seen, arrived, ids, started = [], [], [], 0
        async with asyncio.timeout(60):
            async for event in told:
                started += event.HasField("execution_started")
                if event.HasField("message") and event.message.parts.fields:
                    parts = dict(event.message.parts.items())
                    if parts["stage"] == "deliver":
                        arrived.append((parts["kind"], event.message.sender, parts["receiver"], parts["message_id"]))
                        assert (event.HasField("seq"), event.ephemeral, event.message.content) == (False, True, "")
                    else:
                        assert event.seq
                        ids.append(parts["message_id"])
                        seen.append(
                            (
                                event.execution_id,
                                parts["kind"],
                                event.message.sender,
                                parts["receiver"],
                                event.message.content,
                            )
                        )
                if len(seen) == 5 and len(arrived) == 6:
                    break
        assert started == 3
        assert seen == [
            (answer.execution_id, "direct", "speaker/default", "clerk/k", "hello"),
            (answer.execution_id, "respond", "clerk/k", "speaker/default", "clerk/k 1 hello"),
            (model.execution_id, "direct", "speaker/default", "echo/default", "hi there"),
            (model.execution_id, "respond", "echo/default", "speaker/default", "hi there"),
            (published.execution_id, "publish", "speaker/default", "orders.new/shop", "news"),
        ]
        assert sorted(arrived) == sorted(
            [
                ("direct", "speaker/default", "clerk/k", ids[0]),
                ("respond", "clerk/k", "speaker/default", ids[1]),
                ("direct", "speaker/default", "echo/default", ids[2]),
                ("respond", "echo/default", "speaker/default", ids[3]),
                ("publish", "speaker/default", "clerk/shop", ids[4]),
                ("publish", "speaker/default", "other/shop", ids[4]),
            ]
        )


async def test_a_chat_with_handlers_has_an_instance_for_each_session(tmp_path: Path) -> None:
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("a") as a, gateway.client("b") as b:
        first, second, third = await a.send("clerk", "x"), await a.send("clerk", "y"), await b.send("clerk", "z")

        assert first.content.endswith(" 1 x")
        assert second.content.endswith(" 2 y")
        assert third.content.endswith(" 1 z")


async def test_published_messages_reach_those_whose_topics_match(tmp_path: Path, scene: talkers.Scene) -> None:
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        counts = [
            (await client.send("speaker", f"publish {topic} x")).content
            for topic in ("orders.new", "orders.old", "orders", "orders.newer")
        ]
        alone = await client.send("other", "publish orders.new x")

        assert counts == ["2", "1", "0", "1"]
        assert alone.content == "1"  # not to itself
        await scene.until(5)

        await gateway.reload(CONFIG.replace("topics: [orders.new]", "topics: [orders]"))
        counts = [(await client.send("speaker", f"publish {topic} x")).content for topic in ("orders.new", "orders")]
        assert counts == ["1", "1"]


async def test_what_cannot_be_is_told_at_once(tmp_path: Path) -> None:
    chains = """
  a: {class: "tests.rigs.talkers:Chain", options: {next: b}}
  b: {class: "tests.rigs.talkers:Chain", options: {next: a}}
  many: {class: "tests.rigs.talkers:Chain", options: {next: many}, concurrency: concurrent(100)}
"""
    async with InProcess(tmp_path, CONFIG + chains) as gateway, gateway.client("c") as client:
        for text, why in (
            ("send nobody x", "there is no agent 'nobody'"),
            ("send a x", "waits for a call that asks"),
            ("send many x", "32 agents wait for each other already"),
            ("publish a//\x01 x", "is no topic"),
        ):
            with pytest.raises(ExecutionFailed, match=why):
                await client.send("speaker", text)


async def test_ten_handlers_that_each_publish(tmp_path: Path, scene: talkers.Scene) -> None:
    relays = "".join(f'  relay{number}: {{class: "tests.rigs.talkers:Relay"}}\n' for number in range(10))
    hears = '  ear: {class: "tests.rigs.talkers:Clerk", topics: [end]}\n'
    async with InProcess(tmp_path, CONFIG + relays + hears) as gateway, gateway.client("c") as client:
        assert (await client.send("speaker", "publish begin go")).content == "10"

        said = await scene.until(10)

        assert sorted(said) == [
            f"ear/default end/default relay{number}/default relay{number} go" for number in range(10)
        ]


async def test_a_thousand_first_messages_at_once_make_one_instance(tmp_path: Path, scene: talkers.Scene) -> None:
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        answer = await client.send("speaker", "many clerk 1000")

        assert answer.content == "1000"
        assert scene.made == {"clerk/default": 1}


async def test_a_stop_with_a_thousand_calls_in_flight_leaves_nobody_waiting(
    tmp_path: Path, scene: talkers.Scene
) -> None:
    gateway = InProcess(tmp_path, CONFIG)
    await gateway.start()
    async with gateway.client("c") as client:
        asking = asyncio.create_task(client.send("speaker", "many slow 1000", timeout=60))
        await scene.until(1000)
        engine = gateway.house.messaging.engine
        waiting = [
            asyncio.create_task(engine.send("x", AgentId("slow", f"{number}"), timeout=60)) for number in range(1000)
        ]
        await scene.until(2000)

        async with asyncio.timeout(60):
            await gateway.stop(1.0)
            outcomes = await asyncio.gather(*waiting, return_exceptions=True)

        assert {type(outcome) for outcome in outcomes} == {Cancelled}
        assert scene.running == 0
        asking.cancel()
        await asyncio.gather(asking, return_exceptions=True)


async def test_a_failing_handler_of_a_topic_is_told_and_harms_nobody(tmp_path: Path, scene: talkers.Scene) -> None:
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        told = client.subscribe(event_filter(["error"]))

        answer = await client.send("speaker", "publish orders.new fail")

        assert answer.content == "2"
        await scene.until(2)
        async for event in told:
            assert (event.error.reason, event.execution_id, event.node_id) == (
                "HANDLER_FAILED",
                answer.execution_id,
                "clerk",
            )
            assert "secret" not in event.error.message
            break
        stats = await client.call(
            "RuntimeService/GetRuntimeStats",
            runtime_service_pb2.GetRuntimeStatsRequest(),
            runtime_service_pb2.GetRuntimeStatsResponse,
        )
        assert (stats.engine.failed, stats.engine.published, stats.engine.queued, stats.engine.running) == (1, 1, 0, 0)


async def test_a_reload_adds_removes_and_changes_agents(tmp_path: Path, scene: talkers.Scene) -> None:
    async with InProcess(tmp_path, CONFIG) as gateway, gateway.client("c") as client:
        house = gateway.house
        assert (await client.send("speaker", "send clerk/k x")).content == "clerk/k 1 x"
        runs = asyncio.create_task(house.messaging.engine.send("x", AgentId("slow")))
        await scene.until(2)
        without = "".join(line for line in CONFIG.splitlines(keepends=True) if "  slow" not in line)

        await gateway.reload(
            without.replace("[orders.new]}", "[orders.new], concurrency: latest}") + "  new: {model: offline/echo}\n"
        )

        with pytest.raises(ExecutionFailed, match="there is no agent 'slow'"):
            await client.send("speaker", "send slow x")
        assert (await client.send("speaker", "send new hello")).content == "hello"
        assert (await client.send("speaker", "send clerk/k y")).content == "clerk/k 2 y"  # it is the same
        scene.go.set()
        assert await asyncio.wait_for(runs, 60) == "x"
        assert scene.made["clerk/k"] == 1


async def test_a_reload_of_the_concurrency_cuts_nothing_off(tmp_path: Path, scene: talkers.Scene) -> None:
    """What is handled goes on; what waits is handled as the new configuration has it."""
    serial = CONFIG.replace("concurrent(1000)", "serial")
    async with InProcess(tmp_path, serial) as gateway:
        sends = [asyncio.create_task(gateway.house.messaging.engine.send(f"{n}", AgentId("slow"))) for n in range(4)]
        await scene.until(1)

        await gateway.reload(CONFIG.replace("concurrent(1000)", "concurrent(2)"))
        await scene.until(2)
        await gateway.reload(CONFIG.replace("concurrent(1000)", "latest"))
        with pytest.raises(Superseded):
            await sends[2]
        scene.go.set()

        assert await asyncio.wait_for(asyncio.gather(sends[0], sends[1], sends[3]), 60) == ["0", "1", "3"]
        assert scene.most == 2


async def test_an_agents_time_holds_for_messages_too(tmp_path: Path) -> None:
    late = '  late: {class: "tests.rigs.talkers:Slow", timeout: 100ms}\n'
    async with InProcess(tmp_path, CONFIG + late) as gateway, gateway.client("c") as client:
        with pytest.raises(ExecutionFailed, match=r"late(/default)? did not (finish|answer) in time"):
            await client.send("speaker", "send late x")


async def test_agents_that_answer_each_other_for_ever_come_to_an_end(
    tmp_path: Path, scene: talkers.Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gatewayd.runtime.speaking.MOST_MESSAGES", 50)
    echoing = """
  ping: {class: "tests.rigs.talkers:Bounce", options: {hears: ping, says: pong}, topics: [ping]}
  pong: {class: "tests.rigs.talkers:Bounce", options: {hears: pong, says: ping}, topics: [pong]}
"""
    async with InProcess(tmp_path, CONFIG + echoing) as gateway, gateway.client("c") as client:
        told = client.subscribe(event_filter(["error"]))

        await client.send("speaker", "publish ping x")

        async for event in told:
            assert event.error.reason == "LIMIT_EXCEEDED"
            break
        assert len(scene.said) == 50


async def test_two_message_types_of_one_name_are_told_apart_from_each_other(tmp_path: Path) -> None:
    double = '  double: {class: "tests.rigs.talkers:Double"}\n'
    async with InProcess(tmp_path, CONFIG + double) as gateway, gateway.client("c") as client:
        assert (await client.send("speaker", "send clerk x")).content == "clerk/default 1 x"
        with pytest.raises(ExecutionFailed, match="could not be made"):
            await client.send("speaker", "send double x")


@pytest.mark.usefixtures("newsroom")
async def test_the_documented_pair_works_over_topics(tmp_path: Path) -> None:
    config = """
agents:
  researcher:
    class: newsroom:Researcher
    options: {facts: {bees: [They dance., They sleep.]}}
  writer: {class: "newsroom:Writer"}
"""
    async with InProcess(tmp_path, config) as gateway, gateway.client("c") as client:
        assert (await client.send("researcher", "What about bees?")).content == "The writer is at it. Ask me again."

        async def written() -> str:
            answer = (await client.send("researcher", "What about bees?")).content
            return answer if answer.startswith("About") else ""

        assert await eventually(written) == "About bees: They dance. They sleep."
        assert (await client.send("researcher", "And wasps?")).content == "I know nothing of that."
    async with InProcess(tmp_path, config) as gateway, gateway.client("c") as client:
        assert (await client.send("researcher", "What about bees?")).content == "About bees: They dance. They sleep."

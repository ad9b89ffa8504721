"""What the agents of a graph's nodes say to others: each speaks for itself, whoever started the graph."""

from pathlib import Path
from typing import Any

import pytest
from gateway.v1 import event_service_pb2

from gatewayctl.client import Client, event_filter
from tests.rigs import talkers
from tests.rigs.in_process import InProcess

CONFIG = """
agents:
  speaker: {class: "tests.rigs.talkers:Speaker", timeout: 60s}
  clerk: {class: "tests.rigs.talkers:Clerk", topics: [orders.new]}
  teller: {class: "tests.rigs.talkers:Teller"}
  desk: {graph: desk}
graphs:
  inner: {nodes: {ask: {agent: speaker}}}
  desk: {nodes: {begin: {agent: inside}}}
  count: {nodes: {clerk: {agent: clerk}}}
entry_points:
  inner: {graph: inner}
  desk: {graph: desk}
  count: {graph: count}
"""


@pytest.fixture(autouse=True)
def scene() -> talkers.Scene:
    return talkers.renew()


async def messages(client: Client, execution_id: str) -> list[tuple[Any, ...]]:
    """Kind, sender, receiver and content of what was said within an execution that has ended."""
    request = event_service_pb2.ListEventsRequest(
        page_size=100, filter=event_filter(["message"], execution_id=execution_id)
    )
    answer = await client.call("EventService/ListEvents", request, event_service_pb2.ListEventsResponse)
    said = [event.message for event in reversed(answer.events)]
    return [(one.parts["kind"], one.sender, one.parts["receiver"], one.content) for one in said]


@pytest.mark.parametrize("start", ["inner", "desk", "agent"])
async def test_an_agent_in_a_graph_speaks_under_its_own_name(tmp_path: Path, scene: talkers.Scene, start: str) -> None:
    config = CONFIG.replace("agent: inside", "agent: nested").replace("agents:", "agents:\n  nested: {graph: inner}")
    async with InProcess(tmp_path, config) as gateway, gateway.client("c") as client:
        if start == "agent":
            execution = (await client.send("desk", "send clerk/k hello")).execution_id
        else:
            execution = (await client.trigger_and_wait(start, "send clerk/k hello")).execution_id

        assert await scene.until(1) == ["clerk/k  speaker/default hello"]
        assert await messages(client, execution) == [
            ("direct", "speaker/default", "clerk/k", "hello"),
            ("respond", "clerk/k", "speaker/default", "clerk/k 1 hello"),
        ]
        published = await client.trigger_and_wait("desk", "publish orders.new/shop news")
        assert published.output == "1"
        assert (await scene.until(2))[1] == "clerk/shop orders.new/shop speaker/default news"


async def test_a_node_of_handlers_is_asked_by_nobody(tmp_path: Path, scene: talkers.Scene) -> None:
    """As in a chat: what the graph gives it is its turn, and no message of another agent."""
    config = CONFIG.replace("agent: inside", "agent: clerk")
    async with InProcess(tmp_path, config) as gateway, gateway.client("c") as client:
        result = await client.trigger_and_wait("count", "hello")

        assert (result.state, result.output) == ("succeeded", "clerk/default 1 hello")
        assert await scene.until(1) == ["clerk/default   hello"]
        assert await messages(client, result.execution_id) == []


async def test_a_reply_of_a_type_that_no_handler_takes_is_shown(tmp_path: Path) -> None:
    config = CONFIG.replace("agent: inside", "agent: clerk")
    async with InProcess(tmp_path, config) as gateway, gateway.client("c") as client:
        asked = await client.trigger_and_wait("inner", "send teller 7")

        kinds = [each[0] for each in await messages(client, asked.execution_id)]
        shown = [each[3] for each in await messages(client, asked.execution_id)]
        assert kinds == ["direct", "respond"]
        assert shown == ["7", '{"number": 7, "left": ["a", "b"]}']

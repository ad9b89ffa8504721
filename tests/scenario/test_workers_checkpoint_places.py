"""Workers that leave and come back where their agent is a part of something: a graph, a message, an entry point."""

import asyncio
import signal
from collections.abc import AsyncIterator
from pathlib import Path

from gatewayctl.client import Call, InvalidArgument
from tests.rigs import talkers
from tests.rigs.house import eventually
from tests.rigs.in_process import InProcess
from tests.rigs.process import Daemon

REMOTE = "agents: {far: {remote: true, timeout: 60s}}\n"


async def test_a_node_of_a_graph_goes_on_within(tmp_path: Path) -> None:
    """The graph keeps the worker's state with its own place; it asks people by the node's name."""
    config = """
agents: {far: {remote: true}, echo: {model: offline/echo}}
graphs:
  order:
    entry_node: size
    nodes: {size: {agent: far, client_facing: true}, say: {agent: echo, prompt: "Size {{output}}"}}
    edges: [{from: size, to: say}]
entry_points: {order: {graph: order}}
"""
    calls: list[Call] = []

    async def answer(call: Call) -> str:
        calls.append(call)
        state = dict(call.state or {"seen": 0})
        if not call.inputs:
            await call.checkpoint({"seen": 1}, node_id="look")
            await call.wait_for_input("Which size?", {"seen": 2})
        return f"{call.inputs['']}, {state['seen']}"

    async with InProcess(tmp_path, config) as gateway, gateway.client("c") as client, gateway.client("w") as worker:
        async with worker.serve_agent("far", answer):
            run = (await client.trigger("order", "shoes", idempotency_key="k")).execution_id

            async def waits() -> bool:
                result = await client.trigger_and_wait("order", "shoes", idempotency_key="k", timeout=0.01)
                assert result.execution_id == run
                return result.state == "input_required"

            await eventually(waits)
            await client.inject_input(run, "XL", node_id="size")
            result = await client.trigger_and_wait("order", "shoes", idempotency_key="k")
            assert (result.state, result.output) == ("succeeded", "Size XL, 2")
    assert [call.state for call in calls] == [None, {"seen": 2}]


async def test_in_a_message_of_another_agent_nothing_is_kept_and_nobody_can_be_asked(tmp_path: Path) -> None:
    talkers.renew()
    config = 'agents: {speaker: {class: "tests.rigs.talkers:Speaker", timeout: 60s}, far: {remote: true}}\n'
    refused: list[str] = []

    async def answer(call: Call) -> str:
        assert call.sender == "speaker/default"
        await call.checkpoint({"n": 1})
        try:
            await call.wait_for_input("?", {})
        except InvalidArgument as error:
            refused.append(error.message)
        return "answered all the same"

    async with InProcess(tmp_path, config) as gateway, gateway.client("c") as client, gateway.client("w") as worker:
        async with worker.serve_agent("far", answer):
            assert (await client.send("speaker", "send far hello")).content == "answered all the same"
    assert refused == ["far cannot ask anybody while it is asked itself."]


async def test_an_entry_point_that_is_given_a_state_begins_with_it(tmp_path: Path) -> None:
    async def answer(call: Call) -> str:
        return str(call.state)

    config = REMOTE + "entry_points: {job: {agent: far}}\n"
    async with InProcess(tmp_path, config) as gateway, gateway.client("c") as client, gateway.client("w") as worker:
        async with worker.serve_agent("far", answer):
            given = await client.trigger_and_wait("job", "x", memory={"done": 3}, paused_at="there")
            nothing = await client.trigger_and_wait("job", "x")
    assert given.output == "{'memory': {'done': 3}, 'paused_at': 'there'}"
    assert nothing.output == "None"


class Job:
    """Two steps, with a checkpoint between them; the first call is held in the second."""

    def __init__(self) -> None:
        self.states: list[object] = []
        self.held = asyncio.Event()

    async def __call__(self, call: Call) -> AsyncIterator[str]:
        self.states.append(call.state)
        if call.state is None:
            yield "one "
            await call.checkpoint({"done": 1})
        if len(self.states) == 1:
            self.held.set()
            await asyncio.Event().wait()
        yield "two"


async def test_a_stop_that_cannot_wait_leaves_it_to_the_next_start(tmp_path: Path) -> None:
    job = Job()
    async with Daemon(tmp_path, REMOTE + "gateway: {drain_timeout: 1s}\n") as daemon:
        async with daemon.client("worker") as client, client.serve_agent("far", job):
            async with daemon.client("asker") as asker:
                asking = asyncio.create_task(asker.send("far", "x"))
                async with asyncio.timeout(60):
                    await job.held.wait()
                    daemon.signal(signal.SIGTERM)
                    assert await daemon.ended() == 0
                    await daemon.start()
                    assert (await asking).content == "one two"
    assert job.states == [None, {"done": 1}]


async def test_without_checkpoints_in_the_configuration_a_crash_lets_it_begin_anew(tmp_path: Path) -> None:
    job = Job()
    config = REMOTE + "runtime: {checkpoints: {enabled: false}}\n"
    async with Daemon(tmp_path, config) as daemon:
        async with daemon.client("worker") as client, client.serve_agent("far", job):
            async with daemon.client("asker") as asker:
                asking = asyncio.create_task(asker.send("far", "x"))
                async with asyncio.timeout(60):
                    await job.held.wait()
                    await daemon.kill()
                    await daemon.stop()
                    await daemon.start()
                    assert (await asking).content == "one two"
    assert job.states == [None, None]

"""The SDK where a reload takes an agent away from its workers: it ends what it has begun, and says why it is over."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any

import pytest
from parting_rig import BEFORE, ECHO, GONE

from gatewayctl.client import Call, Client, InvalidArgument, NotFound, Reply, Serving
from gatewayctl.sdk.answering import Handler
from tests.rigs.house import eventually
from tests.rigs.in_process import InProcess


@pytest.fixture(autouse=True)
def alone() -> None:
    """These have gateways of their own."""


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[InProcess]:
    async with InProcess(tmp_path, BEFORE) as gateway:
        yield gateway


async def at_work(
    client: Client, answer: Handler, question: Coroutine[Any, Any, Reply], begun: asyncio.Event
) -> tuple[Serving, asyncio.Task[Reply]]:
    """A worker that answers for the agent and has `begun` to answer that question."""
    serving = client.serve_agent("lookup", answer)
    await serving.registered()
    asking = asyncio.create_task(question)
    await asyncio.wait_for(begun.wait(), 60)
    return serving, asking


@GONE
async def test_F21_the_sdk_answers_what_is_there_and_says_why_it_is_over(
    gateway: InProcess, after: str, reason: str
) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def answer(call: Call) -> str:
        begun.set()
        await go.wait()
        return "still here"

    async with gateway.client("asker") as asker, gateway.client("worker") as client:
        serving, asking = await at_work(client, answer, asker.send("lookup", "x"), begun)
        await gateway.reload(after)
        go.set()
        assert (await asking).content == "still here"
        kind = NotFound if reason == "AGENT_NOT_FOUND" else InvalidArgument
        with pytest.raises(kind, match=r"a reload has ended the registration.*register again when it is back") as over:
            await asyncio.wait_for(serving.wait(), 60)
        assert over.value.reason == reason

        await gateway.reload(BEFORE)
        async with client.serve_agent("lookup", answer):
            assert (await asker.send("lookup", "y")).content == "still here"


async def test_F21_the_sdk_goes_on_with_its_calls_over_a_cut_connection(gateway: InProcess) -> None:
    begun, go = asyncio.Event(), asyncio.Event()

    async def answer(call: Call) -> AsyncIterator[str]:
        yield "in two "
        begun.set()
        await go.wait()
        yield "pieces"

    async with gateway.client("asker") as asker, gateway.client("worker") as client:
        serving, asking = await at_work(client, answer, asker.send("lookup", "x"), begun)
        await gateway.reload(ECHO)
        (await client._conversation.link()).end()
        await eventually(lambda: _is(serving.connects == 2))
        go.set()
        assert (await asking).content == "in two pieces"
        with pytest.raises(NotFound, match="a reload has ended the registration"):
            await asyncio.wait_for(serving.wait(), 60)


async def test_F21_a_message_of_another_agent_is_answered_to_its_end(gateway: InProcess) -> None:
    """What was asked is over for the daemon as soon as the answer is there; the handler is not cancelled for that."""
    begun, go, cut = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def answer(call: Call) -> str:
        begun.set()
        await go.wait()
        return "still here"

    speaker = "  speaker: {class: 'tests.rigs.talkers:Speaker'}\n"
    await gateway.reload(BEFORE + speaker)
    async with gateway.client("asker") as asker, gateway.client("worker") as client:
        serving, asking = await at_work(client, answer, asker.send("speaker", "send lookup x"), begun)
        (task,) = [task for _, task in serving._calls.values()]
        task.add_done_callback(lambda task: cut.set() if task.cancelled() else None)
        await gateway.reload(ECHO + speaker)
        go.set()
        assert (await asking).content == "still here"
        with pytest.raises(NotFound, match="a reload has ended the registration"):
            await asyncio.wait_for(serving.wait(), 60)
        assert not cut.is_set()


async def test_F21_leaving_the_block_of_a_worker_whose_agent_is_gone_is_no_error(gateway: InProcess) -> None:
    async def answer(call: Call) -> str:
        raise AssertionError(call)

    async with gateway.client("worker") as client:
        async with client.serve_agent("lookup", answer) as serving:
            await gateway.reload(ECHO)
            with pytest.raises(NotFound):
                await asyncio.wait_for(serving.wait(), 60)
        with pytest.raises(NotFound, match="there is no agent 'lookup'"):
            await client.serve_agent("lookup", answer).registered()


async def _is(said: bool) -> bool:
    return said

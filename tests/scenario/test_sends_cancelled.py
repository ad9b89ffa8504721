"""Programs take back what they asked of agents: while it runs, while it waits, and too late."""

import asyncio
from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from gateway.v1 import execution_pb2

from gatewayctl.client import GatewayError, NotFound
from tests.rigs.entry_points import execution, execution_is
from tests.rigs.house import House, house, state_of

pytestmark = pytest.mark.asyncio(loop_scope="module")

CONFIG = "agents: {echo: {model: offline/echo}, slow: {model: offline/slow}}\n"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rig(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    async with house(tmp_path_factory.mktemp("cancelled"), CONFIG) as rig:
        yield rig


async def test_a_running_execution_is_cancelled(rig: House) -> None:
    """Its waiter wakes, its story ends as silent, its event says who (P6.2)."""
    answer = rig.client.stream("slow", "30s never said")
    execution_id = await answer.accepted()
    await execution_is(rig, execution_id, "running")

    await rig.client.cancel(execution_id)

    with pytest.raises(GatewayError, match="cancelled by local"):
        await answer.wait()
    assert state_of(await rig.story(execution_id)) == "silent"
    (event,) = await rig.events("execution_cancelled", execution_id=execution_id)
    assert "cancelled by local" in event.execution_cancelled.reason


async def test_a_queued_execution_is_cancelled(rig: House) -> None:
    """One turn at a time: the second waits in its session's lane, and can be taken back there."""
    first = rig.client.stream("slow", "30s in front")
    await first.accepted()
    second = rig.client.stream("slow", "30s behind")
    waiting = await second.accepted()
    assert (await execution(rig, waiting)).state == execution_pb2.EXECUTION_STATE_QUEUED

    await rig.client.cancel(waiting)

    with pytest.raises(GatewayError, match="cancelled"):
        await second.wait()
    assert (await execution(rig, waiting)).state == execution_pb2.EXECUTION_STATE_CANCELLED
    assert (await execution(rig, first.execution_id)).state == execution_pb2.EXECUTION_STATE_RUNNING
    await rig.client.cancel(first.execution_id)
    with pytest.raises(GatewayError):
        await first.wait()


async def test_what_has_ended_cannot_be_cancelled(rig: House) -> None:
    """EXECUTION_FINISHED, and NOT_FOUND for what never was."""
    reply = await rig.client.send("echo", "done")

    with pytest.raises(GatewayError) as finished:
        await rig.client.cancel(reply.execution_id)
    with pytest.raises(NotFound):
        await rig.client.cancel("01ARZ3NDEKTSV4RRFFQ69G5FAV")

    assert finished.value.reason == "EXECUTION_FINISHED"


async def test_a_cancel_in_every_moment_leaves_its_session_working(rig: House) -> None:
    """Whenever a cancel comes, before the first step or while the end is written, the lane goes on."""
    for number in range(25):
        answer = rig.client.stream("slow", f"{number % 5}ms a word", session_id="")
        execution_id = await answer.accepted()
        cancelled, ended = await asyncio.gather(rig.client.cancel(execution_id), answer.wait(), return_exceptions=True)
        if cancelled is None:
            assert "cancelled" in str(ended)
            assert state_of(await rig.story(execution_id)) == "silent"
        else:
            assert isinstance(cancelled, GatewayError)
            assert cancelled.reason == "EXECUTION_FINISHED"
            assert state_of(await rig.story(execution_id)) == "answered"

    assert (await rig.client.send("slow", "1ms still here")).content == "still here"

"""Programs that answer for an agent: answers, sharing, what is called off, and what is refused."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from gatewayctl.client import (
    Call,
    CallFailed,
    Cancelled,
    Client,
    ExecutionFailed,
    NotFound,
    PermissionDenied,
    Unavailable,
    event_filter,
    new_event,
)
from tests.rigs.house import House, eventually
from tests.rigs.process import Daemon
from tests.rigs.working import SOON, TOKEN, workers_of

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_a_worker_answers_in_pieces(rig: House) -> None:
    async def answer(call: Call) -> AsyncIterator[str]:
        yield "You said: "
        yield call.text
        yield f" ({call.principal}, {call.agent})"

    async with rig.daemon.client("worker") as client, client.serve_agent("lookup", answer):
        pieces = [piece async for piece in rig.client.stream("lookup", "Grüße 🚀")]
        again = await rig.client.send("lookup", "x")

    assert "".join(pieces) == "You said: Grüße 🚀 (local, lookup)"
    assert again.content == "You said: x (local, lookup)"
    assert again.state == "succeeded"


async def test_an_async_function_answers_at_once_and_its_faults_are_told(
    rig: House, caplog: pytest.LogCaptureFixture
) -> None:
    async def answer(call: Call) -> str:
        if call.text == "give up":
            raise CallFailed("That is beyond me.")
        if call.text == "crash":
            raise RuntimeError("secret")
        if call.text == "cancelled":
            helper = asyncio.ensure_future(asyncio.sleep(60))
            helper.cancel()
            await helper
        return "-".join(f"{role}:{text}" for role, text in call.history) or "nothing before"

    async with rig.daemon.client("worker") as client, client.serve_agent("lookup", answer, history=True):
        await rig.client.send("lookup", "one")
        second = await rig.client.send("lookup", "two")
        with pytest.raises(ExecutionFailed, match=r"^That is beyond me\.$"):
            await rig.client.send("lookup", "give up")
        with pytest.raises(ExecutionFailed, match="Something went wrong inside the agent") as failure:
            await rig.client.send("lookup", "crash")
        with pytest.raises(ExecutionFailed, match="Something went wrong inside the agent"):
            await rig.client.send("lookup", "cancelled")

    assert "user:one" in second.content
    assert "secret" not in failure.value.message
    assert "secret" in caplog.text


async def test_a_chat_is_answered_by_a_worker(rig: House) -> None:
    async def answer(call: Call) -> str:
        return f"{call.channel} heard {call.text}"

    async with rig.daemon.client("worker") as client, client.serve_agent("lookup", answer):
        said = rig.network.say("ann", "ann", "hello", token="shop")

        assert await rig.hear("ann") == ["shop heard hello"]
        assert (await rig.story(said, "shop")).message.rule == "channels.shop.routing.default"


async def test_two_workers_share_and_a_session_stays_with_its_own(rig: House) -> None:
    taken: dict[str, Counter[str]] = {"a": Counter(), "b": Counter()}

    def serve(name: str) -> Callable[[Call], AsyncIterator[str]]:
        async def answer(call: Call) -> AsyncIterator[str]:
            taken[name][call.session_id] += 1
            yield name

        return answer

    async with rig.daemon.client("wa") as one, rig.daemon.client("wb") as two:
        async with one.serve_agent("lookup", serve("a")), two.serve_agent("lookup", serve("b")):
            assert await workers_of(rig, "lookup") == 2
            for number in range(20):
                async with rig.daemon.client(f"asker{number}") as asker:
                    first = await asker.send("lookup", "x")
                    second = await asker.send("lookup", "y")
                    assert first.content == second.content

    assert not set(taken["a"]) & set(taken["b"])
    assert len(taken["a"]) + len(taken["b"]) == 20
    assert taken["a"]
    assert taken["b"]


async def test_cancelling_the_execution_calls_the_worker_off(rig: House) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def answer(call: Call) -> str:
        begun.set()
        try:
            return await asyncio.Event().wait() or ""
        finally:
            ended.set()

    async with rig.daemon.client("worker") as client, client.serve_agent("lookup", answer) as serving:
        asking = rig.client.stream("lookup", "x")
        execution = await asking.accepted()
        async with asyncio.timeout(60):
            await begun.wait()
            await rig.client.cancel(execution)
            await ended.wait()
        with pytest.raises(Cancelled, match=r"^cancelled by local$"):
            await asking.wait()
        await eventually(lambda: _is(serving.open_calls == 0))


async def test_an_answer_that_takes_too_long_is_called_off(rig: House) -> None:
    ended = asyncio.Event()

    async def answer(call: Call) -> str:
        assert 0 < call.timeout <= 1
        try:
            return await asyncio.Event().wait() or ""
        finally:
            ended.set()

    async with rig.daemon.client("worker") as client, client.serve_agent("quick", answer):
        with pytest.raises(ExecutionFailed, match="did not finish in time"):
            await rig.client.send("quick", "x")
        async with asyncio.timeout(60):
            await ended.wait()


async def test_without_a_worker_it_is_waited_for_and_then_told(tmp_path: Path) -> None:
    async with Daemon(tmp_path, SOON) as daemon, daemon.client() as client:
        with pytest.raises(Unavailable, match="The agent lookup is not available right now"):
            await client.send("lookup", "x")


async def test_a_worker_that_comes_in_time_answers_what_has_waited(rig: House) -> None:
    async def answer(call: Call) -> str:
        return "here"

    async with rig.daemon.client("worker") as client:
        asking = rig.client.stream("lookup", "x")
        await asking.accepted()
        async with client.serve_agent("lookup", answer):
            assert (await asking.wait()).content == "here"


async def test_who_may_not_serve_is_told_so(rig: House) -> None:
    async def answer(call: Call) -> str:
        return ""

    async with Client(f"127.0.0.1:{rig.daemon.port}", token=TOKEN, client_id="robot") as robot:
        with pytest.raises(PermissionDenied, match=r"agents\.register:lookup"):
            await robot.serve_agent("lookup", answer).registered()
        async with robot.serve_agent("other", answer):
            assert await workers_of(rig, "other") == 1
        with pytest.raises(TypeError, match="async"):
            robot.serve_agent("other", lambda call: "")  # type: ignore[arg-type,return-value]
    async with rig.daemon.client("worker") as client:
        with pytest.raises(NotFound, match="no agent 'nobody'"):
            await client.serve_agent("nobody", answer).wait()


async def test_a_worker_tells_of_the_executions_that_it_answers_and_of_no_other(rig: House) -> None:
    """As an agent inside the daemon does it: the event is the execution's, whoever's session that is."""
    refused: list[str] = []
    others = rig.client.stream("lookup", "it runs, and waits for a worker")
    foreign = await others.accepted()

    async with Client(f"127.0.0.1:{rig.daemon.port}", token=TOKEN, client_id="robot") as robot:

        async def answer(call: Call) -> str:
            data = {"tool_use_id": "t1", "tool_name": "look", "tool_input": {"order": 7}}
            await robot.publish(new_event("tool_call_started", data, execution_id=call.execution_id, session_id="mine"))
            for event in (
                new_event("tool_call_started", data, execution_id="of nobody"),
                new_event("tool_call_started", data, execution_id=foreign),
                new_event("execution_completed", {}, execution_id=call.execution_id),
                new_event("tool_call_started", data, execution_id=call.execution_id, target="robot"),
            ):
                with pytest.raises(PermissionDenied) as denied:
                    await robot.publish(event)
                refused.append(denied.value.message)
            return "told"

        data = {"tool_use_id": "t1", "tool_name": "look"}
        with pytest.raises(PermissionDenied):
            await robot.publish(new_event("tool_call_started", data, execution_id="x"))
        async with (
            robot.serve_agent("other", answer),
            rig.client.subscribe(event_filter(["tool_call_started"])) as told,
        ):
            asking = rig.client.stream("other", "x", correlation_id="c-1")
            execution = await asking.accepted()
            async with asyncio.timeout(60):
                event = await anext(told)
                assert (await asking.wait()).content == "told"

    assert (event.execution_id, event.source, event.stream_id) == (execution, "robot", "other")
    assert event.correlation_id == "c-1"
    assert event.session_id not in ("", "mine")
    assert event.tool_call_started.tool_input["order"] == 7
    assert len(refused) == 4
    await rig.client.cancel(foreign)
    others.abandon()


async def _is(said: bool) -> bool:
    return said

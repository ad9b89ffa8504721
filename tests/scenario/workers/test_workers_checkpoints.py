"""Programs that answer for an agent leave in the middle and come back: paused, asking people, and over crashes."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from gateway.v1 import event_pb2, execution_pb2, runtime_service_pb2

from gatewayctl.client import Call, InvalidArgument, LimitExceeded, Suspended
from gatewayctl.events import new_event
from gatewayctl.plain import enum_name
from tests.rigs.house import House, eventually

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Steps:
    """A worker of four steps, each a word and an effect outside, and a checkpoint; it may be held before each."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.effects: list[str] = []
        self.gates: dict[int, asyncio.Event] = {}
        self.reached: dict[int, asyncio.Event] = {step: asyncio.Event() for step in range(1, 5)}
        self.left = 0
        self.pad = ""

    def hold(self, step: int) -> asyncio.Event:
        self.gates[step] = asyncio.Event()
        return self.gates[step]

    async def __call__(self, call: Call) -> AsyncIterator[str]:
        self.calls.append(call)
        done = int((call.state or {}).get("done", 0))
        for step in range(done + 1, 5):
            self.reached[step].set()
            if step in self.gates:
                await self.gates[step].wait()
            self.effects.append(f"{call.execution_id}/{step}")
            yield f"{step} "
            try:
                await call.checkpoint({"done": step, "pad": self.pad}, node_id=f"s{step}")
            except Suspended:
                self.left += 1
                raise


async def execution(rig: House, execution_id: str) -> runtime_service_pb2.GetExecutionResponse:
    request = runtime_service_pb2.GetExecutionRequest(execution_id=execution_id)
    return await rig.client.call("RuntimeService/GetExecution", request, runtime_service_pb2.GetExecutionResponse)


async def in_state(rig: House, execution_id: str, state: str) -> None:
    async def there() -> bool:
        found = await execution(rig, execution_id)
        return enum_name(execution_pb2.ExecutionState.DESCRIPTOR, found.execution.state) == state

    await eventually(there)


async def test_the_daemon_is_killed_and_the_next_call_goes_on_from_the_checkpoint(rig: House) -> None:
    """Killed behind two steps: what they did outside is done once, and their text is part of the answer."""
    steps = Steps()
    go = steps.hold(3)
    async with rig.daemon.client("worker") as client, client.serve_agent("lookup", steps) as serving:
        asking = asyncio.create_task(rig.client.send("lookup", "survive"))
        async with asyncio.timeout(60):
            await steps.reached[3].wait()
            await rig.daemon.kill()
            await rig.daemon.stop()
            await rig.daemon.start()
            # The first handler is cancelled as soon as the daemon is there again: its call is nobody's.
            await eventually(lambda: _is(len(steps.calls) == 2 and serving.open_calls == 1))
            go.set()
            answered = await asking
        assert serving.connects == 2

    first, second = steps.calls
    assert (first.state, second.state) == (None, {"done": 2, "pad": ""})
    assert (first.execution_id, second.inputs) == (second.execution_id, {})
    assert first.call_id != second.call_id
    assert steps.effects == [f"{first.execution_id}/{step}" for step in range(1, 5)]
    assert answered.content == "1 2 3 4 "
    (told,) = await rig.events("execution_interrupted", execution_id=first.execution_id)
    assert told.execution_interrupted.checkpoint_id


async def test_its_execution_pauses_at_its_next_checkpoint_and_goes_on_when_it_is_resumed(rig: House) -> None:
    steps = Steps()
    go = steps.hold(2)
    async with rig.daemon.client("worker") as client, client.serve_agent("lookup", steps) as serving:
        asking = rig.client.stream("lookup", "pause")
        run = await asking.accepted()
        async with asyncio.timeout(60):
            await steps.reached[2].wait()
            assert await rig.client.pause(run, reason="look at it first", timeout=0.01) == "running"
            go.set()
            await in_state(rig, run, "paused")
            await eventually(lambda: _is(serving.open_calls == 0))
            assert (steps.left, len(steps.calls)) == (1, 1)
            kept = (await execution(rig, run)).checkpoints
            assert [(one.node_id, one.kind) for one in kept] == [
                ("s1", execution_pb2.CHECKPOINT_KIND_COMPLETE),
                ("s2", execution_pb2.CHECKPOINT_KIND_COMPLETE),
            ]
            await rig.client.resume(run)
            answer = await asking.wait()

    assert answer.content == "1 2 3 4 "
    assert steps.calls[1].state == {"done": 2, "pad": ""}
    assert steps.effects == [f"{run}/{step}" for step in range(1, 5)]


async def test_gatewayctl_shows_what_a_worker_asks_and_answers(rig: House) -> None:
    async def answer(call: Call) -> str:
        if call.state is None:
            await call.wait_for_input("Which size?", {"order": 7}, node_id="size")
        return f"{call.state['order']} in {call.inputs['size']}" if call.state else ""

    async with rig.daemon.client("worker") as client, client.serve_agent("other", answer):
        asking = rig.client.stream("other", "x")
        run = await asking.accepted()
        await in_state(rig, run, "input_required")
        assert "Which size?" in (await rig.daemon.ctl("executions", "show", run, "--output", "json"))[1]
        assert (await rig.daemon.ctl("executions", "input", run, "XL", "--node", "size"))[0] == 0
        async with asyncio.timeout(60):
            assert (await asking.wait()).content == "7 in XL"


async def test_a_worker_asks_in_a_chat_and_the_next_message_is_the_answer_over_a_kill(rig: House) -> None:
    calls: list[Call] = []

    async def answer(call: Call) -> AsyncIterator[str]:
        calls.append(call)
        if call.state is None:
            yield "Well. "
            await call.wait_for_input("Your name?", {"asked": call.text})
        assert call.state is not None
        yield f"{call.state['asked']}: {call.inputs['']}"

    async with rig.daemon.client("worker") as client, client.serve_agent("lookup", answer):
        first = rig.network.say("bea", "bea", "hello", token="shop")
        assert await rig.hear("bea") == ["Your name?"]
        await eventually(lambda: _rests(rig))
        await rig.sent(first, "shop", 1)
        await rig.daemon.kill()
        await rig.daemon.stop()
        await rig.daemon.start()
        await rig.reconnect()
        second = rig.network.say("bea", "bea", "Bea", token="shop")
        assert (await rig.hear("bea", 2))[1] == "Well. hello: Bea"
        stories = [await rig.story(said, "shop") for said in (first, second)]

    assert len({story.message.execution_id for story in stories}) == 1
    assert [call.state for call in calls] == [None, {"asked": "hello"}]
    assert calls[0].session_id == calls[1].session_id


async def test_what_cannot_be_kept_is_told_and_the_call_goes_on(rig: House) -> None:
    refused: list[str] = []

    async def answer(call: Call) -> str:
        for state in ({"x": object()}, {"x": float("nan")}, [1]):
            with pytest.raises(InvalidArgument, match="is not a JSON object"):
                await call.checkpoint(state)  # type: ignore[arg-type]
        with pytest.raises(LimitExceeded, match=r"at most 3670016 are taken") as failure:
            await call.checkpoint({"x": "y" * 3_671_000})
        refused.append(failure.value.metadata["limit"])
        with pytest.raises(InvalidArgument, match="prompt"):
            await call.wait_for_input(" ", {})
        with pytest.raises(InvalidArgument, match="node_id"):
            await call.wait_for_input("?", {}, client_facing=False)
        await call.checkpoint({"x": "y" * 3_000_000, "big": 2**70}, at="start")
        return "all the same"

    async with rig.daemon.client("worker") as client, client.serve_agent("lookup", answer):
        assert (await rig.client.send("lookup", "x")).content == "all the same"
    assert refused == ["checkpoint_bytes"]


async def test_a_tool_call_that_a_worker_has_begun_is_named_after_a_kill(rig: House) -> None:
    """What it has told the end of is not; the event that tells the begin is published twice and counts once."""
    begun, calls = asyncio.Event(), 0
    async with rig.daemon.client("worker") as client:

        async def answer(call: Call) -> str:
            nonlocal calls
            calls += 1
            if calls > 1:
                return "done"

            def tell(what: str, tool_use_id: str) -> event_pb2.Event:
                data = {"tool_use_id": tool_use_id, "tool_name": "mail"}
                event = new_event(f"tool_call_{what}", data, execution_id=call.execution_id)
                event.id = f"{call.execution_id}-{what}-{tool_use_id}"
                return event

            await client.publish([tell("started", "t1"), tell("started", "t2")])
            await client.publish(tell("completed", "t1"))
            await client.publish(tell("started", "t1"))
            begun.set()
            return await asyncio.Event().wait() or ""

        async with client.serve_agent("lookup", answer):
            asking = asyncio.create_task(rig.client.send("lookup", "mail it"))
            async with asyncio.timeout(60):
                await begun.wait()
                await rig.daemon.kill()
                await rig.daemon.stop()
                await rig.daemon.start()
                answered = await asking

    (told,) = await rig.events("execution_interrupted", execution_id=answered.execution_id)
    assert list(told.execution_interrupted.begun_calls) == ["mail (worker/t2)"]
    assert "cut off within mail (worker/t2)" in told.execution_interrupted.reason


async def _rests(rig: House) -> bool:
    request = runtime_service_pb2.ListExecutionsRequest(states=[execution_pb2.EXECUTION_STATE_INPUT_REQUIRED])
    answer = await rig.client.call("RuntimeService/ListExecutions", request, runtime_service_pb2.ListExecutionsResponse)
    return bool(answer.executions)


async def _is(said: bool) -> bool:
    return said

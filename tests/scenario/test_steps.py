"""Executions that are killed, paused and asked in the middle, through the daemon as it is installed."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
from gateway.v1 import admin_service_pb2 as admin_pb
from gateway.v1 import event_pb2, execution_pb2
from gateway.v1 import event_service_pb2 as events_pb
from gateway.v1 import runtime_service_pb2 as pb

from gatewayctl.client import Client, GatewayError, event_filter
from gatewayctl.plain import enum_name
from tests.rigs.process import DEADLINE, Daemon
from tests.rigs.steps import CONFIG, hold, let_go, lines, stepping

_STATES = execution_pb2.ExecutionState.DESCRIPTOR


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE):
        while not condition():
            await asyncio.sleep(0.01)


async def shown(client: Client, execution_id: str) -> pb.GetExecutionResponse:
    request = pb.GetExecutionRequest(execution_id=execution_id)
    return await client.call("RuntimeService/GetExecution", request, pb.GetExecutionResponse)


async def in_state(client: Client, execution_id: str, state: str) -> execution_pb2.Execution:
    async with asyncio.timeout(DEADLINE):
        while enum_name(_STATES, (found := (await shown(client, execution_id)).execution).state) != state:
            await asyncio.sleep(0.02)
    return found


async def told(client: Client, kind: str) -> list[event_pb2.Event]:
    request = events_pb.ListEventsRequest(page_size=100, filter=event_filter(types=[kind]))
    answer = await client.call("EventService/ListEvents", request, events_pb.ListEventsResponse)
    return list(reversed(answer.events))


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    daemon = stepping(tmp_path)
    async with daemon:
        yield daemon


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
async def test_F28_cut_off_within_a_tool_call_it_makes_that_call_again_and_no_other(
    tmp_path: Path, daemon: Daemon, number: signal.Signals
) -> None:
    """The first call's effect is there once; the second is made again with its key, and told as cut off.

    With SIGTERM (F24) the drain is shorter than the call.
    """
    hold(tmp_path, "b")
    async with daemon.client() as client:
        started = await client.trigger("work", "go")
        await until(lambda: len(lines(tmp_path, "marks")) == 2)
        daemon.signal(number)
        await daemon.ended()

        let_go(tmp_path, "b")
        await daemon.start()
        found = await in_state(client, started.execution_id, "succeeded")

        assert found.output == "Working.\n\nDone."
        labels, keys = zip(*(line.split() for line in lines(tmp_path, "marks")), strict=True)
        assert labels == ("a", "b", "b")
        assert keys[1] == keys[2] != keys[0]
        assert lines(tmp_path, "prompts") == ["0", "2"]
        (event,) = await told(client, "execution_interrupted")
        data = event.execution_interrupted
        assert list(data.begun_calls) == ["mark (call-b)"]
        assert data.checkpoint_id
        completed = await told(client, "tool_call_completed")
        assert [one.tool_call_completed.tool_use_id for one in completed] == [
            "call-a",
            "call-b",
        ]


async def test_F28_killed_behind_a_tool_call_whose_result_was_kept_it_calls_nothing_again(
    tmp_path: Path, daemon: Daemon
) -> None:
    """The model is asked again, with both results; no tool call is told as cut off."""
    hold(tmp_path, "model")
    async with daemon.client() as client:
        started = await client.trigger("work", "go")
        await until(lambda: bool(lines(tmp_path, "at-model")))
        await daemon.kill()

        let_go(tmp_path, "model")
        await daemon.start()
        found = await in_state(client, started.execution_id, "succeeded")

        assert found.output == "Working.\n\nDone."
        assert [line.split()[0] for line in lines(tmp_path, "marks")] == ["a", "b"]
        assert lines(tmp_path, "prompts") == ["0", "2", "2"]
        (event,) = await told(client, "execution_interrupted")
        data = event.execution_interrupted
        assert list(data.begun_calls) == []
        assert "it goes on from checkpoint" in data.reason


async def test_paused_by_hand_it_survives_a_crash_and_goes_on_by_hand(tmp_path: Path, daemon: Daemon) -> None:
    """`gatewayctl executions pause`, kill -9, and `resume`: every effect is there once."""
    hold(tmp_path, "a")
    async with daemon.client() as client:
        started = await client.trigger("work", "go")
        await until(lambda: bool(lines(tmp_path, "marks")))
        code, _, complaint = await daemon.ctl("executions", "pause", started.execution_id, "--timeout", "0.2")
        assert (code, "it pauses when it does" in complaint) == (1, True), complaint
        let_go(tmp_path, "a")
        await in_state(client, started.execution_id, "paused")
        code, out, _ = await daemon.ctl("executions", "pause", started.execution_id)
        assert code == 0
        assert "paused by local" in out
        asked = await client.trigger("ask", "later", idempotency_key="k")
        await in_state(client, asked.execution_id, "input_required")
        result = await client.trigger_and_wait("ask", "later", idempotency_key="k", timeout=0.3)
        assert (result.state, result.timed_out) == ("input_required", True)
        await daemon.kill()
        await daemon.start()
        assert [line.split()[0] for line in lines(tmp_path, "marks")] == ["a"]
        waiting = asyncio.create_task(client.trigger_and_wait("ask", "later", idempotency_key="k", timeout=DEADLINE))

        code, out, _ = await daemon.ctl("executions", "resume", started.execution_id, "--reason", "now", "-o", "json")

        assert code == 0, out
        assert json.loads(out)["state"] in ("queued", "running", "succeeded")
        assert (await in_state(client, started.execution_id, "succeeded")).output == "Working.\n\nDone."
        assert [line.split()[0] for line in lines(tmp_path, "marks")] == ["a", "b"]
        assert await told(client, "execution_interrupted") == []
        await client.inject_input(result.execution_id, "Ann", node_id="name")
        assert (await waiting).output == "Well. later, Ann!"


async def test_input_by_hand_goes_to_the_execution_that_is_named(daemon: Daemon) -> None:
    """`executions show` says what it asks; `executions input` answers it; errors have reasons of their own."""
    async with daemon.client() as client:
        first, second = [(await client.trigger("ask", text)).execution_id for text in ("Good day", "Hello")]
        for execution_id in (first, second):
            await in_state(client, execution_id, "input_required")
        (kept,) = (await shown(client, first)).checkpoints
        assert (kept.node_id, kept.prompt, kept.kind) == ("name", "Your name?", execution_pb2.CHECKPOINT_KIND_WAIT)
        code, out, complaint = await daemon.ctl("executions", "show", first)
        assert code == 0
        assert "Your name?" in out + complaint
        with pytest.raises(GatewayError) as wrong:
            await client.inject_input(first, "Ann")
        assert wrong.value.reason == "NOT_WAITING"
        with pytest.raises(GatewayError) as unpaused:
            await client.resume(first)
        assert unpaused.value.reason == "NOT_PAUSED"
        with pytest.raises(GatewayError) as unknown:
            await client.pause("x1")
        assert unknown.value.reason == "NOT_FOUND"

        code, _, complaint = await daemon.ctl("executions", "input", second, "Bob", "--node", "name")

        assert code == 0, complaint
        assert (await in_state(client, second, "succeeded")).output == "Well. Hello, Bob!"
        assert enum_name(_STATES, (await shown(client, first)).execution.state) == "input_required"
        await client.cancel(first)
        await in_state(client, first, "cancelled")
        with pytest.raises(GatewayError) as ended:
            await client.inject_input(first, "Ann", node_id="name")
        assert ended.value.reason == "EXECUTION_FINISHED"


async def test_a_trigger_may_bring_the_state_that_it_goes_on_from(daemon: Daemon) -> None:
    """Whoever kept it elsewhere; the same key with another state is a conflict."""
    async with daemon.client() as client:
        result = await client.trigger_and_wait(
            "ask", "go", memory={"n": 1, "who": "Ann"}, paused_at="name", idempotency_key="k", timeout=DEADLINE
        )
        assert result.output == "[('n', 1), ('who', 'Ann')] name"
        given = ("--memory", '{"n": 5}', "--paused-at", "name")
        code, out, complaint = await daemon.ctl("trigger", "ask", "--input", "go", "--wait", *given)
        assert (code, out.strip()) == (0, "[('n', 5)] name"), complaint
        code, _, complaint = await daemon.ctl("trigger", "ask", "--memory", "[1]")
        assert (code, "JSON object" in complaint) == (2, True), complaint
        with pytest.raises(GatewayError) as other:
            await client.trigger("ask", "go", memory={"n": 2}, paused_at="name", idempotency_key="k")
        assert other.value.reason == "ID_CONFLICT"


async def test_a_send_waits_through_a_pause(tmp_path: Path, daemon: Daemon) -> None:
    """Its reply comes when the execution was resumed and has ended, with every piece of text once."""
    hold(tmp_path, "a")
    async with daemon.client() as client:
        answer = client.stream("worker", "go")
        execution_id = await answer.accepted()
        await until(lambda: bool(lines(tmp_path, "marks")))
        assert await client.pause(execution_id, timeout=0.01) == "running"
        let_go(tmp_path, "a")
        await in_state(client, execution_id, "paused")
        await client.resume(execution_id)
        pieces = [piece async for piece in answer]
        assert "".join(pieces) == (await answer.wait()).content == "Working.\n\nDone."


async def test_the_file_says_which_checkpoints_are_written(tmp_path: Path, daemon: Daemon) -> None:
    """From the next execution on, as soon as it is reloaded."""
    hold(tmp_path, "b")
    found = {}
    async with daemon.client() as client:
        for settings in ("", "on_node_start: false", "on_node_complete: false", "max_count: 1", "enabled: false"):
            daemon.write(CONFIG + f"runtime: {{checkpoints: {{{settings}}}}}\n")
            await client.call(
                "AdminService/ReloadConfig", admin_pb.ReloadConfigRequest(), admin_pb.ReloadConfigResponse, timeout=60
            )
            before = len(lines(tmp_path, "marks"))
            started = await client.trigger("work", "go")
            await until(lambda before=before: len(lines(tmp_path, "marks")) == before + 2)  # type: ignore[misc]
            kept = (await shown(client, started.execution_id)).checkpoints
            found[settings] = [enum_name(execution_pb2.CheckpointKind.DESCRIPTOR, one.kind) for one in kept]
            await client.cancel(started.execution_id)
    assert found == {
        "": ["start", "complete"],
        "on_node_start: false": ["complete"],
        "on_node_complete: false": ["start"],
        "max_count: 1": ["complete"],
        "enabled: false": [],
    }


async def test_an_execution_keeps_a_log_of_its_own(tmp_path: Path, daemon: Daemon) -> None:
    """Steps with their tokens, tools, checkpoints, leaving and coming back; none if the file does not want it."""
    hold(tmp_path, "b")
    async with daemon.client() as client:
        started = await client.trigger("work", "go")
        await until(lambda: len(lines(tmp_path, "marks")) == 2)
        early = await shown(client, started.execution_id)
        assert early.log[-1].text == "mark (call-b)"
        assert await client.pause(started.execution_id, reason="look", timeout=0.01) == "running"
        let_go(tmp_path, "b")
        await in_state(client, started.execution_id, "paused")
        await client.resume(started.execution_id)
        await in_state(client, started.execution_id, "succeeded")
        await daemon.kill()
        await daemon.start()

        kinds = execution_pb2.ExecutionLogKind.DESCRIPTOR
        log = (await shown(client, started.execution_id)).log
        assert [(enum_name(kinds, entry.kind), entry.text) for entry in log][:-2] == [
            ("step", "1: stepping/two (tool_calls)"),
            ("checkpoint", "start"),
            ("tool_started", "mark (call-a)"),
            ("tool_completed", "mark (call-a)"),
            ("checkpoint", "complete"),
            ("tool_started", "mark (call-b)"),
            ("tool_completed", "mark (call-b)"),
            ("left", "paused by local: look"),
        ]
        assert [enum_name(kinds, entry.kind) for entry in log[-2:]] == ["came_back", "step"]
        assert (log[0].input_tokens, log[0].output_tokens) == (11, 7)
        code, out, _ = await daemon.ctl("executions", "show", started.execution_id)
        assert code == 0
        assert "1: stepping/two (tool_calls)" in out
        assert "11 in, 7 out" in out
        assert "in 2 runs" in out
        began = (await shown(client, started.execution_id)).execution.start_time
        assert began == early.execution.start_time, "what it took counts from its first run"

        daemon.write(CONFIG + "runtime: {execution_log: false}\n")
        await client.call(
            "AdminService/ReloadConfig", admin_pb.ReloadConfigRequest(), admin_pb.ReloadConfigResponse, timeout=60
        )
        silent = (await client.trigger_and_wait("work", "go", timeout=DEADLINE)).execution_id
        assert not (await shown(client, silent)).log

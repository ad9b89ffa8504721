"""Entry points over time: kill -9, bounds and priorities, reloads while they run, results that are kept for a while."""

import asyncio
from pathlib import Path

import pytest
from gateway.v1 import runtime_service_pb2 as pb

from gatewayctl.client import NotFound, Unavailable
from gatewayctl.sdk.triggers import trigger_request
from tests.rigs.entry_points import entry_points, execution, execution_is, executions, reload, state_name
from tests.rigs.house import eventually, house

AGENTS = "agents: {echo: {model: offline/echo}, slow: {model: offline/slow}}\n"


async def test_a_crash_loses_nothing_that_was_triggered_and_ends_it_once(tmp_path: Path) -> None:
    """kill -9 with one running and two queued: all go on after the start, and each ends once; keys are remembered.

    Who waited for one goes on waiting, though it gave no key.
    """
    config = f"{AGENTS}entry_points: {{one: {{agent: slow, max_concurrent: 1}}}}\n"
    async with house(tmp_path, config) as rig:
        running = await rig.client.trigger("one", "1s the first", idempotency_key="a")
        queued = await rig.client.trigger("one", {"n": 2}, idempotency_key="b")
        await execution_is(rig, running.execution_id, "running")
        waiting = asyncio.create_task(rig.client.trigger_and_wait("one", "1ms the third"))

        async def all_there() -> bool:
            return len(await executions(rig, "one")) == 3

        await eventually(all_there)
        await rig.daemon.kill()
        await rig.daemon.start()
        third = await asyncio.wait_for(waiting, 60)
        await rig.reconnect()

        again = await rig.client.trigger("one", {"n": 2}, idempotency_key="b")
        first = await execution_is(rig, running.execution_id, "succeeded")
        second = await rig.client.trigger_and_wait("one", {"n": 2}, idempotency_key="b")

        assert (first.output, first.attempts) == ("the first", 2)
        assert (again.execution_id, again.duplicate) == (queued.execution_id, True)
        assert (second.execution_id, second.state) == (queued.execution_id, "succeeded")
        assert (third.state, third.output, third.duplicate) == ("succeeded", "the third", False)
        for one in (running, queued, third):
            ends = await rig.events("execution_completed", execution_id=one.execution_id)
            assert len(ends) == 1
        assert len(await executions(rig, "one")) == 3


async def test_a_stop_puts_back_what_is_not_done(tmp_path: Path) -> None:
    """A clean stop with live executions: they go on after the next start, the queued one too, and so does the waiting.

    Who waits by a single call is told: that ends with its connection.
    """
    config = f"gateway: {{drain_timeout: 1}}\n{AGENTS}entry_points: {{one: {{agent: slow, max_concurrent: 1}}}}\n"
    async with house(tmp_path, config) as rig:
        words = ["5s the first", "0s the second"]
        alone = pb.TriggerAndWaitRequest(trigger=trigger_request("one", words[0], idempotency_key=words[0]))
        calls = [
            rig.client.call("RuntimeService/TriggerAndWait", alone, pb.TriggerAndWaitResponse, timeout=60),
            rig.client.trigger_and_wait("one", words[1], idempotency_key=words[1]),
        ]
        waiters = []
        for number, call in enumerate(calls, 1):
            waiters.append(asyncio.create_task(call))

            async def there(count: int = number) -> list[str] | None:
                ids = [one.id for one in await executions(rig, "one")]
                return ids if len(ids) == count else None

            ids = await eventually(there)
        await execution_is(rig, ids[0], "running")
        assert await rig.daemon.stop() == 0
        with pytest.raises(Unavailable) as told:
            await waiters[0]
        await rig.daemon.start()
        first = await rig.client.trigger_and_wait("one", words[0], idempotency_key=words[0])
        second = await waiters[1]

        assert (told.value.reason, told.value.metadata["execution_id"]) == ("DRAINING", first.execution_id)
        assert sorted([first.execution_id, second.execution_id]) == ids
        assert (first.output, first.duplicate) == ("the first", True)
        assert (second.output, second.duplicate) == ("the second", False)


async def test_the_higher_priority_goes_first_and_so_many_run_at_once(tmp_path: Path) -> None:
    """One place in all: what waits is taken by priority, and among equals in the order of its coming."""
    config = (
        f"runtime: {{max_concurrent_executions: 1}}\n{AGENTS}entry_points:\n"
        "  low: {agent: echo, priority: -5}\n  high: {agent: echo, priority: 5}\n  slow: {agent: slow}\n"
    )
    async with house(tmp_path, config) as rig:
        blocker = await rig.client.trigger("slow", "30s never")
        await execution_is(rig, blocker.execution_id, "running")
        low = [await rig.client.trigger("low", f"low {number}") for number in range(2)]
        send = rig.client.stream("echo", "a message")
        await send.accepted()
        high = [await rig.client.trigger("high", f"high {number}") for number in range(2)]
        assert {state_name(await execution(rig, one.execution_id)) for one in (*low, *high)} == {"queued"}

        await rig.client.cancel(blocker.execution_id)
        for one in (*low, *high):
            await execution_is(rig, one.execution_id, "succeeded")

        started = await rig.events("execution_started")
        assert [event.execution_started.input["text"] for event in started[1:]] == [
            "high 0",
            "high 1",
            "a message",
            "low 0",
            "low 1",
        ]


async def test_a_reload_brings_changes_and_takes_entry_points_while_they_run(tmp_path: Path) -> None:
    """What runs goes on; the new one works at once, the old one is gone, a bound and a name hold from then on."""
    config = f"{AGENTS}entry_points:\n  stays: {{agent: slow, max_concurrent: 1}}\n  goes: {{agent: slow}}\n"
    async with house(tmp_path, config) as rig:
        last = await rig.client.trigger("goes", "400ms to the end")
        running = await rig.client.trigger("stays", "30s never")
        waiting = await rig.client.trigger("stays", "200ms now")
        await execution_is(rig, running.execution_id, "running")

        changed = "entry_points:\n  stays: {agent: slow, max_concurrent: 2, name: Two}\n  new: {agent: echo}\n"
        await reload(rig, f"{AGENTS}{changed}")

        assert (await execution_is(rig, waiting.execution_id, "succeeded")).output == "now"
        assert state_name(await execution(rig, running.execution_id)) == "running"
        assert (await rig.client.trigger_and_wait("new", "hello")).output == "hello"
        with pytest.raises(NotFound):
            await rig.client.trigger("goes", "hello")
        assert (await execution_is(rig, last.execution_id, "succeeded")).output == "to the end"
        listed = await entry_points(rig)
        assert sorted(listed) == ["new", "stays"]
        assert (listed["stays"].name, listed["stays"].max_concurrent) == ("Two", 2)
        started = [event.stream_started.entry_point for event in await rig.events("stream_started")]
        stopped = [event.stream_stopped.entry_point for event in await rig.events("stream_stopped")]
        assert (sorted(started), stopped) == (["goes", "new", "stays"], ["goes"])
        await rig.client.cancel(running.execution_id)


async def test_results_are_kept_as_long_as_the_file_says(tmp_path: Path) -> None:
    """execution_result_max keeps the newest; execution_result_ttl_seconds forgets the old. Messages are not touched."""
    config = f"{AGENTS}entry_points: {{ask: {{agent: echo}}}}\n"
    async with house(tmp_path, config) as rig:
        message = await rig.client.send("echo", "a message")
        results = [await rig.client.trigger_and_wait("ask", str(number)) for number in range(5)]

        async def kept(count: int) -> list[str] | None:
            left = [one.id for one in await executions(rig, "ask")]
            return left if len(left) == count else None

        await reload(rig, f"runtime: {{execution_result_max: 2}}\n{config}")
        assert await eventually(lambda: kept(2)) == [one.execution_id for one in results[3:]]
        assert (await execution(rig, results[4].execution_id)).output == "4"
        with pytest.raises(NotFound):
            await execution(rig, results[0].execution_id)
        await asyncio.sleep(1.0)  # the age that the next configuration bounds
        await reload(rig, f"runtime: {{execution_result_ttl_seconds: 1s}}\n{config}")
        assert await eventually(lambda: kept(0)) == []
        assert (await execution(rig, message.execution_id)).output == "a message"

"""`gatewayctl executions` against the real daemon, as somebody reads it who wants to know why nothing goes on."""

import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.ctl.command import Done, Process, run
from tests.rigs.house import eventually
from tests.rigs.process import Daemon

pytestmark = pytest.mark.usefixtures("quiet_environment")
CONFIG = """
gateway: {drain_timeout: 1}
agents: {slow: {model: offline/slow}, far: {remote: true}, fails: {model: offline/fail}}
graphs:
  ask: {nodes: {ask: {kind: router, input: true}, done: {kind: router}}, edges: [{from: ask, to: done}]}
entry_points:
  ask: {graph: ask}
  one: {agent: slow, max_concurrent: 1}
  far: {agent: far}
  sum: {agent: fails}
"""


@pytest.fixture
async def daemon(tmp_path: Path) -> AsyncIterator[Daemon]:
    async with Daemon(tmp_path, CONFIG) as daemon:
        yield daemon


async def trigger(daemon: Daemon, entry_point: str, text: str = "600s x") -> str:
    return (await run(daemon, "trigger", entry_point, "--input", text)).out.strip()


async def shown(daemon: Daemon, execution_id: str, state: str) -> Done:
    """What is told of it, once it is in that state."""

    async def there() -> Done | None:
        done = await run(daemon, "executions", "show", execution_id)
        return done if f"  {state}\n" in done.out else None

    return await eventually(there)


async def test_each_state_says_what_it_waits_for_and_what_to_do(daemon: Daemon) -> None:
    """Running, queued behind it, without a worker, paused, and failed."""
    running, queued, far, failed = [await trigger(daemon, name) for name in ("one", "one", "far", "sum")]

    assert " so far" in (await shown(daemon, running, "running")).out
    said = (await shown(daemon, queued, "queued")).out
    assert "waits for a place: 1 of one run, as many as its max_concurrent allows" in said

    async def waits() -> bool:
        listed = json.loads((await run(daemon, "executions", "-o", "json")).out)
        return {one["id"]: one["reason"] for one in listed}[far] == "waits for a worker of its agent to come"

    await eventually(waits)
    assert f"gatewayctl trace {failed}" in (await shown(daemon, failed, "failed")).err

    paused = await run(daemon, "executions", "pause", queued)
    assert paused.err.strip() == f"go on with: gatewayctl executions resume {queued}"
    watched = await run(daemon, "executions", "watch", queued, "--timeout", "0.1")
    assert f"{queued} is paused\ngo on with: gatewayctl executions resume {queued}" in watched.err
    for one in (running, queued, far):
        await run(daemon, "executions", "cancel", one)


async def test_who_waits_for_one_that_asks_hears_where_it_is_told_how_to_answer(daemon: Daemon) -> None:
    done = await run(daemon, "trigger", "ask", "--input", "x", "--wait", "--timeout", "3")

    assert done.code == 1
    execution_id = done.err.split()[1]
    assert f"how it goes on: gatewayctl executions show {execution_id}\n" in done.err
    assert f"timed out: execution {execution_id} is input_required; gatewayctl executions show" in done.err


@pytest.mark.parametrize("looks", [0, 1])
async def test_who_waits_while_the_daemon_stops_hears_how_to_go_on_waiting(daemon: Daemon, looks: int) -> None:
    """At once, or after the first look at how far it is: asking again would start another."""
    waiting = await Process.start("--address", daemon.address, "trigger", "one", "--input", "600s x", "--wait")

    async def running() -> str | None:
        found = json.loads((await run(daemon, "executions", "--state", "running", "-o", "json")).out)
        return found[0]["id"] if found else None

    execution_id = await eventually(running)
    if looks:
        assert waiting.process.stderr is not None
        assert b"is running" in await waiting.process.stderr.readline()
    daemon.signal(signal.SIGTERM)

    done = await waiting.end()
    assert done.code in (1, 3)
    assert f"gatewayctl executions watch {execution_id}" in done.err

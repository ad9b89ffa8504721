"""The example workers, as programs of their own: what they answer, cut off in the middle of it, and how they end."""

import asyncio
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gatewayctl.client import ExecutionFailed, event_filter
from tests.rigs.process import Daemon

CLIENTS = Path(__file__).parents[2] / "docs" / "clients"
CONFIG = "agents: {lookup: {remote: true}}\n"
ANSWER = "Order 7: 7 × A-7, paid, packed, handed over and on its way to Zürich 🚚"


def _proxy() -> Any:
    """The examples' own, which cuts connections."""
    spec = importlib.util.spec_from_file_location("cut_proxy", CLIENTS / "harness" / "proxy.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.CutProxy


def command_of(language: str) -> list[str]:
    if language == "python":
        return [sys.executable, str(CLIENTS / "python" / "worker.py")]
    if not shutil.which("node") or not shutil.which("npm"):
        pytest.skip("node is not installed: `make polyglot` installs it")
    subprocess.run(["make", "-s", "-C", str(CLIENTS / "node")], check=True, timeout=170)
    return ["node", str(CLIENTS / "node" / "worker.js")]


@asynccontextmanager
async def running(language: str, daemon: Daemon, address: str, *, stderr: int | None = None) -> AsyncIterator[Process]:
    """The worker, once it is registered."""
    environ = {**os.environ, "GATEWAYD_ADDRESS": address, "GATEWAYD_TOKEN": daemon.token}
    process = await asyncio.create_subprocess_exec(*command_of(language), env=environ, stdout=PIPE, stderr=stderr)
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert json.loads(await process.stdout.readline()) == {"step": "registered", "agent": "lookup"}
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.slow
@pytest.mark.parametrize("language", ["python", "node"])
async def test_a_worker_answers_over_a_cut_connection_and_starts_anew_after_a_kill(
    tmp_path: Path, language: str
) -> None:
    async with Daemon(tmp_path, CONFIG) as daemon, daemon.client("asker") as asker, _proxy()(daemon.port) as proxy:
        async with running(language, daemon, f"127.0.0.1:{proxy.port}") as process:
            assert (await asker.send("lookup", "Where is order 7?")).content == ANSWER
            with pytest.raises(ExecutionFailed, match=r"^Ask me for an order"):
                await asker.send("lookup", "Hello?")

            pieces: list[str] = []
            async for piece in asker.stream("lookup", "order 7"):
                if not pieces:
                    await proxy.cut()
                    await proxy.has_refused(1)
                    proxy.let_in()
                pieces.append(piece)
            assert "".join(pieces) == ANSWER
            assert len(pieces) > 2

            process.kill()
            await process.wait()
            asking = asker.stream("lookup", "order 7")
            await asking.accepted()
        async with running(language, daemon, f"127.0.0.1:{proxy.port}") as process:
            async with asyncio.timeout(60):
                assert (await asking.wait()).content == ANSWER
                process.send_signal(signal.SIGTERM)
                assert await process.wait() == 0


@pytest.mark.slow
async def test_a_worker_with_the_sdk_ends_and_says_why_when_a_reload_takes_its_agent_away(tmp_path: Path) -> None:
    """The others are asked for it by `docs/clients/run.py`."""
    async with Daemon(tmp_path, CONFIG) as daemon, running("python", daemon, daemon.address, stderr=PIPE) as process:
        daemon.write("agents: {echo: {model: offline/echo}}\n")
        code, _, errors = await daemon.ctl("reload")
        assert code == 0, errors
        async with asyncio.timeout(60):
            _, why = await process.communicate()
        assert (process.returncode, why.decode()) == (
            1,
            "a reload has ended the registration: there is no agent 'lookup'; register again when it is back\n",
        )


@pytest.mark.slow
async def test_a_worker_without_the_sdk_goes_on_from_its_checkpoint_after_a_pause_and_a_kill(tmp_path: Path) -> None:
    """In Node: each line once, whatever happens between two of them."""
    numbers = range(100, 160)
    async with Daemon(tmp_path, CONFIG) as daemon, daemon.client("asker") as asker:
        async with running("node", daemon, daemon.address) as process:
            assert process.stdout is not None
            asking = asker.stream("lookup", f"orders {' '.join(map(str, numbers))}")
            run = await asking.accepted()
            pieces = aiter(asking)
            async with asyncio.timeout(60):
                await anext(pieces)
                assert await asker.pause(run) == "paused"
                assert json.loads(await process.stdout.readline())["step"] == "left"
                async with asker.subscribe(event_filter(["llm_text_delta"], execution_id=run)) as said_then:
                    await asker.resume(run)
                    await anext(aiter(said_then))  # what waits in `pieces` may have been said before it left
                await daemon.kill()
                await daemon.stop()
                await daemon.start()
                assert json.loads(await process.stdout.readline())["step"] == "cancelled"
                answer = await asking.wait()
    assert answer.content == "".join(f"Order {number} is on its way.\n" for number in numbers)

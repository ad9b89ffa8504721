"""How many messages an instance handles at once, as the file says; and states that are saved and loaded."""

import asyncio
import sys
from pathlib import Path

import pytest

from gatewayctl.client import NotFound
from gatewayd.core.agents import AgentId
from gatewayd.core.errors import GatewayError
from tests.rigs import talkers
from tests.rigs.in_process import InProcess

CONFIG = """
agents:
  speaker: {class: "tests.rigs.talkers:Speaker", timeout: 60s}
  clerk: {class: "tests.rigs.talkers:Clerk"}
  slow: {class: "tests.rigs.talkers:Slow", concurrency: ORDER, timeout: 60s}
"""


@pytest.fixture(autouse=True)
def scene() -> talkers.Scene:
    return talkers.renew()


@pytest.mark.parametrize(
    ("order", "begun", "answered"),
    [
        ("serial", ["begin 0"], 5),
        ("concurrent(3)", ["begin 0", "begin 1", "begin 2"], 5),
        ("latest", ["begin 0"], 2),
    ],
)
async def test_messages_are_handled_in_the_order_of_the_file(
    tmp_path: Path, scene: talkers.Scene, order: str, begun: list[str], answered: int
) -> None:
    async with InProcess(tmp_path, CONFIG.replace("ORDER", order)) as gateway:
        engine = gateway.house.messaging.engine
        first = asyncio.create_task(engine.send("0", AgentId("slow"), timeout=60))
        await scene.until(1)
        rest = [asyncio.create_task(engine.send(f"{number}", AgentId("slow"), timeout=60)) for number in range(1, 5)]
        said = list(await scene.until(len(begun)))
        while engine.stats().sent < 5:
            await asyncio.sleep(0)
        assert said == begun

        scene.go.set()
        outcomes = await asyncio.gather(first, *rest, return_exceptions=True)

        assert scene.most == len(begun)
        assert sum(not isinstance(outcome, GatewayError) for outcome in outcomes) == answered
        assert outcomes[-1] == "4"


async def test_states_are_saved_loaded_and_found_again(tmp_path: Path) -> None:
    config = CONFIG.replace("ORDER", "serial")
    async with InProcess(tmp_path, config) as gateway, gateway.client("c") as client:
        for key in ("a", "b", "b"):
            await client.send("speaker", f"send clerk/{key} x")
        with pytest.raises(NotFound):
            await client.load_state("before")
        with pytest.raises(NotFound):
            await client.save_state("before", ["clerk/nobody"])

        assert await client.save_state("before") == ["clerk/a", "clerk/b"]
        await client.send("speaker", "send clerk/b x")
        assert (await client.send("speaker", "send clerk/b y")).content == "clerk/b 4 y"

    # A stop keeps what the instances know.
    other = "  other: {model: offline/echo}\n"
    async with InProcess(tmp_path, config + other) as gateway, gateway.client("c") as client:
        assert await client.agent_instances() == []
        assert (await client.send("speaker", "send clerk/b z")).content == "clerk/b 5 z"
        only = await client.load_state("before", ["clerk/b"])
        assert (only.loaded, only.unknown) == (("clerk/b",), ())
        assert (await client.send("speaker", "send clerk/b z")).content == "clerk/b 3 z"
        assert (await client.send("speaker", "send clerk/a z")).content == "clerk/a 2 z"
        assert await client.agent_instances("clerk") == ["clerk/a", "clerk/b"]

    without = "".join(line for line in config.splitlines(keepends=True) if "  clerk" not in line)
    async with InProcess(tmp_path, without) as gateway, gateway.client("c") as client:
        report = await client.load_state("before")
        assert (report.loaded, report.unknown) == ((), ("clerk",))
        assert await client.agent_instances() == []


async def test_the_verbs_of_gatewayctl_do_the_same(tmp_path: Path) -> None:
    config = CONFIG.replace("ORDER", "serial")
    async with InProcess(tmp_path, config) as gateway, gateway.client("c") as client:
        await client.send("speaker", "send clerk/k x")

        async def ctl(*arguments: str, code: int = 0) -> str:
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "gatewayctl",
                "--address",
                f"unix:{gateway.paths.socket}",
                *arguments,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.STDOUT,
            )
            out, _ = await process.communicate()
            assert process.returncode == code, out
            return out.decode()

        assert "clerk  k    0        0" in await ctl("agents", "instances", "clerk")
        assert "clerk/k" in await ctl("agents", "save", "--name", "n")
        assert "clerk/k" in await ctl("agents", "load", "--name", "n", "clerk/k")
        assert "nothing was saved under the name 'm'" in await ctl("agents", "load", "--name", "m", code=4)
        assert "AGENT" in await ctl("agents")
        assert "0 queued, 0 running" in await ctl("entry-points", "stats")

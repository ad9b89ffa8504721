"""A reload gives a client other scopes while a command of it waits: what was started goes on, and can be found."""

import asyncio
import hashlib
from pathlib import Path

import pytest
from gateway.v1 import agent_service_pb2 as agents
from gateway.v1 import execution_pb2
from gateway.v1 import runtime_service_pb2 as pb

from gatewayctl.client import Client, Unauthenticated
from tests.ctl.command import Process
from tests.rigs.house import eventually
from tests.rigs.in_process import InProcess

pytestmark = pytest.mark.usefixtures("quiet_environment")

TOKEN = f"gw_robot_{'0' * 43}"
SCOPES = '"agents.send:*", "runtime:*"'


def config(scopes: str) -> str:
    """Nobody answers for the agent, so what waits for it does so for long."""
    return (
        "gateway: {reconnect_timeout: 10m}\n"
        "agents: {far: {remote: true, timeout: 10m}}\n"
        "entry_points: {far: {agent: far}}\n"
        f"clients: {{robot: {{token_sha256: {hashlib.sha256(TOKEN.encode()).hexdigest()}, scopes: [{scopes}]}}}}\n"
    )


async def _running(client: Client) -> str | None:
    request = pb.ListExecutionsRequest(states=[execution_pb2.EXECUTION_STATE_RUNNING])
    listed = await client.call("RuntimeService/ListExecutions", request, pb.ListExecutionsResponse)
    return listed.executions[0].id if listed.executions else None


@pytest.mark.parametrize("words", [("send", "far", "hi"), ("trigger", "far", "--wait")], ids=["send", "trigger"])
async def test_what_goes_on_is_named_with_how_to_wait_for_it(tmp_path: Path, words: tuple[str, ...]) -> None:
    tokens = tmp_path / "token"
    async with InProcess(tmp_path, config(SCOPES)) as gateway, gateway.client("looks") as client:
        address = f"unix:{gateway.paths.socket}"
        tokens.write_text(f"{address} {TOKEN}\n")
        tokens.chmod(0o600)
        command = await Process.start("--address", address, "--token-file", str(tokens), *words)
        execution = await eventually(lambda: _running(client))
        await gateway.reload(config(f'{SCOPES}, "sessions:own"'))
        done = await command.end()

        assert (done.code, done.out) == (1, "")
        assert "the scopes of this client were changed" in done.err
        assert f"gatewayctl executions watch {execution} waits for its end" in done.err
        assert await _running(client) == execution
        await client.cancel(execution)


async def test_who_is_not_let_in_any_more_is_told_what_goes_on_too(tmp_path: Path) -> None:
    async with InProcess(tmp_path, config(SCOPES)) as gateway, gateway.client("looks") as client:
        async with Client(f"unix:{gateway.paths.socket}", token=TOKEN) as robot:
            request = agents.SendMessageRequest(agent="far", text="hi")
            waits = asyncio.create_task(
                robot.call("AgentService/SendMessage", request, agents.SendMessageResponse, timeout=60)
            )
            execution = await eventually(lambda: _running(client))
            await gateway.reload(config(SCOPES).partition("clients:")[0])
            with pytest.raises(Unauthenticated) as ended:
                await waits
        assert ended.value.metadata == {"execution_id": execution}
        await client.cancel(execution)

"""A real daemon: the quickstart and an agent for workers, in a fresh state directory, on a free TCP port."""

import asyncio
import contextlib
import os
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from gateway.v1 import admin_service_pb2

from gatewayctl.client import Client

ROOT = Path(__file__).parents[3]
CONFIG = ROOT / "packaging" / "gateway.quickstart.yaml"
AGENT = "lookup"
"""The agent that workers answer for."""
DEADLINE = 60.0
"""Seconds that it may take to start or to stop."""


@dataclass(frozen=True)
class Daemon:
    """How to reach it."""

    port: int
    """TCP, on 127.0.0.1: with the token."""
    token: str
    """The token that it made at its first start."""
    local: str
    """Address of its unix socket: without a token."""
    config: Path
    """Its gateway.yaml."""

    @contextlib.asynccontextmanager
    async def without_agent(self) -> AsyncIterator[None]:
        """A reload takes the agent of the workers away; at the end another one brings it back."""
        async with Client(self.local) as client:
            await self._reload(client, CONFIG.read_text())
            try:
                yield
            finally:
                await self._reload(client, _with_agent())

    async def _reload(self, client: Client, config: str) -> None:
        self.config.write_text(config)
        request, answer = admin_service_pb2.ReloadConfigRequest(), admin_service_pb2.ReloadConfigResponse
        await client.call("AdminService/ReloadConfig", request, answer, timeout=DEADLINE)


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Daemon]:
    """Start one, stop it at the end. RuntimeError with its log when it does not start."""
    with tempfile.TemporaryDirectory(prefix="gatewayd-clients-") as name:
        place = Path(name)
        environ = {**os.environ, "STATE_DIRECTORY": f"{place}/state", "RUNTIME_DIRECTORY": f"{place}/run"}
        config = place / "gateway.yaml"
        config.write_text(_with_agent())
        command = [str(Path(sys.executable).parent / "gatewayd"), "--config", str(config), "--port", "0"]
        with (place / "log").open("wb") as log:
            process = await asyncio.create_subprocess_exec(*command, env=environ, stdin=DEVNULL, stderr=log)
        try:
            port = await asyncio.wait_for(_port(process, place / "log"), DEADLINE)
            token = (place / "state" / "token").read_text().strip()
            yield Daemon(port, token, f"unix:{place}/run/gatewayd.sock", config)
        finally:
            if process.returncode is None:
                process.send_signal(signal.SIGTERM)
            await asyncio.wait_for(process.wait(), DEADLINE)


def _with_agent() -> str:
    return CONFIG.read_text().replace("agents:\n", f"agents:\n  {AGENT}: {{remote: true}}\n", 1)


async def _port(process: asyncio.subprocess.Process, log: Path) -> int:
    """The port that it says it listens on."""
    while process.returncode is None:
        for line in log.read_text().splitlines():
            if "listening" in line and "tcp=" in line:
                return int(line.partition("tcp=")[2].split()[0].strip('"').rpartition(":")[2])
        await asyncio.sleep(0.05)
    raise RuntimeError(f"the daemon ended with {process.returncode}:\n{log.read_text()}")

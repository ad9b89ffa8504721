"""The whole gateway in a minute, without an account: run it with `make demo`.

It starts a daemon in a directory of its own (offline model, SQLite, unix socket), sends one message over gRPC and one
through a simulated chat, shows both answers and the ledger of the second, and stops the daemon again.
"""

import asyncio
import os
import shlex
import signal
import sys
import tempfile
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping
from pathlib import Path

from gatewayd.channels.sim_network import SimPlatform
from gatewayd.core.clock import SystemClock, SystemRandomness
from gatewayd.testing.sim_platform import SimUsers, serving

BIN = Path(sys.executable).parent
DEADLINE = 60.0
"""Seconds that any one step may take."""

CONFIG = """\
agents:
  assistant:
    model: offline/assistant
    instructions: You are a helpful assistant. Keep answers short.

channels:
  demo:
    platform: sim
    server: unix:{network}
    routing: {{dm: assistant}}
"""


async def main() -> int:
    """Returns the exit code: 0 when everything worked."""
    with tempfile.TemporaryDirectory(prefix="gatewayd-demo-") as name:
        place = Path(name)
        network = place / "network.sock"
        config = place / "gateway.yaml"
        config.write_text(CONFIG.format(network=network))
        config.chmod(0o600)
        environ = {
            **os.environ,
            "STATE_DIRECTORY": str(place / "state"),
            "RUNTIME_DIRECTORY": str(place / "run"),
            "GATEWAYD_ADDRESS": f"unix:{place}/run/gatewayd.sock",
        }
        async with serving(SimPlatform(SystemClock(), SystemRandomness()), network):
            return await story(place, config, network, environ)


async def story(place: Path, config: Path, network: Path, environ: Mapping[str, str]) -> int:
    """Start, talk, look, stop."""
    say("A configuration:", config.read_text())
    log = (place / "log").open("wb")
    command = [str(BIN / "gatewayd"), "--config", str(config), "--port", "0"]
    daemon = await asyncio.create_subprocess_exec(*command, env=environ, stdin=DEVNULL, stderr=log)
    try:
        await answering(daemon, place)
        await ctl(environ, "status")
        say("One message over gRPC:")
        await ctl(environ, "send", "assistant", "Hello over gRPC! What time is it?")
        say("One message through a simulated chat:")
        message = await chat(network)
        say("The ledger of that message:")
        await ctl(environ, "trace", message)
    finally:
        if daemon.returncode is None:
            daemon.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(daemon.wait(), DEADLINE)
        log.close()
    say(f"The daemon drained and stopped with exit code {code}.")
    if code:
        print((place / "log").read_text(), file=sys.stderr)
    return code


async def answering(daemon: Process, place: Path) -> None:
    """Wait until the daemon answers."""
    async with asyncio.timeout(DEADLINE):
        while not (place / "run" / "gatewayd.sock").exists():
            if daemon.returncode is not None:
                raise SystemExit((place / "log").read_text())
            await asyncio.sleep(0.05)


async def chat(network: Path) -> str:
    """Somebody says something in the simulated chat and waits for the answer; the platform's id of what was said."""
    users = SimUsers(str(network))
    try:
        said = await users.say("room-1", "alice", "Hello through the chat!")
        print("  alice:  Hello through the chat!")
        (answer,) = await users.wait_heard(1, "room-1", timeout=DEADLINE)
        print(f"  bot:    {answer.text}\n")
        return said
    finally:
        await users.close()


async def ctl(environ: Mapping[str, str], *arguments: str) -> None:
    """Show and run one gatewayctl command."""
    print(f"$ gatewayctl {shlex.join(arguments)}", flush=True)
    process = await asyncio.create_subprocess_exec(str(BIN / "gatewayctl"), *arguments, env=environ)
    async with asyncio.timeout(DEADLINE):
        code = await process.wait()
    print(flush=True)
    if code:
        raise SystemExit(f"gatewayctl {arguments[0]} ended with exit code {code}")


def say(title: str, text: str = "") -> None:
    """A paragraph for the reader."""
    body = "".join(f"  {line}\n" for line in text.splitlines())
    print(f"— {title}\n{body}", flush=True)


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))

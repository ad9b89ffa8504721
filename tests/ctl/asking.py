"""A daemon whose agents ask for something, and people at terminals who answer."""

import asyncio
import json
import os
import pty
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tests.ctl.command import run
from tests.rigs.process import Daemon

CONFIG = """\
agents:
  echo: {model: offline/echo}
  desk: {graph: desk}
graphs:
  desk:
    entry_node: ask
    nodes:
      ask: {kind: router, client_facing: true, prompt: "Which order, {{task}}?"}
      colour: {kind: router, client_facing: true, prompt: "In which colour is {{output}}?"}
      answer: {agent: echo, prompt: "It is {{output}}, {{task}}"}
    edges: [{from: ask, to: colour}, {from: colour, to: answer}]
channels:
  demo: {platform: sim, routing: {default: desk}}
"""


async def waiting(daemon: Daemon) -> str:
    """The execution that waits for input, once there is one."""
    async with asyncio.timeout(60):
        while True:
            done = await run(daemon, "-o", "json", "executions", "--state", "input_required")
            if done.code == 0 and (found := json.loads(done.out)):
                return str(found[0]["id"])


class Person:
    """Somebody at a terminal, who sees what is written there and types."""

    def __init__(self, process: asyncio.subprocess.Process, master: int) -> None:
        self.process = process
        self._master = master
        self._seen = ""
        self._news = asyncio.Event()
        asyncio.get_running_loop().add_reader(master, self._look)

    def _look(self) -> None:
        try:
            data = os.read(self._master, 4096)
        except OSError:  # the other side is closed
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
        self._seen += data.decode()
        self._news.set()

    async def sees(self, *texts: str) -> None:
        """Wait for these, one after another, behind what was seen before."""
        try:
            async with asyncio.timeout(60):
                for text in texts:
                    while text not in self._seen:
                        self._news.clear()
                        await self._news.wait()
                    self._seen = self._seen.split(text, 1)[1]
        except TimeoutError:
            raise AssertionError(f"{text!r} did not come behind {self._seen!r}") from None

    def types(self, text: str) -> None:
        os.write(self._master, text.encode())

    async def interrupts(self) -> None:
        """Ctrl-C, once it waits for a key: what comes just before that, readline hears with the next key only."""
        state = Path(f"/proc/{self.process.pid}/stat")
        async with asyncio.timeout(60):
            while state.read_text().rpartition(")")[2].split()[0] != "S":
                await asyncio.sleep(0.01)
        self.process.send_signal(signal.SIGINT)

    async def ended(self) -> int:
        async with asyncio.timeout(60):
            return await self.process.wait()

    async def leaves(self) -> None:
        """Close the terminal, whatever still runs there."""
        if self.process.returncode is None:
            self.process.kill()
        await self.ended()
        asyncio.get_running_loop().remove_reader(self._master)
        os.close(self._master)


Sits = Callable[..., Awaitable[Person]]
"""Somebody sits down at a terminal and begins a command of gatewayctl."""


async def as_sender(daemon: Daemon, tmp_path: Path, *more: str) -> tuple[str, ...]:
    """The options by which a command speaks for a client that may send, and nothing else but `more`."""
    scopes = [word for scope in ("agents.send:*", *more) for word in ("--scope", scope)]
    made = json.loads((await run(daemon, "-o", "json", "token", "new", "sender", *scopes)).out)
    daemon.write(f"{CONFIG}clients: {json.dumps(made['clients'])}\n")
    assert (await run(daemon, "reload")).code == 0
    address = f"127.0.0.1:{daemon.port}"
    tokens = tmp_path / "token"
    tokens.write_text(f"{address} {made['token']}\n")
    tokens.chmod(0o600)
    return ("--address", address, "--token-file", str(tokens))


@asynccontextmanager
async def terminals(daemon: Daemon) -> AsyncIterator[Sits]:
    """Whoever sits at one leaves at the end."""
    people: list[Person] = []

    async def begin(*words: str) -> Person:
        master, terminal = pty.openpty()
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gatewayctl", "--address", daemon.address, *words),
            stdin=terminal,
            stdout=terminal,
            stderr=terminal,
            env={**os.environ, "TERM": "dumb"},
        )
        os.close(terminal)
        people.append(Person(process, master))
        return people[-1]

    try:
        yield begin
    finally:
        for each in people:
            await each.leaves()

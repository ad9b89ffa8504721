"""Running gatewayctl in a test: in a thread beside the server, or as a process of its own."""

import asyncio
import os
import sys
from dataclasses import dataclass

import pytest

from gatewayctl.cli import main
from tests.rigs.process import Daemon


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    code: int
    out: str
    err: str


async def ctl(capsys: pytest.CaptureFixture[str], *words: str) -> Done:
    """One command in this process; the test's loop goes on serving."""
    capsys.readouterr()
    code = await asyncio.to_thread(main, list(words))
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return Done(code, said.out, said.err)


STARTED: list[asyncio.subprocess.Process] = []
"""The processes of the test that runs; those that it leaves behind are killed at its end."""


class Process:
    """gatewayctl as a process: for what reads the terminal, or runs a loop of its own."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        STARTED.append(process)

    @classmethod
    async def start(cls, *words: str, stdin: int = asyncio.subprocess.PIPE) -> "Process":
        return cls(
            await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "gatewayctl",
                *words,
                stdin=stdin,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
                # What comes while it goes on comes by its own doing.
                env={name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"},
            )
        )

    def write(self, text: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(text.encode())

    async def line(self) -> str:
        """The next line of its output, within a minute."""
        assert self.process.stdout is not None
        async with asyncio.timeout(60):
            return (await self.process.stdout.readline()).decode().rstrip("\n")

    async def end(self, stdin: str = "") -> Done:
        """Close its input and wait for its end."""
        async with asyncio.timeout(60):
            out, err = await self.process.communicate(stdin.encode())
        assert b"Traceback" not in err, err.decode()
        assert self.process.returncode is not None
        return Done(self.process.returncode, out.decode(), err.decode())


async def run(daemon: Daemon, *words: str, stdin: str = "") -> Done:
    """One command as a process, against that daemon, to its end."""
    return await (await Process.start("--address", daemon.address, *words)).end(stdin)

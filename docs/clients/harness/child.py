"""A client as a child, and what it says: each line of its output is a JSON object."""

import asyncio
import json
import os
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

Line = dict[str, Any]


class Failed(Exception):
    """The client did not do what it should."""


@asynccontextmanager
async def running(
    command: Sequence[str], port: int, token: str, *, stderr: int | None = None
) -> AsyncIterator[Process]:
    """The client as a child; ended at the end, if it has not by itself. Its errors go where ours do, or to a PIPE."""
    environ = {**os.environ, "GATEWAYD_ADDRESS": f"127.0.0.1:{port}", "GATEWAYD_TOKEN": token}
    process = await asyncio.create_subprocess_exec(
        *command, env=environ, stdin=DEVNULL, stdout=PIPE, stderr=stderr, limit=1 << 20
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def lines(process: Process) -> AsyncIterator[Line]:
    """What it says, from here on."""
    assert process.stdout is not None
    async for line in process.stdout:
        yield json.loads(line)


async def until(process: Process, step: str) -> Line:
    """Read what the client says up to that step, and return that."""
    async for line in lines(process):
        if line.get("step") == step:
            return line
        if "verdict" in line:
            raise Failed(f"the client ended before {step!r}: {line}")
    raise Failed(f"the client ended before {step!r}, with exit code {await process.wait()}")


async def complaint(process: Process, of: str) -> None:
    """Read what the client says to people, with a PIPE for that, up to a line that has this in it."""
    assert process.stderr is not None
    said = b""
    async for line in process.stderr:
        said += line
        if of.encode() in line:
            return
    raise Failed(
        f"the client ended, with exit code {await process.wait()}, and not a word of {of!r}: {said.decode()!r}"
    )


async def verdict_of(process: Process) -> tuple[Line, int]:
    """The last line and the exit code."""
    verdict: Line = {}
    async for line in lines(process):
        verdict = line
    return verdict, await process.wait()

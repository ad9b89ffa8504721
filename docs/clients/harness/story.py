"""What every client has to live through, and the judgement over it.

The connection is cut twice, and each time the daemon has already sent what then never arrives: first while the client
waits for the answer to its publish, then while events of another publisher are on their way. More of those are
published while it is away.
"""

import asyncio
import json
import os
from asyncio.subprocess import DEVNULL, PIPE, Process
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from harness.daemon import Daemon
from harness.orders import FAULTS, FAULTY, publish, topic
from harness.proxy import CutProxy

from gatewayctl.client import Client, event_filter

OWN, OTHERS = 120, 100
"""Orders that the client publishes, and that the other publisher does."""
DEADLINE = 90.0
"""Seconds for one run of a client; a busy machine needs some of them."""
ATTEMPTS = 2
"""How often a client has to find the door closed before it is let in again: so that its back-off is really used."""
SMALLEST = 100
"""Bytes, fewer than any order has."""

Verdict = dict[str, Any]


class Failed(Exception):
    """The client did not do what it should."""


async def survives_cuts(daemon: Daemon, language: str, command: Sequence[str]) -> Verdict:
    """The client, through two cuts; its verdict if all is well. Raises Failed."""
    async with (
        asyncio.timeout(DEADLINE),
        CutProxy(daemon.port) as proxy,
        Client(daemon.local) as client,
        client.subscribe(event_filter(["custom"], topic=topic(language))) as log,
    ):
        # More than a hello and a subscribe, less than the batch: the daemon takes it, and its answer is lost.
        proxy.freeze(after=8192)
        async with _running(command, proxy.port, daemon.token, OWN, OTHERS) as process:
            await _until(process, "subscribed")
            own = [(await anext(log)).id for _ in range(OWN)]
            await proxy.has_swallowed(OWN * SMALLEST)
            await _away(proxy)

            await _until(process, "answered")
            proxy.freeze()
            await publish(client, language, range(1, OTHERS // 2 + 1))
            await proxy.has_swallowed(OTHERS // 2 * SMALLEST)
            await proxy.cut()
            await publish(client, language, range(OTHERS // 2 + 1, OTHERS + 1))
            await proxy.has_refused(ATTEMPTS)
            proxy.let_in()

            verdict, code = await _verdict(process)
        after = [await anext(log) for _ in range(OTHERS + 1)]
    expected = {
        "client": language,
        "verdict": "ok",
        "own": OWN,
        "others": OTHERS,
        "connections": 3,
        "resumed": 2,
        "lost": ["END_REASON_CONNECTION_LOST"] * 2,
        **dict.fromkeys(FAULTS, 0),
    }
    _compare(verdict, expected)
    if code != 0:
        raise Failed(f"exit code {code} with a good verdict")
    if len(set(own)) != OWN or after[-1].custom_type != "orders.ended":
        raise Failed("publishing the same events again has doubled some in the log")
    return verdict


async def sees_faults(daemon: Daemon, language: str, command: Sequence[str]) -> None:
    """The client, with another publisher that makes mistakes: it must find each of them. Raises Failed."""
    async with (
        asyncio.timeout(DEADLINE),
        Client(daemon.local) as client,
        _running(command, daemon.port, daemon.token, 1, len(FAULTY)) as process,
    ):
        await _until(process, "answered")
        await publish(client, language, FAULTY)
        verdict, code = await _verdict(process)
    _compare(verdict, {"verdict": "failed", **FAULTS})
    if code == 0:
        raise Failed("exit code 0 with a bad verdict")


async def _away(proxy: CutProxy) -> None:
    await proxy.cut()
    await proxy.has_refused(ATTEMPTS)
    proxy.let_in()


@asynccontextmanager
async def _running(command: Sequence[str], port: int, token: str, own: int, others: int) -> AsyncIterator[Process]:
    """The client as a child; ended at the end, if it has not by itself."""
    environ = {**os.environ, "GATEWAYD_ADDRESS": f"127.0.0.1:{port}", "GATEWAYD_TOKEN": token}
    process = await asyncio.create_subprocess_exec(
        *command, str(own), str(others), env=environ, stdin=DEVNULL, stdout=PIPE, limit=1 << 20
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def _lines(process: Process) -> AsyncIterator[Verdict]:
    assert process.stdout is not None
    async for line in process.stdout:
        yield json.loads(line)


async def _until(process: Process, step: str) -> None:
    """Read what the client says up to that step."""
    async for line in _lines(process):
        if line.get("step") == step:
            return
        if "verdict" in line:
            raise Failed(f"the client ended before {step!r}: {line}")
    raise Failed(f"the client ended before {step!r}, with exit code {await process.wait()}")


async def _verdict(process: Process) -> tuple[Verdict, int]:
    """The last line and the exit code."""
    verdict: Verdict = {}
    async for line in _lines(process):
        verdict = line
    return verdict, await process.wait()


def _compare(verdict: Verdict, expected: Verdict) -> None:
    wrong = [
        f"{key} is {verdict.get(key)!r}, not {value!r}" for key, value in expected.items() if verdict.get(key) != value
    ]
    if wrong:
        raise Failed(f"{'; '.join(wrong)} in {json.dumps(verdict)}")

"""What every client has to live through, and the judgement over it.

The connection is cut twice, and each time the daemon has already sent what then never arrives: first while the client
waits for the answer to its publish, then while events of another publisher are on their way. More of those are
published while it is away.
"""

import asyncio
import json
from collections.abc import Sequence

from harness.child import Failed, Line, running, until, verdict_of
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


async def survives_cuts(daemon: Daemon, language: str, command: Sequence[str]) -> Line:
    """The client, through two cuts; its verdict if all is well. Raises Failed."""
    async with (
        asyncio.timeout(DEADLINE),
        CutProxy(daemon.port) as proxy,
        Client(daemon.local) as client,
        client.subscribe(event_filter(["custom"], topic=topic(language))) as log,
    ):
        # More than a hello and a subscribe, less than the batch: the daemon takes it, and its answer is lost.
        proxy.freeze(after=8192)
        async with running([*command, str(OWN), str(OTHERS)], proxy.port, daemon.token) as process:
            await until(process, "subscribed")
            own = [(await anext(log)).id for _ in range(OWN)]
            await proxy.has_swallowed(OWN * SMALLEST)
            await _away(proxy)

            await until(process, "answered")
            proxy.freeze()
            await publish(client, language, range(1, OTHERS // 2 + 1))
            await proxy.has_swallowed(OTHERS // 2 * SMALLEST)
            await proxy.cut()
            await publish(client, language, range(OTHERS // 2 + 1, OTHERS + 1))
            await proxy.has_refused(ATTEMPTS)
            proxy.let_in()

            verdict, code = await verdict_of(process)
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
        running([*command, "1", str(len(FAULTY))], daemon.port, daemon.token) as process,
    ):
        await until(process, "answered")
        await publish(client, language, FAULTY)
        verdict, code = await verdict_of(process)
    _compare(verdict, {"verdict": "failed", **FAULTS})
    if code == 0:
        raise Failed("exit code 0 with a bad verdict")


async def _away(proxy: CutProxy) -> None:
    await proxy.cut()
    await proxy.has_refused(ATTEMPTS)
    proxy.let_in()


def _compare(verdict: Line, expected: Line) -> None:
    wrong = [
        f"{key} is {verdict.get(key)!r}, not {value!r}" for key, value in expected.items() if verdict.get(key) != value
    ]
    if wrong:
        raise Failed(f"{'; '.join(wrong)} in {json.dumps(verdict)}")

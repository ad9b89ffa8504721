"""What programs of ours that ask questions do alike: they take orders, ask for so long, and tell how long each took.

For each line `IN_FLIGHT SECONDS` on standard input they ask for so long and write one line of JSON.
"""

import argparse
import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any

import uvloop

BODY = 120
"""Characters in a question."""
ANSWER = 20.0
"""Seconds that one answer may take."""

Question = Callable[[str], Awaitable[str]]
"""Asks, and gives the answer."""


async def _ask(question: Question, in_flight: int, seconds: float) -> dict[str, object]:
    """So many questions at a time, each compared with its answer."""
    waits: list[float] = []
    until = time.perf_counter() + seconds

    async def loop(number: int) -> None:
        turn = 0
        while time.perf_counter() < until:
            turn += 1
            said = f"{number}-{turn}".ljust(BODY)
            began = time.perf_counter()
            async with asyncio.timeout(ANSWER):
                answer = await question(said)
            waits.append(time.perf_counter() - began)
            if answer != said:
                raise SystemExit(f"asked {said!r}, answered {answer!r}")

    began = time.perf_counter()
    await asyncio.gather(*(loop(number) for number in range(in_flight)))
    return {"seconds": time.perf_counter() - began, "waits": waits}


async def take_orders(question: Question) -> None:
    """Until standard input ends."""
    print(json.dumps({"ready": True}), flush=True)
    while line := await asyncio.to_thread(sys.stdin.readline):
        in_flight, seconds = line.split()
        print(json.dumps(await _ask(question, int(in_flight), float(seconds))), flush=True)


def main(what: str | None, run: Callable[[str, str], Coroutine[Any, Any, None]]) -> None:
    """Run it, with the daemon's address and a token."""
    parser = argparse.ArgumentParser(description=what)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--token-file", type=Path, required=True)
    arguments = parser.parse_args()
    uvloop.run(run(f"127.0.0.1:{arguments.port}", arguments.token_file.read_text().strip()))
